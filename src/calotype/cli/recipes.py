"""``calotype recipes``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from calotype.cli.parse import parse
from calotype.recipes import DEFAULT, PUBLISHED, RECIPES, about


@dataclass(frozen=True)
class Options:
    """List the recipes that calotype train takes.

    Example:
    calotype recipes
    """

    json: bool = False  # print as JSON


def run(words: list[str]) -> int:
    """Print each recipe with what it is."""
    options = parse(Options, words, "calotype recipes")
    if options.json:
        print(json.dumps({name: about(name) for name in RECIPES}))
        return 0
    for name in RECIPES:
        mark = "*" if name in PUBLISHED else " "
        print(f"{name:<18}{mark} {about(name)}{'  (the default)' if name == DEFAULT else ''}")
    print("\n* takes --preset published: the sizes and budget of the paper, for hardware like its authors'.")
    print("calotype train RECIPE --help shows a recipe's settings; docs/recipes.md compares them.")
    return 0
