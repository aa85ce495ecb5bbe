"""A remedy that is a setting must be one that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import calotype.diagnose
from calotype.cli.main import main
from calotype.recipes import RECIPES


def commands() -> Iterator[str]:
    """Every quoted text in the verdicts' sources that is a command or starts with an option, or names one."""
    for path in sorted(Path(calotype.diagnose.__file__).parent.glob("*.py")):
        for text in re.findall(r'"((?:[^"\\]|\\.)*)"', path.read_text()):
            if not text.startswith("calotype train ") and re.search(r"(^|\s)--[a-z.-]+[a-z](\s|$)", text):
                yield text


@pytest.mark.parametrize("text", sorted(set(commands())))
def test_options_of_remedies_exist(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "--option" in text or "--holdout" in text:
        return
    words = text.split(" (")[0]
    options = re.findall(r"--[a-z.-]+[a-z]", text)  # "a lower --optimizer.lr"
    having = [recipe for recipe in FAMILIES if all(option in helped(recipe, capsys) for option in options)]
    assert having
    if words.startswith("--"):
        assert main(["train", having[0], *shlex.split(words), "--show-config"]) == 0


FAMILIES = ("dcgan", "vae", "cyclegan", "denoise")  # a recipe for each set of settings that remedies name
HELP: dict[str, str] = {}


def helped(recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    if recipe not in HELP:
        with pytest.raises(SystemExit):
            main(["train", recipe, "--help"])
        HELP[recipe] = capsys.readouterr().out
    return HELP[recipe]


def test_recipes_of_remedies_exist() -> None:
    found = []
    for path in Path(calotype.diagnose.__file__).parent.glob("*.py"):
        found += re.findall(r'calotype train ([a-z-]+)"', path.read_text())
    assert found
    assert set(found) <= set(RECIPES)
