"""What a service tells of itself: whether it lives (/health), how it fares (/metrics, for Prometheus), and a line for each request."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from calotype.errors import unforeseen
from calotype.serve.refusal import Refusal
from calotype.serve.safety import App, Receive, Scope, Send, answer

if TYPE_CHECKING:
    from calotype.serve.state import State


def log(event: str, **facts: Any) -> None:
    """A line of JSON on stderr."""
    line = json.dumps({"time": round(time.time(), 3), "event": event, **facts})
    print(line, file=sys.stderr, flush=True)


class Telemetry:
    """Counts and times requests, and turns what nobody foresaw into one line and 500."""

    def __init__(self, app: App, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            log("error", message=unforeseen(error))
            if not started:
                await answer(send, Refusal(500, "an error of calotype itself: its log says more"))


def router(state: State) -> APIRouter:
    """``/health`` and ``/metrics``."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the service lives, and whether its models have been looked at."""
        return {"status": "ready" if state.shelf.ready else "starting"}

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Numbers for Prometheus."""
        return ""

    return routes


_ = defaultdict
