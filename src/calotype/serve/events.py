"""Server-sent events: streams that end when their reader goes away, when nothing more will come, and when the service is told to stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from calotype.serve.refusal import FullError
from calotype.serve.run_files import LogRow, thinned
from calotype.serve.runs import Runs

T = TypeVar("T")

LOOK = 0.5  # seconds between two looks at what there is to tell
BEAT = 15.0  # seconds of silence after which a comment shows that the stream lives; it also finds out who has gone


@dataclass(frozen=True)
class ServerEvent:
    """One event: its name, what it says, and the number from which a reader that was cut off goes on."""

    name: str
    data: Mapping[str, Any]
    id: int | None = None

    @property
    def text(self) -> str:
        """As it is sent (HTML, 9.2.6). JSON in ASCII has no line end that would end the field."""
        number = "" if self.id is None else f"id: {self.id}\n"
        return f"event: {self.name}\n{number}data: {json.dumps(self.data, allow_nan=False)}\n\n"


class Streams:
    """All streams of a service: ``most`` at once, and one word that ends them."""

    def __init__(self, most: int) -> None:
        self.most, self.open = most, 0
        self._stopped = False

    def stop(self) -> None:
        """End all streams, so that a service can stop in order."""
        self._stopped = True

    def response(self, look: Callable[[], tuple[list[ServerEvent], bool]]) -> StreamingResponse:
        """A stream of what ``look`` finds new, asked in a thread again and again until it says that this was the last.

        Raises:
            FullError: where as many streams are open as may.
        """
        if self.open >= self.most:
            raise FullError(f"{self.open} streams are open, which are the most: close one, or ask without a stream", 5)
        fields = {"cache-control": "no-store", "x-accel-buffering": "no"}  # a proxy must not hold it back
        return StreamingResponse(self._sent(look), media_type="text/event-stream", headers=fields)

    async def _sent(self, look: Callable[[], tuple[list[ServerEvent], bool]]) -> AsyncIterator[str]:
        self.open += 1
        try:
            yield "retry: 2000\n\n"
            spoke = time.monotonic()
            while not self._stopped:
                events, last = await run_in_threadpool(look)
                for event in events:
                    yield event.text
                if last:
                    yield ServerEvent("end", {}).text
                    return
                if events:
                    spoke = time.monotonic()
                elif time.monotonic() - spoke > BEAT:
                    spoke = time.monotonic()
                    yield ": still here\n\n"
                await asyncio.sleep(LOOK)
        finally:
            self.open -= 1


class RunFollower:
    """What is new of a run since one looked last: ``log`` (one row), ``verdict`` (one), ``state`` (the run).

    A run that goes back to an earlier checkpoint tells so in a row with ``to``: the rows after that step are no longer true.
    """

    def __init__(self, runs: Runs, id: str, after: int) -> None:
        self.runs, self.id, self.after = runs, id, after
        self._seen: list[LogRow] | None = None
        self._view: LogRow = {}

    def look(self) -> tuple[list[ServerEvent], bool]:
        """The events, and that more may come."""
        view, rows = self.runs.view(self.id), self.runs.rows(self.id)
        events = [] if rows is self._seen else self._rows(rows)
        if view != self._view:
            self._view = view
            events.append(ServerEvent("state", view))
        return events, False

    def _rows(self, rows: list[LogRow]) -> list[ServerEvent]:
        if self._seen is None:
            self._seen = rows
            return self._told(thinned([row for row in rows if row["step"] > self.after]))
        kept = len(self._seen)
        if rows[:kept] != self._seen:
            kept = next(at for at in range(kept + 1) if at >= len(rows) or at >= len(self._seen) or rows[at] != self._seen[at])
        gone, new = self._seen[kept:], rows[kept:]
        self._seen = rows
        if gone and not (new and "to" in new[0]):
            to = rows[kept - 1]["step"] if kept else 0
            new = [{"event": "rewind", "step": gone[-1]["step"], "to": to}, *new]
        return self._told(new)

    def _told(self, rows: list[LogRow]) -> list[ServerEvent]:
        return [event for row in rows for event in self._of(row)]

    def _of(self, row: LogRow) -> list[ServerEvent]:
        events = [ServerEvent("log", row, row["step"])]
        if row.get("event") == "verdict":
            verdict = {"status": row.get("status"), "name": row.get("name"), "text": row.get("says"), "step": row["step"]}
            events.append(ServerEvent("verdict", verdict, row["step"]))
        return events
