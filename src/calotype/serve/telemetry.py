"""What a service tells of itself: whether it lives (/health), how it fares (/metrics, for Prometheus), and lines about requests."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from calotype.errors import unforeseen
from calotype.serve import keeping
from calotype.serve.asgi import App, Receive, Scope, Send, answer
from calotype.serve.refusal import Refusal

if TYPE_CHECKING:
    from calotype.serve.state import State

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def log(event: str, **facts: Any) -> None:
    """A line of JSON on stderr."""
    line = json.dumps({"time": round(time.time(), 3), "event": event, **facts})
    print(line, file=sys.stderr, flush=True)


class Telemetry:
    """Counts, times and names requests, and turns what nobody foresaw into one line and 500.

    Lines hold the route and no address, so that neither a token nor what somebody sent gets into them.
    """

    def __init__(self, app: App, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, size, began, number = 0, 0, time.perf_counter(), secrets.token_hex(6)

        async def watched(message: Any) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", number.encode())]}
            size += len(message.get("body", b""))
            await send(message)

        counts = self.state.counts
        counts.in_flight += 1
        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            log("error", request=number, message=unforeseen(error))
            if not status:
                await answer(watched, Refusal(500, "an error of calotype itself: its log says more"))
        finally:
            counts.in_flight -= 1
            self._tell(scope, status or 499, size, time.perf_counter() - began, number)  # 499: who asked has gone

    def _tell(self, scope: Scope, status: int, size: int, seconds: float, number: str) -> None:
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        route = getattr(scope.get("route"), "path_format", "") or "other"
        self.state.counts.request(method, route, status, seconds)
        wanted = self.state.settings.log
        if wanted == "all" or (wanted == "errors" and (status >= 500 or status in (401, 403))):
            log("request", request=number, method=method, route=route, status=status, seconds=round(seconds, 6), bytes=size)


def router(state: State) -> APIRouter:
    """``/health`` and ``/metrics``."""
    routes = APIRouter()

    @routes.get("/health", responses={503: {"description": "it ends, or its models cannot be served"}})
    async def health(response: Response) -> dict[str, str]:
        """Whether the service lives: starting, while its models are looked at, then ready; 503 when it ends."""
        if state.stopping or state.shelf.problem is not None:
            response.status_code = 503
            return {"status": "stopping"}
        return {"status": "ready" if state.shelf.ready else "starting"}

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        lanes, batchers, ready = state.lanes.all, state.batchers.values(), state.shelf.ready
        gauges = {f"{lane.name}_waiting": (f"requests in the {lane.name} lane", float(lane.waiting)) for lane in lanes}
        gauges["models"] = "models on the shelf", float(len(state.shelf.models)) if ready else 0.0
        gauges |= await run_in_threadpool(keeping.gauges, state)
        totals = {
            "images_drawn_total": ("images that were drawn in batches", float(sum(one.drawn for one in batchers))),
            "batches_total": ("batches that they were drawn in", float(sum(one.batches for one in batchers))),
        }
        return Response(state.counts.text(gauges, totals), media_type=PROMETHEUS)

    return routes
