"""Where models compute: threads for what is quick, for what takes many passes and for what takes its time; each queue ends somewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from calotype.serve.refusal import FullError, Refusal

P = ParamSpec("P")
T = TypeVar("T")

_LOCAL = threading.local()
GONE = 499  # the status where who asked has gone


class Lane:
    """One thread, and those who wait for it.

    A model computes with all threads that torch has, so that two at once would only be slower; and what several wait for is done in
    the order in which they came.
    """

    def __init__(self, name: str, most: int, seconds: float) -> None:
        self.name, self.most, self.seconds = name, most, seconds
        self.waiting = 0  # and working
        self.spent = 0.05  # seconds that one took, as a moving mean: what Retry-After is made of
        self.ended = threading.Event()  # nobody waits for answers any more
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"calotype-{name}")

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` returns, in the thread of the lane.

        Raises `Refusal`: 429 where too many wait, 503 where it took longer than the limit.
        """
        return await self.within(self.seconds, work, *args, **kwargs)

    async def within(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same with another limit of time."""
        self.require_room()
        self.waiting += 1
        gone = threading.Event()
        try:
            until = time.monotonic() + seconds
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._timed(until, gone, work, *args, **kwargs))
        finally:
            gone.set()
            self.waiting -= 1

    def require_room(self) -> None:
        """Raise `Refusal` (429) where too many wait."""
        if self.waiting >= self.most:
            raise FullError("too many requests wait: come again", self.waiting * self.spent)

    def _timed(self, until: float, gone: threading.Event, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        start = time.monotonic()
        _LOCAL.until, _LOCAL.ended, _LOCAL.gone = until, self.ended, gone
        try:
            in_time()
            return work(*args, **kwargs)
        finally:
            _LOCAL.until = None
            self.spent += 0.1 * (time.monotonic() - start - self.spent)

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        self._thread.shutdown(wait=True, cancel_futures=True)


class Lanes:
    """A lane for what is answered at once (samples, moves among latents, classes), one for the same of models that take many passes, and
    one for what takes its time.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.quick, self.many = Lane("quick", most, seconds), Lane("many", most, seconds)
        self.slow = Lane("slow", max(1, most // 8), seconds)
        self.all = self.quick, self.many, self.slow

    def close(self) -> None:
        """End both, and the work that is being done."""
        for lane in self.all:
            lane.ended.set()
        for lane in self.all:
            lane.close()


def in_time(*_: object) -> None:
    """Raise `Refusal` (503) where the request that this thread works for has had its time; networks ask it between their layers."""
    until = getattr(_LOCAL, "until", None)
    if until is not None and _LOCAL.ended.is_set():
        raise Refusal(503, "the service ends")
    if until is not None and _LOCAL.gone.is_set():
        raise Refusal(GONE, "nobody waits for it any more")
    if until is not None and time.monotonic() > until:
        raise late()


def late() -> Refusal:
    """What a request is told that has had its time."""
    return Refusal(503, "it took longer than a request may: ask for less, or make a job of it", headers={"Retry-After": "5"})
