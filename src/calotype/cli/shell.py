"""What a shell is told: messages from below name settings, and here they become options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calotype.engine.display import Terminal
from calotype.spelling import as_options


class Shell(Terminal):
    """A terminal whose user gives options."""

    def say(self, line: str) -> None:
        """Print a line that stays, with settings as options."""
        super().say(as_options(line))


def spelled(tree: Any) -> Any:
    """What is printed as JSON, with the settings that its messages name as options.

    >>> spelled({"notes": ["give a larger `count`"], "size": 28})
    {'notes': ['give a larger --count'], 'size': 28}
    """
    if isinstance(tree, Mapping):
        return {key: spelled(inner) for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [spelled(inner) for inner in tree]
    return as_options(tree) if isinstance(tree, str) else tree
