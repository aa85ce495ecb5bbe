"""The system's Chromium, looking at pages of a real service."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from calotype.serve.settings import Settings
from tests.serve.on_a_socket import service, tiny_run
from tests.serve.served import picture, put_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE, DESKTOP = "phone", "desktop"
VIEWS: dict[str, dict[str, Any]] = {
    PHONE: {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"},
    DESKTOP: {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
}
BOTH = pytest.mark.parametrize("view", [PHONE, DESKTOP])
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
PATIENCE = 30_000  # milliseconds: a busy machine is no failure
HOSTILE = "<img src=x onerror=alert(1)>"
REPORT = "<!doctype html><title>Report</title><h1>All that is known</h1><script>document.body.remove()</script>"


class Visit:
    """A page in a window of its own, and all that went wrong in it."""

    def __init__(self, browser: Any, address: str, view: str) -> None:
        self.address, self.problems = address, []  # type: str, list[str]
        self.context = browser.new_context(**VIEWS[view], accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
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

    def forgive(self, words: str) -> None:
        """Take back what the browser says by itself of a refusal or a loss that a test made."""
        found = [one for one in self.problems if words in one]
        assert found, f"nobody complained of {words}"
        self.problems = [one for one in self.problems if one not in found]

    def require_clean(self) -> None:
        """Fail for anything in the console, a request elsewhere, and content that is wider than the window."""
        self.problems, problems = [], self.problems
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert not problems, problems
        assert wide <= 0, f"{wide} pixels wider than the window"

    def close(self) -> None:
        """Close the window."""
        self.context.close()


def audited(page: Any) -> list[str]:
    """Serious and critical findings of axe, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]})
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]} {one['nodes'][0].get('failureSummary', '')[:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@dataclass
class Stage:
    """A service, and a browser to look at it."""

    browser: Any
    address: str
    models: dict[str, str]  # ids by recipe
    runs: list[str]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Of the ``RECIPES`` and with the ``RUNS`` of a module; one of the models has a name that is markup.

    The browser ends with the module: its driver keeps a loop of events in this thread, which other tests cannot run theirs beside.
    """
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    root = tmp_path_factory.mktemp("browser")
    models = [put_model(root / "models", name) for name in request.module.RECIPES]
    hostile = put_model(root / "hostile", "vae").rename(root / "hostile" / HOSTILE)
    for name in request.module.RUNS:
        run = tiny_run(root / "runs" / name)
        (run.folder / "report").mkdir()
        (run.folder / "report" / "report.html").write_text(REPORT)
    settings = Settings(models=(*models, hostile), runs=root / "runs", state=root / "state", log="none")
    with service(settings) as (client, _), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found = {one["recipe"]: one["id"] for one in client.get("/v1/models").json()["models"]}
        runs = [one["id"] for one in client.get("/v1/runs").json()["runs"]]
        yield Stage(browser, str(client.base_url).rstrip("/"), found, runs)
        browser.close()


@pytest.fixture(scope="module")
def windows(stage: Stage) -> dict[str, Visit]:
    """One for each view, which the tests of a module use one after the other: a page is loaded once."""
    return {}


@pytest.fixture
def visit(stage: Stage, windows: dict[str, Visit]) -> Iterator[Callable[[str], Visit]]:
    """Windows that have to be clean after each test."""
    used: list[Visit] = []

    def opened(view: str) -> Visit:
        if view not in windows:
            windows[view] = Visit(stage.browser, stage.address, view)
        used.append(windows[view])
        return windows[view]

    yield opened
    for one in used:
        one.require_clean()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small picture in color."""
    place = tmp_path_factory.mktemp("photo") / "photo.png"
    place.write_bytes(picture((28, 28), channels=3))
    return place


def pressed(page: Any, key: str, times: int = 1) -> None:
    """A key, several times."""
    for _ in range(times):
        page.keyboard.press(key)
