"""A bounded queue of jobs that worker processes do: none of them can take the service with it."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from calotype.errors import UserError, printable, unforeseen
from calotype.files import claim, obstacle
from calotype.serve.job_store import JobState, JobStore, QueuedJob
from calotype.serve.refusal import FullError, UnknownError
from calotype.serve.worker import Perform, WorkerProcess

TRIES = 2  # of a job whose worker dies: once more, and then it is lost
TICK = 0.1  # seconds between two looks at whether a running job is to end
IDLE = 120.0  # seconds after which a worker without work gives its memory back


class JobQueue:
    """Jobs in the order in which they came, some at a time, each in a process that can be killed.

    Args:
        folder: Of the database ``jobs.sqlite3``; one service at a time.
        perform: What does a job, in the worker (`calotype.serve.worker.Perform`).
        workers: Jobs that run at once.
        capacity: Jobs that wait or run at most.
        seconds: That a job may take.

    A job whose worker dies (out of memory, a crash of a library) is begun once more, and is lost when that worker dies as well. What was
    running when the service itself died is marked as lost; what waited goes on when it starts again, and so does what a service that
    ended in order had begun.

    Raises:
        UserError: where the folder cannot be written, or another service uses it.
    """

    def __init__(self, folder: Path, perform: Perform, *, workers: int = 1, capacity: int = 64, seconds: float = 3600.0) -> None:
        if reason := obstacle(folder, folder=True):
            raise UserError(f"cannot keep jobs in {folder}: {reason}; choose another `state`")
        folder.mkdir(parents=True, exist_ok=True)
        self._hold = claim(folder / "jobs.lock")
        if self._hold is None:
            raise UserError(f"another service uses {folder}: stop it, or choose another `state`")
        self.capacity, self.seconds, self.workers = capacity, seconds, workers
        self._perform = perform
        self._store = JobStore(folder / "jobs.sqlite3")
        self._store.recover(_said("the service ended while it was at work: ask for it again"))
        self._cancelled: set[str] = set()
        self._wake = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._serve, name=f"jobs-{place}", daemon=True) for place in range(workers)]

    def start(self) -> None:
        """Begin to work; until then jobs wait."""
        for thread in self._threads:
            thread.start()

    def submit(self, kind: str, request: Mapping[str, Any], payload: Mapping[str, Any] | None = None) -> QueuedJob:
        """Put a job at the end of the queue; one of the same kind and payload that waits or runs already is given back in its place.

        Raises `FullError` where there is no room.
        """
        job = self._store.add(kind, request, request if payload is None else payload, self.capacity, self._cancelled)
        if job is None:
            said = f"as many jobs wait or run as may, which are {self.capacity}: ask again later, or cancel some"
            raise FullError(said, self.retry_after())
        with self._wake:
            self._wake.notify()
        return job

    def retry_after(self) -> int:
        """Seconds after which one of the jobs will probably have ended."""
        return min(600, max(1, math.ceil(self._store.usual_seconds() / self.workers)))

    def get(self, job: str) -> QueuedJob:
        """A job by its id. Raises `UnknownError`."""
        if (found := self._store.get(job)) is None:
            raise UnknownError("there is no such job: it may have been forgotten, as old ones are")
        return found

    def public(self, job: str) -> dict[str, Any]:
        """A job as a client sees it. Raises `UnknownError`."""
        return self.get(job).public(self._store.position(job))

    def page(self, job: str) -> str:
        """Where a job puts its page; empty for one that makes none. Raises `UnknownError`."""
        self.get(job)
        return str(self._store.payload(job).get("page", ""))

    def done(self, kind: str, payload: Mapping[str, Any]) -> QueuedJob | None:
        """The last job of this kind and payload that was done and is not forgotten, for work whose result does not change."""
        return self._store.done(kind, payload)

    def newest(self, count: int = 100) -> list[dict[str, Any]]:
        """The jobs that came last, the newest first, without their results."""
        return [job.public(self._store.position(job.id)) for job in self._store.newest(count)]

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        return self._store.counts()

    def cancel(self, job: str) -> QueuedJob:
        """End a job: at once where it waits, within a second where it runs; one that ended stays as it is. Raises `UnknownError`."""
        if not self.get(job).over and not self._store.cancel_waiting(job):
            self._cancelled.add(job)
            if self.get(job).over or self._store.cancel_waiting(job):  # it ended, or went back to the queue, in this moment
                self._cancelled.discard(job)
        return self.get(job)

    def wait(self, job: str, seconds: float) -> QueuedJob:
        """A job once it is over, or as it is after so many seconds."""
        until = time.monotonic() + seconds
        while not (found := self.get(job)).over and time.monotonic() < until:
            time.sleep(min(TICK, max(0.0, until - time.monotonic())))
        return found

    def close(self) -> None:
        """End in order: workers are killed, and what they had begun waits for the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._store.close()
        if self._hold is not None:
            with suppress(OSError):
                os.close(self._hold)
            self._hold = None

    def _serve(self) -> None:
        """What each thread does: give jobs to one worker, one after another."""
        worker: WorkerProcess | None = None
        idle = time.monotonic()
        while not self._stopping:
            if (job := self._next()) is None:
                if worker is not None and time.monotonic() - idle > IDLE:
                    worker.close()
                    worker = None
                with self._wake:
                    if not self._stopping:
                        self._wake.wait(1.0)
                continue
            try:
                if worker is None or not worker.alive:
                    worker = WorkerProcess(self._perform)
                self._watch(job, worker)
            except Exception as error:  # no process can be started, the disk is full, or whatever else: the queue goes on
                self._given_up(job, worker, error)
                worker = None
            idle = time.monotonic()
        if worker is not None:
            worker.kill()

    def _watch(self, job: QueuedJob, worker: WorkerProcess) -> None:
        """Give a job to a worker and see it through to its end, whatever becomes of either."""
        until = time.monotonic() + self.seconds
        worker.give(job.kind, job.payload)
        while True:
            said = worker.hear(TICK)
            if said is not None and "progress" in said:
                self._store.progress(job.id, *said["progress"])
            elif said is not None and "result" in said:
                self._store.end(job.id, "done", result=said["result"])
                break
            elif said is not None and "error" in said:
                self._store.end(job.id, "failed", error=said["error"])
                break
            elif said is not None:
                self._lost(job, said["gone"])
                break
            if job.id in self._cancelled:
                worker.kill()
                self._store.end(job.id, "cancelled")
                break
            if time.monotonic() > until:
                worker.kill()
                self._store.end(job.id, "failed", error=_said(f"it took longer than {self.seconds:,.0f} seconds: ask for less at once"))
                break
            if self._stopping:
                worker.kill()
                self._store.requeue(job.id, uncounted=True)
                break
        if job.id in self._cancelled:  # also where it went back to the queue meanwhile
            self._store.cancel_waiting(job.id)
            self._cancelled.discard(job.id)

    def _next(self) -> QueuedJob | None:
        """The next job; None where there is none, or where the disk cannot be written at the moment."""
        try:
            return self._store.claim()
        except sqlite3.Error:
            return None

    def _given_up(self, job: QueuedJob, worker: WorkerProcess | None, error: Exception) -> None:
        """End a job of which no more can be known; where not even that can be written, wait until it can."""
        if worker is not None:
            worker.kill()
        why = str(error) if isinstance(error, OSError | sqlite3.Error) else unforeseen(error)
        while not self._stopping:
            with suppress(sqlite3.Error):
                self._store.end(job.id, "failed", error=_said(f"the service could not see to it ({printable(why)})"))
                self._cancelled.discard(job.id)
                return
            time.sleep(1)

    def _lost(self, job: QueuedJob, how: str) -> None:
        """The worker died: once more, or never again."""
        if job.id in self._cancelled:
            self._store.end(job.id, "cancelled")
        elif job.attempts < TRIES:
            self._store.requeue(job.id)
        else:
            self._store.end(job.id, "lost", error=_said(f"the process that worked on it died {job.attempts} times ({how}): ask for less"))


def _said(message: str) -> dict[str, Any]:
    return {"message": message, "field": None, "allowed": None}
