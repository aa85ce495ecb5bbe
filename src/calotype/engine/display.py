"""What a person sees while a run trains: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from calotype.errors import printable

Say = Callable[[str, int, int], None]
"""(what, done, total); 0 of 0 where a work begins whose length is not known yet."""


def progress(say: Say | None, what: str) -> Callable[[int, int], None] | None:
    """``say`` for work of one kind, which begins with this call."""
    if say is None:
        return None
    say(what, 0, 0)
    return lambda done, total: say(what, done, total)


def duration(seconds: float) -> str:
    """A duration for people.

    >>> duration(5), duration(65), duration(3_700)
    ('0:05', '1:05', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
    """Where the loop reports to. This one says nothing."""

    def say(self, line: str) -> None:
        """Print a line that stays."""

    def show(self, what: str, done: int, total: int, note: str = "", *, percent: bool = False) -> None:
        """Report how far ``what`` has come; ``percent`` where ``total`` is 100 and counts nothing."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Terminal(Display):
    """A live bar on a terminal; elsewhere one plain line every ten seconds. Writes to stderr: stdout is for results."""

    interval = 10.0

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._bar: Progress | None = None
        self._task: tuple[str, TaskID] | None = None
        self._began: dict[str, tuple[float, int]] = {}
        self._last, self._what = 0.0, ""

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        else:
            print(printable(line), file=self.stream, flush=True)

    def show(self, what: str, done: int, total: int, note: str = "", *, percent: bool = False) -> None:
        """Report how far ``what`` has come, with an estimate of the time that is left; at once where it is another work than before."""
        now = time.monotonic()
        if not done:  # the same work may be done again, and its time runs when its length is known
            self._began.pop(what, None)
        began, first = self._began.setdefault(what, (now, done)) if total else (now, done)
        if 0 < total <= done:
            left = "done"
        else:
            left = f"{duration((now - began) / (done - first) * (total - done))} left" if done > first else "..."
        count = f"{done}%  " if percent else f"{done:,}/{total:,}  " if total else ""
        text = f"{count}{left}  {note}"
        if self.stream.isatty():
            self._draw(what, done, total, text)
        elif now - self._last >= self.interval or what != self._what or 0 < total <= done:
            self._last, self._what = now, what
            print(f"{what} {text}".rstrip(), file=self.stream, flush=True)

    def _draw(self, what: str, done: int, total: int, text: str) -> None:
        if self._bar is None:
            # names from outside are in both: without markup, which could color them and make links
            what_column, text_column = (TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[text]"))
            columns = (what_column, BarColumn(20), text_column)
            self._bar = Progress(*columns, console=Console(file=self.stream))
            self._bar.start()
        if self._task is None or self._task[0] != what:
            self._task = (what, self._bar.add_task(what, total=total or None, text=text))
        self._bar.update(self._task[1], completed=done, total=total or None, text=text)

    def close(self) -> None:
        """Leave the bar where it is and the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
