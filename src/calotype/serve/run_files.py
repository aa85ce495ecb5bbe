"""What is read of the files of a run: no more often than they change, and nothing that lies elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from calotype.errors import DamagedError
from calotype.files import not_linked, read_json

T = TypeVar("T")
LogRow = dict[str, Any]

ROWS = 5_000  # of a log: of longer ones every second, third ... row is left out
RECENT = 5  # rows by which the time that is left is estimated
PICTURE = 64 << 20  # bytes of a picture or a page that is served


@dataclass
class FileCache:
    """What was read of the files of a run, until they change."""

    marks: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str, path: Path, read: Callable[[], T]) -> T:
        """``read()``, unless the file at ``path`` is the one that was there before."""
        mark = mark_of(path)
        if name not in self.values or self.marks[name] != mark:
            self.values[name], self.marks[name] = read(), mark
        value: T = self.values[name]
        return value


def thinned(rows: list[LogRow], most: int = ROWS) -> list[LogRow]:
    """Rows of a log, of very many every second, third ... alone; events and the last row are never left out."""
    step = -(-len(rows) // most)
    return rows if step <= 1 else [row for at, row in enumerate(rows) if "event" in row or at % step == 0 or at == len(rows) - 1]


def seconds_left(rows: list[LogRow], steps: int | None) -> float | None:
    """The seconds that are left by the pace of the last rows; None where it is not known yet."""
    timed = [row for row in rows if "event" not in row and isinstance(row.get("seconds"), int | float)][-RECENT:]
    if steps is None or not timed:
        return None
    first = timed[0] if len(timed) > 1 else {"step": 0, "seconds": 0.0}
    last, taken = timed[-1], timed[-1]["step"] - first["step"]
    return round(max(0.0, (steps - last["step"]) * (last["seconds"] - first["seconds"]) / taken), 1) if taken > 0 else None


def mark_of(path: Path) -> Any:
    """What changes when a file or folder does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def changed(path: Path) -> float:
    """When a file changed last, in seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def file_of(path: Path) -> bytes:
    """A file inside a run; empty where there is none, a link to somewhere else, or one that is too large."""
    try:
        with open(path, "rb", opener=not_linked) as stream:
            data = stream.read(PICTURE + 1)
    except OSError:
        return b""
    return data if len(data) <= PICTURE else b""


def json_of(path: Path) -> LogRow:
    """The JSON object in a file; empty where there is none, or a damaged one."""
    try:
        return read_json(path)
    except DamagedError:
        return {}


def whole_number(value: object) -> int | None:
    """What should be a whole number; None where it is something else."""
    return value if type(value) is int else None
