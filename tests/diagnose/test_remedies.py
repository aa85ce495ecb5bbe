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
    if words.startswith("--"):
        assert main(["train", "dcgan", *shlex.split(words), "--show-config"]) == 0
    for option in re.findall(r"--[a-z.-]+[a-z]", text):  # "a lower --optimizer.lr"
        main_help(capsys)
        assert option in HELP[0]


HELP: list[str] = []


def main_help(capsys: pytest.CaptureFixture[str]) -> None:
    if not HELP:
        with pytest.raises(SystemExit):
            main(["train", "dcgan", "--help"])
        HELP.append(capsys.readouterr().out)


def test_recipes_of_remedies_exist() -> None:
    found = []
    for path in Path(calotype.diagnose.__file__).parent.glob("*.py"):
        found += re.findall(r'calotype train ([a-z-]+)"', path.read_text())
    assert found
    assert set(found) <= set(RECIPES)
