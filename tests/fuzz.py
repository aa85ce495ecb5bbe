"""Damaged inputs for readers, from a seed, and an attempt at reading one under guard.

for data in mutations(whole, fuzz, seed=0):  # `fuzz` is the fixture behind pytest's option --fuzz
    attempt(lambda: read(data), UserError)
"""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 10.0  # of processor time, so that a busy machine is no failure, nor a slow one that imports half of scipy on the way
WAIT = 120.0  # seconds by the clock, for what waits instead of working
GROWTH = 500 << 20  # bytes
_SPACE = 6 << 30  # bytes of addresses: where an allocation fails before it takes the machine down; threads alone reserve some
_EXTREMES = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_NUMBER = re.compile(rb"\d+")


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies of ``data``, the same ones for a seed: bits and bytes, lengths, decimal numbers, parts moved, ends lost."""
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            rng.choice(_DAMAGES)(damaged, rng)
        yield bytes(damaged)


def attempt(call: Callable[[], object], *allowed: type[BaseException]) -> None:
    """Call; fail on any error but the ``allowed`` ones, on `SECONDS` of work and on `GROWTH` of memory."""
    before, said = _reset_peak(), None
    try:
        with _in_time(), _in_space():
            call()
    except allowed as error:
        said = str(error)
    except _Endless as late:
        raise AssertionError(f"no end after {late}") from late
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert said is None or said.strip(), "an error that says nothing"
    assert said is None or "\n" not in said, f"more than one line: {said}"
    grown = _peak() - before
    assert grown < GROWTH, f"memory grew by {grown >> 20} MiB"


class _Endless(BaseException):
    """Past every ``except Exception``."""


@contextmanager
def _in_time() -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise _Endless(f"{SECONDS:g} s of work" if number == signal.SIGPROF else f"{WAIT:g} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, WAIT))
    old = [signal.signal(number, stop) for _, number, _ in timers]
    try:
        for timer, _, limit in timers:
            signal.setitimer(timer, limit)
        yield
    finally:
        for (timer, number, _), handler in zip(timers, old, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextmanager
def _in_space() -> Iterator[None]:
    used = _status("VmSize")
    if used is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPACE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reset_peak() -> int:
    """Bytes in memory now, from where the peak is counted anew; 0 where the system does not count so."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    return _status("VmHWM") or 0


def _status(field: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) << 10 if found else None
    return None


def _place(data: bytearray, rng: random.Random) -> int:
    """Anywhere, or near the beginning or the end, where headers and tables are."""
    span = rng.choice((len(data), 64, 512))
    place = rng.randrange(min(span, len(data)) + 1)
    return place if rng.random() < 0.7 else len(data) - place


def _bits(data: bytearray, rng: random.Random) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] ^= 1 << rng.randrange(8)


def _bytes(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    count = min(rng.randint(1, 16), len(data) - place)
    data[place : place + count] = rng.choice((rng.randbytes(count), bytes(count), b"\xff" * count))


def _length(data: bytearray, rng: random.Random) -> None:
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    place = _place(data, rng)
    value = rng.choice(_EXTREMES) + rng.choice((0, 0, 1, -1))
    data[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, "little" if order == "little" else "big")


def _decimal(data: bytearray, rng: random.Random) -> None:
    numbers = list(_NUMBER.finditer(bytes(data[: 1 << 16])))
    if numbers:
        number = rng.choice(numbers)
        data[number.start() : number.end()] = str(rng.choice((-1, *_EXTREMES, 10**30))).encode()


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _removed(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 4, 64, 1024))]


def _moved(data: bytearray, rng: random.Random) -> None:
    """A part of the data again, over another part or before it."""
    start, place, count = _place(data, rng), _place(data, rng), rng.choice((1, 4, 64, 1024))
    part = data[start : start + count]
    data[place : place + rng.choice((0, len(part)))] = part


def _inserted(data: bytearray, rng: random.Random) -> None:
    place = _place(data, rng)
    data[place:place] = rng.randbytes(rng.choice((1, 2, 16, 300)))


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _bits,
    _bits,
    _bytes,
    _length,
    _length,
    _decimal,
    _cut,
    _removed,
    _moved,
    _inserted,
)
