"""A service in a thread of this process, reached over a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from calotype.engine.display import Display
from calotype.engine.run import Run
from calotype.engine.train import train
from calotype.serve.app import create_app
from calotype.serve.settings import Settings
from calotype.serve.state import State
from tests.small import small

SOON = 180.0


@contextmanager
def service(settings: Settings) -> Iterator[tuple[httpx.Client, State]]:
    import uvicorn

    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
            until(lambda: server.started)
            yield client, app.state.calotype
    finally:
        app.state.calotype.streams.stop()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the service does not end"


def until(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def tiny_run(folder: Path) -> Run:
    """A finished run of a GAN that takes no time."""
    return train(small("gan", steps=4), out=folder, display=Display()).run
