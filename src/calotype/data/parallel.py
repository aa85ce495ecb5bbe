"""Decode many files at once, in order, in bounded memory.

Threads, because Pillow lets go of the interpreter lock while it decodes, and because they start at once and ask nothing of
the script that imports the package, as processes would. One core alone brings in 50,000 small JPEG files in some 10 s.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from calotype.data.images import Progress

T = TypeVar("T")
R = TypeVar("R")

ROOM = 512 * 2**20  # bytes of decoded pictures: one of the largest, or ten photographs of 12 megapixels
CHUNK = 64  # files handed to a thread at a time


def workers() -> int:
    """Threads worth starting on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores))


class Room:
    """Bytes that threads share for what they decode at once, so that large pictures take turns; one that needs more than all is alone."""

    def __init__(self, total: int | None = None) -> None:
        self._total = self._left = ROOM if total is None else total
        self._freed = Condition()

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Within this, ``count`` bytes are this thread's, for which it waits until others have let go of enough."""
        count = min(count, self._total)
        with self._freed:
            self._freed.wait_for(lambda: self._left >= count)
            self._left -= count
        try:
            yield
        finally:
            with self._freed:
                self._left += count
                self._freed.notify_all()


def ordered(work: Callable[[T], R], items: Sequence[T], progress: Progress | None = None, size: int = CHUNK) -> Iterator[R]:
    """``work(item)`` for every item, in order, computed ahead by a few chunks of ``size``; ``progress`` hears of each chunk."""
    count = workers()
    starts = iter(range(0, len(items), size))
    pending: deque[Future[list[R]]] = deque()
    done = 0

    def chunk(start: int) -> list[R]:
        return [work(item) for item in items[start : start + size]]

    with ThreadPoolExecutor(count, "calotype-decode") as pool:
        try:
            while True:
                while len(pending) < 3 * count and (start := next(starts, None)) is not None:
                    pending.append(pool.submit(chunk, start))
                if not pending:
                    return
                results = pending.popleft().result()
                yield from results
                done += len(results)
                if progress is not None:
                    progress(done, len(items))
        finally:
            for future in pending:
                future.cancel()
