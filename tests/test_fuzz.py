"""The guards that the fuzz tests stand on do go off."""

from __future__ import annotations

import gc
import mmap
import sys

import pytest

from calotype.errors import UserError
from tests import fuzz
from tests.fuzz import attempt, mutations


def test_mutations_repeat_and_differ() -> None:
    whole = bytes(range(200))
    first, second = list(mutations(whole, 50, 1)), list(mutations(whole, 50, 1))
    assert first == second
    assert first != list(mutations(whole, 50, 2))
    assert len({*first}) > 40
    assert any(len(data) < len(whole) for data in first)
    assert list(mutations(b"", 20, 0))


def test_only_allowed_errors_of_one_line_pass() -> None:
    def fail(error: Exception) -> None:
        raise error

    attempt(lambda: fail(UserError("it is damaged")), UserError)
    for error in (ValueError("other"), UserError(""), UserError("two\nlines")):
        with pytest.raises(AssertionError):
            attempt(lambda error=error: fail(error), UserError)  # type: ignore[misc]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")
def touched(size: int) -> None:
    """Take new memory of the system, not what the process was left with, and give it back."""
    with mmap.mmap(-1, size) as memory:
        for place in range(0, size, mmap.PAGESIZE):
            memory[place] = 1


def test_growth_fails_even_where_it_is_freed_again() -> None:
    gc.collect()  # what other tests left behind must not be freed meanwhile
    attempt(lambda: bytearray(b"x" * (20 << 20)))
    with pytest.raises(AssertionError, match="memory grew"):
        attempt(lambda: touched(600 << 20))
    with pytest.raises(AssertionError, match="MemoryError"):
        attempt(lambda: bytearray(1 << 40))


@pytest.mark.skipif(sys.platform == "win32", reason="needs interval timers")
def test_what_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)

    def forever() -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    with pytest.raises(AssertionError, match="no end"):
        attempt(forever)
