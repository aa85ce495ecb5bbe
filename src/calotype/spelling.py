"""How messages name settings, and how a shell writes them.

What is below the command line names a setting between backticks, by its place in the configuration or by the name of an argument, with
a value behind an equals sign where it advises one: `` `model.smooth=1` ``, `` `data.partner` ``, `` `count` ``. Several values stand in
parentheses: `` `optimizer.betas=(0, 0.99)` ``. Commands stand between backticks, too: `` `calotype train rpgan` ``. So a Python caller
reads it; who shows it to somebody at a shell puts it through `as_options`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_MARKED = re.compile(r"`(?:(calotype [^`]+)|([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(?:=([^`]+))?)`")

SHORT = {
    "data.source": "data",
    "data.size": "size",
    "data.channels": "channels",
    "data.labels": "labels",
    "train.minutes": "minutes",
    "train.steps": "steps",
    "train.epochs": "epochs",
    "train.seed": "seed",
    "train.start": "from",
    "train.device": "device",
    "more.minutes": "more-minutes",
    "more.steps": "more-steps",
    "more.epochs": "more-epochs",
    "log.evaluate": "evaluate-every",
    "log.patience": "patience",
}
"""The settings with an option that is shorter than their place in the configuration."""


def as_options(text: str) -> str:
    """A message with its settings as the options of a command.

    >>> as_options("set `model.label_dropout=0.1`, `optimizer.betas=(0, 0.99)`, or name images by `data.source`")
    'set --model.label-dropout 0.1, --optimizer.betas 0 0.99, or name images by --data'
    """
    return "".join(words for _, words in pieces(text))


def pieces(text: str) -> list[tuple[bool, str]]:
    """A message cut into (whether it can be copied to a shell, words), with its commands and settings as a shell takes them.

    >>> pieces("`calotype train gan` `model.smooth=1`: a smoother critic, or a longer `train.minutes`")
    [(True, 'calotype train gan --model.smooth 1'), (False, ': a smoother critic, or a longer '), (True, '--minutes')]
    """
    cut: list[tuple[bool, str]] = []
    at = 0
    for found in _MARKED.finditer(text):
        between, (command, name, value) = text[at : found.start()], found.groups()
        words = command or option(name) + ("" if value is None else f" {_words(value)}")
        if cut and between == " ":  # of one command
            cut[-1] = True, f"{cut[-1][1]} {words}"
        else:
            cut += [(False, between), (True, words)]
        at = found.end()
    return [(marked, part) for marked, part in [*cut, (False, text[at:])] if part]


def spelled(tree: Any) -> Any:
    """Plain data, as JSON has it, with the settings that its messages name as options.

    >>> spelled({"notes": ["give a larger `count`"], "size": 28})
    {'notes': ['give a larger --count'], 'size': 28}
    """
    if isinstance(tree, Mapping):
        return {key: spelled(inner) for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [spelled(inner) for inner in tree]
    return as_options(tree) if isinstance(tree, str) else tree


def option(name: str) -> str:
    """The option of a setting.

    >>> option("data.source"), option("model.free_bits")
    ('--data', '--model.free-bits')
    """
    return "--" + SHORT.get(name, name.replace("_", "-"))


def _words(value: str) -> str:
    return value[1:-1].replace(",", "") if re.fullmatch(r"\([^()]*\)", value) else value
