"""A service in its process: uvicorn, started at once and ended in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from calotype.serve.app import create_app
from calotype.serve.settings import Settings
from calotype.serve.state import State

GRACE = 10  # seconds for what is being answered when the service is to end
CONNECTIONS = 512  # at once; more are told 503
HEADERS = 15.0  # seconds in which the headers of a request have to arrive


class Protocol(H11Protocol):
    """Closes connections that do not say what they want: uvicorn waits for ever for a first request, and for one that has begun."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Look whether a request is there."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADERS, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """Says when it answers, and takes leave of those who listen to events."""

    def __init__(self, config: uvicorn.Config, state: State, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._state, self._ready = state, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end: /health says so, and streams close, which would never end by themselves."""
        self._state.stopping = True
        self._state.streams.stop()
        super().handle_exit(sig, frame)


def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> Exception | None:
    """Serve until interrupted; returns what kept the models from being served, if anything did."""
    app = create_app(settings)
    state: State = app.state.calotype
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="critical",
        server_header=False,
        proxy_headers=False,  # whoever is not believed cannot say who they are
        ws="none",
        http=Protocol,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32 << 10,
    )
    server = Server(config, state, ready)

    def problem() -> None:
        server.should_exit = True

    state.on_problem = problem
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has ended in order
        server.run([listener])
    return state.shelf.problem
