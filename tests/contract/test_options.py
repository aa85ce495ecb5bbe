"""Only the command line knows options: what is below it names settings, and carries which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from calotype.config import Config, Data, Logging, More, Training
from calotype.errors import SettingError, UserError
from calotype.settings import checked, value
from calotype.spelling import SHORT, as_options, option
from tests.small import changed, small

SRC = Path(__file__).parents[2] / "src" / "calotype"
DOCUMENTS = {
    "engine/model_card.py": "a page beside the weights, which names commands",
    "spelling.py": "how options are spelled",
    "serve/trainings.py": "the words of a process that it starts",
    "report/page_neighbors.py": "variables of style sheets, which begin alike",
    "report/page_recognition.py": "the same",
    "report/drawing.py": "the same",
}
OPTION = re.compile(r"(?<![\w-])--(?:[a-z]|$)")


def texts(path: Path) -> list[tuple[int, str]]:
    """String literals of a module with their lines; of docstrings none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def settings_in(text: str) -> tuple[str, ...]:
    """The settings that a message names, each once, in their order."""
    return tuple(dict.fromkeys(re.findall(r"`([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(?:=[^`]+)?`", text)))


def places(kind: Any, prefix: str = "") -> Iterator[str]:
    """The full names of all settings of a configuration; where it may be one of several classes, those of each."""
    if is_dataclass(kind):
        for name, hint in get_type_hints(kind).items():
            yield prefix + name
            yield from places(hint, f"{prefix}{name}.")
    for one in get_args(kind):
        yield from places(one, prefix)


def test_nothing_below_the_command_line_speaks_of_options() -> None:
    found = [
        f"{path.relative_to(SRC)}:{line}: {text[:80]}"
        for path in sorted(SRC.rglob("*.py"))
        if path.relative_to(SRC).parts[0] != "cli" and str(path.relative_to(SRC)) not in DOCUMENTS
        for line, text in texts(path)
        if OPTION.search(text) and not re.search("torchrun|pip install", text)
    ]
    assert not found, f"name settings between backticks, as in `data.source`: {found}"


def test_short_options_are_those_of_the_configuration() -> None:
    found = {}
    for section, kind in (("data", Data), ("train", Training), ("log", Logging), ("more", More)):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            for about in getattr(hint, "__metadata__", ()):
                for alias in getattr(about, "aliases", None) or ():
                    found[f"{section}.{name}"] = alias
    assert found == {name: f"--{short}" for name, short in SHORT.items()}


def test_settings_that_messages_name_are_there() -> None:
    known = {*places(Config), *places(More, "more.")}
    assert {"train.batch", "model.free_bits", "model.generator.width"} <= known
    named = {
        name: f"{path.relative_to(SRC)}:{line}"
        for path in sorted(SRC.rglob("*.py"))
        if str(path.relative_to(SRC)) not in DOCUMENTS
        for line, text in texts(path)
        for name in settings_in(text)
        if "." in name
    }
    assert named, "no message names any setting"
    assert not {name: place for name, place in named.items() if name not in known}


def test_a_message_is_read_as_fields_and_as_options() -> None:
    message = "set `model.label_dropout=0.1`, `optimizer.betas=(0, 0.99)` and `count`, not `a b` or `x.PNG`"
    assert as_options(message) == "set --model.label-dropout 0.1, --optimizer.betas 0 0.99 and --count, not `a b` or `x.PNG`"
    assert settings_in(message) == ("model.label_dropout", "optimizer.betas", "count")
    assert option("log.evaluate") == "--evaluate-every"


@pytest.mark.parametrize(
    ("setting", "bad", "field", "allowed"),
    [
        ("train.batch", 0, "train.batch", "a whole number from 1 to 999,999,999"),
        ("model.generator.width", -1, "model.generator.width", "a whole number from 1 to 65,536"),
        ("data.fit", "squeeze", "data.fit", "one of crop, pad, stretch, tile"),
    ],
)
def test_an_error_carries_the_field_and_what_it_takes(setting: str, bad: Any, field: str, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        checked(Config, changed(small("gan"), **{setting: bad}))
    assert (caught.value.field, caught.value.allowed) == (field, allowed)
    assert field in str(caught.value)
    assert allowed in str(caught.value)


def test_an_argument_is_named_by_its_name() -> None:
    with pytest.raises(SettingError, match="`count`: give a whole number") as caught:
        value("count", 1.5, int)
    assert caught.value.field == "count"
    assert isinstance(caught.value, UserError)
