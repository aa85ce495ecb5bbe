"""Jobs as rows of an SQLite database, which a crash at any instant leaves whole."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from calotype.errors import DamagedError

JobState = Literal["queued", "running", "done", "failed", "cancelled", "lost"]
"""*lost*: the process that worked on it died, or the service did."""

STATES: tuple[JobState, ...] = ("queued", "running", "done", "failed", "cancelled", "lost")
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled", "lost")
WAITING_BYTES = 256 << 20  # of all that is sent with jobs that wait or run
KEPT = 500  # jobs that ended, of which the oldest are forgotten first
KEPT_BYTES = 256 << 20  # of the results of these
SMALL = 64 << 10  # characters of a payload that is kept when its job has ended: places, and no images

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    what TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT,
    created REAL NOT NULL,
    started REAL,
    ended REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
"""
_COLUMNS = "id, kind, request, payload, state, attempts, what, done, total, result, error, created, started, ended"
_BRIEF = _COLUMNS.replace("payload", "'{}'")  # uploads stay on the disk until somebody works on them


@dataclass(frozen=True)
class QueuedJob:
    """One piece of work."""

    id: str
    kind: str
    request: dict[str, Any]  # what it is about, as a client may be told
    payload: dict[str, Any]  # what the worker needs: paths, which no client sees, and images; empty but in a job that is claimed
    state: JobState
    attempts: int  # times that a worker began it
    what: str  # it is doing
    done: int
    total: int  # 0 where its length is not known
    result: dict[str, Any] | None
    error: dict[str, Any] | None  # message, field, allowed
    created: float  # seconds since 1970, like the next two
    started: float | None
    ended: float | None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED

    def public(self, position: int | None = None) -> dict[str, Any]:
        """What a client may know. ``position`` is its place in the queue, from 0."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "position": position,
            "progress": {"what": self.what, "done": self.done, "total": self.total},
            "attempts": self.attempts,
            "result": self.result,
            "error": self.error,
            "about": self.request,
            "created": iso(self.created),
            "started": iso(self.started),
            "ended": iso(self.ended),
        }


def iso(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC.

    >>> iso(0.0)
    '1970-01-01T00:00:00Z'
    """
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


class JobStore:
    """The table of all jobs; safe to use from several threads of one process."""

    def __init__(self, path: Path) -> None:
        """Open or create the database. Raises `DamagedError` for a file that is none."""
        self._lock = threading.RLock()
        self._db = connect(path, _TABLE)

    def add(
        self, kind: str, request: Mapping[str, Any], payload: Mapping[str, Any], capacity: int, ending: Collection[str] = ()
    ) -> QueuedJob | None:
        """A new job at the end of the queue, or the one that is to do the very same and is not over.

        The same is a job of this kind and payload, wherever it puts its ``page``; those that are ``ending`` do not count. None where
        ``capacity`` jobs wait or run, or all would hold more than `WAITING_BYTES`.
        """
        text = _text(payload)
        with self._writing() as db:
            if (same := self._unfinished(db, kind, text, ending)) is not None:
                return self.get(same)
            query = "SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM jobs WHERE state IN ('queued', 'running')"
            count, size = db.execute(query).fetchone()
            if count >= capacity or (count and size + len(text) > WAITING_BYTES):
                return None
            job = secrets.token_hex(8)
            db.execute(
                "INSERT INTO jobs (id, kind, request, payload, state, created) VALUES (?, ?, ?, ?, 'queued', ?)",
                (job, kind, _text(request), text, time.time()),
            )
            self._prune(db)
            return self.get(job)

    def claim(self) -> QueuedJob | None:
        """The next job of the queue, which is running from here on; None where there is none."""
        with self._writing() as db:
            row = db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1").fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = ?, what = '', done = 0, total = 0 WHERE id = ?",
                (time.time(), row[0]),
            )
            return _job(db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (row[0],)).fetchone())

    def progress(self, job: str, what: str, done: int, total: int) -> None:
        """Say how far a running job has come."""
        with self._writing() as db:
            db.execute("UPDATE jobs SET what = ?, done = ?, total = ? WHERE id = ? AND state = 'running'", (what, done, total, job))

    def end(self, job: str, state: JobState, *, result: Mapping[str, Any] | None = None, error: Mapping[str, Any] | None = None) -> bool:
        """End a job that waits or runs; False where it had ended already, or is not there."""
        with self._writing() as db:
            found = db.execute(
                "UPDATE jobs SET state = ?, result = ?, error = ?, ended = ? WHERE id = ? AND state IN ('queued', 'running')",
                (state, None if result is None else _text(result), None if error is None else _text(error), time.time(), job),
            )
            self._lighten(db, job)
            return found.rowcount == 1

    def cancel_waiting(self, job: str) -> bool:
        """Cancel a job that no worker has begun; False for every other."""
        with self._writing() as db:
            found = db.execute("UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'", (time.time(), job))
            self._lighten(db, job)
            return found.rowcount == 1

    def requeue(self, job: str, *, uncounted: bool = False) -> None:
        """Bring a running job back to its old place in the queue; ``uncounted`` as if no worker had begun it."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET state = 'queued', started = NULL, attempts = attempts - ? WHERE id = ? AND state = 'running'",
                (int(uncounted), job),
            )

    def recover(self, error: Mapping[str, Any]) -> int:
        """Mark as lost what was running when the service died; returns how many those are."""
        with self._writing() as db:
            ended = (_text(error), time.time())
            lost = db.execute("UPDATE jobs SET state = 'lost', error = ?, ended = ? WHERE state = 'running'", ended).rowcount
            db.execute("UPDATE jobs SET payload = '{}' WHERE ended IS NOT NULL AND LENGTH(payload) > ?", (SMALL,))
            return lost

    def get(self, job: str) -> QueuedJob | None:
        """A job by its id, without its payload."""
        with self._lock:
            row = self._db.execute(f"SELECT {_BRIEF} FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def payload(self, job: str) -> dict[str, Any]:
        """What a job was given; of one that ended only what is `SMALL`."""
        with self._lock:
            row = self._db.execute("SELECT payload FROM jobs WHERE id = ?", (job,)).fetchone()
        return {} if row is None else dict(json.loads(row[0]))

    def done(self, kind: str, payload: Mapping[str, Any]) -> QueuedJob | None:
        """The last job of this kind and payload that was done; None where there is none."""
        query = f"SELECT {_BRIEF} FROM jobs WHERE kind = ? AND payload = ? AND state = 'done' ORDER BY number DESC LIMIT 1"
        with self._lock:
            row = self._db.execute(query, (kind, _text(payload))).fetchone()
        return None if row is None else _job(row)

    def newest(self, count: int) -> list[QueuedJob]:
        """The jobs that came last, the newest first, without their payloads and results."""
        columns = _BRIEF.replace("result", "NULL")
        with self._lock:
            rows = self._db.execute(f"SELECT {columns} FROM jobs ORDER BY number DESC LIMIT ?", (count,)).fetchall()
        return [_job(row) for row in rows]

    def position(self, job: str) -> int | None:
        """How many jobs of the queue come before one that waits; None for every other."""
        query = (
            "SELECT (SELECT COUNT(*) FROM jobs AS other WHERE other.state = 'queued' AND other.number < jobs.number) "
            "FROM jobs WHERE id = ? AND state = 'queued'"
        )
        with self._lock:
            row = self._db.execute(query, (job,)).fetchone()
        return None if row is None else int(row[0])

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        with self._lock:
            rows = self._db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall()
        return {cast("JobState", state): int(count) for state, count in rows}

    def usual_seconds(self) -> float:
        """How long the last jobs took, on average; 0 where none was done."""
        query = "SELECT AVG(ended - started) FROM (SELECT started, ended FROM jobs WHERE state = 'done' ORDER BY number DESC LIMIT 20)"
        with self._lock:
            row = self._db.execute(query).fetchone()
        return float(row[0] or 0)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._db) as db:
            yield db

    def _unfinished(self, db: sqlite3.Connection, kind: str, text: str, ending: Collection[str]) -> str | None:
        """The id of the job that waits or runs for this payload; None where there is none."""
        query = "SELECT id, payload FROM jobs WHERE kind = ? AND state IN ('queued', 'running') AND LENGTH(payload) = ? ORDER BY number"
        wanted = _unpaged(text)  # names of pages are of one length
        same = (id for id, payload in db.execute(query, (kind, len(text))) if _unpaged(payload) == wanted)
        return next((id for id in same if id not in ending), None)

    def _lighten(self, db: sqlite3.Connection, job: str) -> None:
        """Drop the uploads of a job that ended."""
        db.execute("UPDATE jobs SET payload = '{}' WHERE id = ? AND ended IS NOT NULL AND LENGTH(payload) > ?", (job, SMALL))

    def _prune(self, db: sqlite3.Connection) -> None:
        """Forget the oldest jobs that ended."""
        query = "SELECT number, LENGTH(COALESCE(result, '')) + LENGTH(payload) FROM jobs WHERE ended IS NOT NULL ORDER BY number DESC"
        kept = held = 0
        for number, size in db.execute(query).fetchall():
            kept, held = kept + 1, held + size
            if kept > KEPT or (held > KEPT_BYTES and kept > 1):
                db.execute("DELETE FROM jobs WHERE ended IS NOT NULL AND number <= ?", (number,))
                return


def connect(path: Path, table: str) -> sqlite3.Connection:
    """A database in write-ahead mode with its tables, for one process and threads that take turns. Raises `DamagedError`."""
    try:
        db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        with closing(db.execute("PRAGMA journal_mode = WAL")):
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(table)
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{path} is damaged or cannot be written ({error}): move it away, and a new one is made") from None
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All changes of a block or none; a block inside of another is a part of it."""
    if db.in_transaction:
        yield db
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _text(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, allow_nan=False, separators=(",", ":"))


def _unpaged(text: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if name != "page"}


def _job(row: tuple[Any, ...]) -> QueuedJob:
    plain = list(row)
    for place in (2, 3, 9, 10):
        plain[place] = None if row[place] is None else json.loads(row[place])
    return QueuedJob(*plain)
