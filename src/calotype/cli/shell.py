"""What a shell is told: messages from below name settings, and here they become options."""

from __future__ import annotations

from calotype.engine.display import Terminal
from calotype.spelling import as_options


class Shell(Terminal):
    """A terminal whose user gives options."""

    def say(self, line: str) -> None:
        """Print a line that stays, with settings as options."""
        super().say(as_options(line))
