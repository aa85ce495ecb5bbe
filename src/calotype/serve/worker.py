"""The process that works on jobs: both ends of it. They speak JSON, one object a line; nothing is pickled.

The worker leads a process group of its own, so that it and all that it started can be killed at once. It ends by itself when the service
is gone, however that ended.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from calotype.errors import CalotypeError, SettingError, printable, unforeseen
from calotype.serve.processes import command, environment, give_way
from calotype.settings import shown

Say = Callable[[str, int, int], None]
Perform = Callable[[str, Mapping[str, Any], Say], Mapping[str, Any]]
"""(kind, payload, say) -> result. A function of a module, which the worker finds by its name."""

LONGEST = 96 << 20  # bytes of a line: a result
OFTEN = 0.1  # seconds between two reports of progress
GRACE = 5.0  # seconds that a worker has to end by itself


class WorkerProcess:
    """The service's end of a worker."""

    def __init__(self, perform: Perform) -> None:
        name = f"{perform.__module__}:{perform.__qualname__}"
        self._process = subprocess.Popen(
            command("calotype.serve.worker", name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=environment(),
        )
        self._heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="worker-pipe", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process, which leads a group of the same number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be given work."""
        return self._process.poll() is None

    def give(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Hand it a job, without waiting until it listens; one that is gone shows by what is heard."""
        line = json.dumps({"kind": kind, "payload": payload}).encode() + b"\n"
        threading.Thread(target=self._write, args=(line,), name="worker-pipe", daemon=True).start()

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """What it says next: ``progress``, ``result`` or ``error``; ``gone`` where it died; None where it is silent so long."""
        try:
            found = self._heard.get(timeout=seconds)
        except queue.Empty:
            return None
        if found is None:
            self._heard.put(None)  # whoever asks again hears the same
            return {"gone": self._ended()}
        return found

    def kill(self) -> None:
        """End it and all that it started, at once."""
        _kill_group(self._process)

    def close(self) -> None:
        """Let an idle one end by itself."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self.kill()

    def _write(self, line: bytes) -> None:
        stream = self._process.stdin
        assert stream is not None
        with suppress(OSError, ValueError):  # ValueError: closed meanwhile
            stream.write(line)
            stream.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while (line := stream.readline(LONGEST)).endswith(b"\n"):
                said = json.loads(line)
                self._heard.put(said if isinstance(said, dict) else None)
        except (OSError, ValueError):
            pass
        self._heard.put(None)

    def _ended(self) -> str:
        """How it ended, in a few words; what is left of its group ends, too."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self.kill()
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with code {code}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)  # also where its leader has gone and others of the group live
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)


def main(name: str) -> None:
    """The worker's end: take a job, do it, say how that went, until the service closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints stands in nobody's way
    give_way(os.getpid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service says when to end
    module, _, function = name.partition(":")
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(sys.stdin.buffer, jobs), daemon=True).start()
    perform: Perform = getattr(importlib.import_module(module), function)
    while True:
        job = json.loads(jobs.get())
        _answer(answers, _outcome(perform, job["kind"], job["payload"], answers))


def _take(stream: BinaryIO, jobs: queue.SimpleQueue[bytes]) -> None:
    """Pass jobs on; where the service is gone, end at once, be it in the middle of one."""
    for line in stream:
        jobs.put(line)
    with suppress(OSError):
        if os.name != "nt":
            os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _outcome(perform: Perform, kind: str, payload: Mapping[str, Any], answers: BinaryIO) -> dict[str, Any]:
    last = 0.0

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= OFTEN or not done or done == total:
            last = now
            _answer(answers, {"progress": [printable(what), done, total]})

    try:
        return {"result": dict(perform(kind, payload, say))}
    except CalotypeError as error:
        field, allowed = (error.field, error.allowed) if isinstance(error, SettingError) else (None, None)
        return {"error": {"message": printable(str(error)), "field": field, "allowed": allowed or None}}
    except MemoryError:
        return {"error": {"message": "not enough memory: ask for less at once", "field": None, "allowed": None}}
    except Exception as error:
        return {"error": {"message": printable(unforeseen(error)), "field": None, "allowed": None}}


def _answer(answers: BinaryIO, said: Mapping[str, Any]) -> None:
    try:
        line = json.dumps(said, allow_nan=False).encode()
    except ValueError as error:
        line = json.dumps({"error": {"message": f"its result is no JSON ({shown(str(error))})", "field": None, "allowed": None}}).encode()
    if len(line) >= LONGEST:
        line = json.dumps({"error": {"message": "its result is too large: ask for less", "field": None, "allowed": None}}).encode()
    answers.write(line + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
