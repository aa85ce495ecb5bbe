"""The log of a training as it is read back."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from calotype.engine import log as under_test
from calotype.engine.log import Log
from calotype.errors import CalotypeError, UserError


def log(folder: Path, *lines: Any) -> Log:
    """A log of these lines: records, or bytes as they are."""
    made = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (folder / "log.jsonl").write_bytes(b"\n".join(made) + b"\n")
    return Log(folder / "log.jsonl")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    it = Log(tmp_path / "log.jsonl")
    assert it.read() == []
    records: list[dict[str, Any]] = [
        {"step": 2, "images": 16, "seconds": 0.25, "generator/loss": 0.693147, "d_auc": None},
        {"event": "score", "step": 2, "FD": 1.5, "n": 80, "features": "r", "best": True},
        {"event": "rollback", "step": 5, "to": 2, "lr_scale": 0.5},
        {"step": 4, "images": 32, "seconds": 0.5, "generator/loss": -1e30, "d_auc": 0.5},
    ]
    for record in records:
        it.write(record)
    assert it.read() == records
    it.rewind(3)
    assert it.read() == records[:3]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"step": 3, "a": "\xe2\x28"}',
        b"[" * 100_000,
        b'{"step": ' + b"9" * 5000 + b"}",
        b'{"step": 3, "loss": NaN}',
        b'{"step": 3, "loss": 1e999}',
        b'{"step": 3, "event": "\\ud800"}',
        {"step": True},
        {"step": "3"},
        {"step": 3.0},
        {"step": -1},
        {"step": 10**9},
        {"step": None},
        {"loss": 1.0},
        {"step": 3, "event": 7},
        {"step": 3, "event": ["rollback"]},
        [3],
        "step",
        None,
    ],
)
def test_a_line_that_is_no_record_is_left_out(tmp_path: Path, line: Any) -> None:
    it = log(tmp_path, {"step": 2, "loss": 1.0}, line, {"step": 4, "loss": 2.0}, b'{"step": 6, "lo')
    assert it.read() == [{"step": 2, "loss": 1.0}, {"step": 4, "loss": 2.0}]
    it.rewind(9)
    assert it.path.read_bytes() == b'{"step": 2, "loss": 1.0}\n{"step": 4, "loss": 2.0}\n'


def test_a_value_that_no_log_holds_is_left_out(tmp_path: Path) -> None:
    odd = {"a": True, "b": "1", "c": [1.0], "d": {"e": 1}, "f": 1e39, "g": -(2**62), "h": None, "i": 0.5}
    it = log(tmp_path, {"step": 2, **odd}, {"event": "verdict", "step": 2, "says": "a\x1b[2Kb", **odd})
    assert it.read() == [
        {"step": 2, "g": -(2**62), "h": None, "i": 0.5},
        {"event": "verdict", "step": 2, "says": "a\ufffd[2Kb", "a": True, "b": "1", "g": -(2**62), "h": None, "i": 0.5},
    ]


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([2, 4, 6, 8], [2, 4, 6, 8]),
        ([2, 900_000, 6, 8], [2, 6, 8]),
        ([2, 4, 1, 8], [2, 4, 8]),
        ([2, 2, 4, 4], [2, 4]),
        ([900_000, 4, 6, 8], [4, 6, 8]),
    ],
)
def test_a_line_out_of_order_has_a_damaged_step(tmp_path: Path, steps: list[int], kept: list[int]) -> None:
    event = {"event": "rollback", "step": 7, "to": 1, "lr_scale": 0.5}
    found = log(tmp_path, event, *({"step": step} for step in steps)).read()
    assert found[0] == event
    assert [record["step"] for record in found[1:]] == kept


def test_a_log_that_cannot_be_read_or_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*log.jsonl: Is a directory"):
        Log(tmp_path / "log.jsonl").read()
    with pytest.raises(CalotypeError, match=r"cannot write .*log.jsonl: Is a directory; what was saved before can be resumed"):
        Log(tmp_path / "log.jsonl").write({"step": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(under_test, "open", full, raising=False)
    with pytest.raises(CalotypeError, match=r"no space left on the disk of .*log;"):
        Log(tmp_path / "log").write({"step": 1})


def test_any_bit_may_be_another(tmp_path: Path) -> None:
    it = log(tmp_path, {"step": 2, "a": 1.5}, {"event": "score", "step": 2, "FD": 1.5}, {"step": 4, "a": 2.5})
    whole, records = it.path.read_bytes(), it.read()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        it.path.write_bytes(data)
        assert sum(record in records for record in it.read()) >= 1  # without a line end two lines are lost
