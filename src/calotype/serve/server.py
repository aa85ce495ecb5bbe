"""A service in its process: uvicorn, started at once and ended in order."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from calotype.serve.app import create_app
from calotype.serve.settings import Settings
from calotype.serve.state import State

GRACE = 10  # seconds for what is being answered when the service is to end
CONNECTIONS = 512  # at once; more are told 503


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
