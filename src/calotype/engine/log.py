"""The log of a training: one JSON object a line."""

from __future__ import annotations

import errno
import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from calotype import earlier
from calotype.errors import CalotypeError, UserError, printable
from calotype.files import disk_full, not_linked, parse_json, write_text
from calotype.settings import STEPS

LINE = 1 << 20  # characters of the longest line that is read
LARGEST = 3.5e38  # of a number in a log: all of them come from 32-bit floats


@dataclass(frozen=True)
class Log:
    """``log.jsonl``: one JSON object a line, in the order of the steps."""

    path: Path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; a number that JSON cannot hold becomes null. Raises `CalotypeError` where it cannot be written."""
        line = json.dumps({k: _plain(v) for k, v in record.items()}, allow_nan=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8", opener=not_linked) as stream:
                stream.write(line)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_full(self.path) from None
            raise CalotypeError(f"cannot write {self.path}: {error.strerror or error}; what was saved before can be resumed") from None

    def read(self) -> list[dict[str, Any]]:
        """All whole records: each has a step, perhaps an event, and numbers by name; events have words and truths as well.

        A line torn by a kill or damaged otherwise is left out, and so is a value that no log holds; the steps of lines that are no events
        rise. Raises `UserError` where there is something that cannot be read at all.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}; repair that, or move it away") from None
        return _in_order([record for line in lines if (record := _record(line)) is not None])

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``, because those steps will be taken again; that the run went back stays."""
        kept = [r for r in self.read() if r["step"] <= step or r.get("event") == "rollback"]
        write_text(self.path, "".join(json.dumps(r) + "\n" for r in kept))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = parse_json(line) if len(line) <= LINE else {}
    except ValueError:
        return None
    step, event = found.get("step"), found.get("event")
    if type(step) is not int or not 0 <= step <= STEPS or not isinstance(event, str | None):
        return None
    record: dict[str, Any] = {}
    for name, value in found.items():
        if value is None or (type(value) in (int, float) and abs(value) <= LARGEST) or (event is not None and isinstance(value, bool)):
            record[printable(name)] = value
        elif event is not None and isinstance(value, str):
            record[printable(name)] = printable(value)
    return earlier.record(record)


def _in_order(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records without the lines that stand out of order, because their steps are damaged: as few as possible."""
    ends: list[int] = []  # the lowest step that a rising sequence of each length ends with, and its line
    lines: list[int] = []
    before: dict[int, int | None] = {}
    for index, record in enumerate(records):
        if "event" not in record:
            length = bisect_left(ends, record["step"])
            ends[length : length + 1], lines[length : length + 1] = [record["step"]], [index]
            before[index] = lines[length - 1] if length else None
    kept: set[int] = set()
    at = lines[-1] if lines else None
    while at is not None:
        kept.add(at)
        at = before[at]
    return [record for index, record in enumerate(records) if "event" in record or index in kept]


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        value = float(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
