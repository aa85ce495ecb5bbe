"""What the processes of one training tell each other besides tensors: that they live, what the first decided, and that one failed."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from calotype.errors import CalotypeError, ElsewhereError, LostError
from calotype.parallel import together

if TYPE_CHECKING:  # there are builds of PyTorch without it
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

BEAT = 3.0  # seconds between two signs of life
SILENT = 12  # own signs of life without one of another process, after which that one counts as gone
GRACE = 2 * BEAT  # seconds that the main thread has to end by itself once a process is gone or failed
SPOKEN = timedelta(seconds=10)  # that the process which fails first has to say with what exit code
FAREWELL = 10.0  # seconds that the process which holds the store waits for the others to leave


class Peers:
    """The other processes, by way of the store through which they found each other.

    A process that waits for a tensor notices at once that another one was killed, because a connection breaks; but not where it waits
    for a GPU, computes alone, or where the other one is frozen. Therefore a thread gives a sign of life every few seconds, and counts in
    its own signs how long others gave none: a machine that was asleep, or a job that was suspended as a whole, loses nobody.

    Args:
        store: shared by all.
        own: another connection to it, for the thread.
        rank: of this process.
        size: the number of processes.
        holds: whether the store ends with this process.
        farewell: called before a process that cannot end by itself is ended.
    """

    def __init__(self, store: Store, own: Store, rank: int, size: int, holds: bool, farewell: Callable[[], None]) -> None:
        self.store, self.rank, self.size, self._holds, self._farewell = store, rank, size, holds, farewell
        self._count = 0
        self._left = threading.Event()
        own.set(f"beat/{rank}", "0")  # before anybody can be missed
        self._thread = threading.Thread(target=self._watch, args=(own,), name="calotype-peers", daemon=True)

    def begin(self) -> None:
        """Watch the others, all of whom are there now."""
        self._thread.start()

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns to the first process, which alone does it, however long that takes; plain JSON.

        Raises:
            ElsewhereError: where another process failed.
            LostError: where the first process is gone.
        """
        self._count += 1
        key = f"first/{self._count}"
        if self.rank == 0:
            result = work()
            with together():
                self.store.set(key, json.dumps(result))
            return result
        self._await([key])
        return cast("T", json.loads(self._ask(key)))

    def all(self, value: Any) -> list[Any]:
        """The ``value`` of each process, which is plain JSON, in the order of the ranks; nobody goes on before the last has come.

        Raises:
            ElsewhereError: where another process failed.
            LostError: where the first process is gone.
        """
        self._count += 1
        keys = [f"all/{self._count}/{rank}" for rank in range(self.size)]
        with together():
            self.store.set(keys[self.rank], json.dumps(value))
        self._await(keys)
        return [json.loads(self._ask(key)) for key in keys]

    def settle(self, error: BaseException) -> BaseException:
        """Tell the others of an error; returns what to raise: the error itself where this process is the first that fails."""
        self._left.set()
        if isinstance(error, ElsewhereError):
            return error
        first, code = self._claim(code_of(error))
        return error if first or (not isinstance(error, LostError) and code is None) else ElsewhereError(code or 1)

    def leave(self) -> None:
        """Stop watching. The process that holds the store leaves last."""
        self._left.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        self._gone()
        with suppress(RuntimeError):
            until = time.monotonic() + FAREWELL
            while self._holds and int(self.store.add("gone", 0)) < self.size and time.monotonic() < until:
                time.sleep(0.02)

    def _gone(self) -> None:
        with suppress(RuntimeError):
            self.store.add("gone", 1)

    def _claim(self, code: int) -> tuple[bool, int | None]:
        """Whether this process is the first that fails, and so has to speak; and the exit code of the first, None where nobody knows."""
        try:
            if int(self.store.add("claims", 1)) == 1:
                self.store.set("failed", str(code))
                return True, code
            self.store.wait(["failed"], SPOKEN)  # the first says so at once, unless it was killed just now
            return False, int(self.store.get("failed"))
        except RuntimeError:  # the store is gone, or whoever was to speak: the second one speaks for all
            return self.rank == 1, None

    def _ask(self, key: str) -> bytes:
        with together():
            return bytes(self.store.get(key))

    def _await(self, keys: list[str]) -> None:
        pause = 0.001
        with together():
            while not self.store.check(keys):
                if self.store.check(["failed"]):
                    raise ElsewhereError(int(self.store.get("failed")))
                time.sleep(pause)
                pause = min(2 * pause, 0.1)

    def _watch(self, store: Store) -> None:
        others = [rank for rank in range(self.size) if rank != self.rank]
        signs, silent, beats = dict.fromkeys(others, b""), dict.fromkeys(others, 0), 0
        while not self._left.wait(BEAT):
            beats += 1
            try:
                store.set(f"beat/{self.rank}", str(beats))
                failed = store.check(["failed"])
                for rank in others:
                    sign = store.get(f"beat/{rank}")
                    silent[rank] = silent[rank] + 1 if sign == signs[rank] else 0
                    signs[rank] = sign
            except RuntimeError:
                return self._end("process 0 of this training")
            gone = [rank for rank in others if silent[rank] >= SILENT]
            if failed or gone:
                return self._end(f"process {gone[0]} of this training" if gone else "")
        return None

    def _end(self, who: str) -> None:
        """End this process, unless its main thread does so by itself."""
        if self._left.wait(GRACE):
            return
        first, code = self._claim(LostError.exit_code)
        self._farewell()
        if first:
            print(
                f"calotype: {who} ended without a word, or cannot be reached; what it had saved can be resumed", file=sys.stderr, flush=True
            )
        self._gone()
        os._exit(code or LostError.exit_code)


def code_of(error: BaseException) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return error.exit_code if isinstance(error, CalotypeError) else 130 if isinstance(error, KeyboardInterrupt) else 1
