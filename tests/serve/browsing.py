"""A real service in a thread, and the system's Chromium to look at its pages."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from calotype.serve.app import create_app
from calotype.serve.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE, DESKTOP = "phone", "desktop"
VIEWS: dict[str, dict[str, Any]] = {
    PHONE: {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"},
    DESKTOP: {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
}


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of a service with these settings, at a port that is free."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(replace(settings, port=port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        app.state.calotype.streams.stop()
        server.should_exit = True
        thread.join(20)
        listener.close()


class Visit:
    """A page in a window of its own, and all that went wrong in it."""

    def __init__(self, browser: Any, address: str, view: str) -> None:
        self.address, self.problems = address, []  # type: str, list[str]
        self.context = browser.new_context(**VIEWS[view], accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._asked)
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.problems.append(f"left the machine: {request.url}")

    def go(self, path: str) -> Any:
        """Open a page of the service."""
        self.page.goto(self.address + path)
        return self.page

    def tool(self, model: str, tool: str) -> Any:
        """Open a tool of the Studio."""
        page = self.go(f"/#model={model}&tool={tool}")
        page.locator(f"#tab-{tool}[aria-selected=true]").wait_for()
        return page

    def require_clean(self) -> None:
        """Fail for anything in the console, a request elsewhere, and content that is wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert not self.problems, self.problems
        assert wide <= 0, f"{wide} pixels wider than the window"

    def close(self) -> None:
        """Close the window."""
        self.context.close()


def audited(page: Any) -> list[str]:
    """Serious and critical findings of axe, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]})
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]} {one['nodes'][0].get('failureSummary', '')[:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def run_folder(folder: Path, name: str) -> Path:
    """A run that a tiny GAN made: settings, log, sample grids and a model, and a report that says little."""
    from calotype.engine.display import Display
    from calotype.engine.train import train
    from tests.small import tiny_gan

    config, run = tiny_gan(6), folder / name
    train(replace(config, log=replace(config.log, every=1, checkpoints=3)), out=run, display=Display())
    (run / "report").mkdir()
    (run / "report" / "report.html").write_text("<!doctype html><title>Report</title><h1>All that is known</h1><script>alert(1)</script>")
    return run
