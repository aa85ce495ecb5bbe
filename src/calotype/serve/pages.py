"""The web page: documents made of templates, and the files that they need, all out of the package."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FunctionLoader, StrictUndefined

from calotype.serve.state import State

KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"  # what an address with a digest holds never changes
_ROOM = "calotype.serve"
PAGES = (
    ("/", "studio.html", "Studio", "studio.js"),
    ("/runs", "runs.html", "Runs", "runs.js"),
    ("/runs/{run}", "run.html", "Runs", "run.js"),
    ("/compare", "compare.html", "Runs", "compare.js"),
    ("/gallery", "gallery.html", "Gallery", "gallery.js"),
    ("/sign-in", "sign-in.html", "sign-in", "signin.js"),
)
"""Documents: address, template, the page that the navigation marks, and the module that brings it to life."""


class Site:
    """Templates and static files, read once. Files stand under a digest of all of them, so that modules find each other by plain names."""

    def __init__(self) -> None:
        self.files = {
            one.name: one.read_bytes() for one in sorted((files(_ROOM) / "static").iterdir(), key=lambda each: each.name) if _kind(one.name)
        }
        together = hashlib.sha256(b"".join(name.encode() + b"\0" + data + b"\0" for name, data in self.files.items()))
        self.digest = together.hexdigest()[:12]
        self._modules = {name: self._needed(name) for name in self.files if name.endswith(".js")}
        self._templates = Environment(loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True)

    def page(self, template: str, here: str, script: str | None = None, status: int = 200, **facts: Any) -> HTMLResponse:
        """A document; ``here`` is the page that the navigation marks, ``script`` the module that brings it to life."""
        modules = self._modules[script] if script else ()
        text = self._templates.get_template(template).render(
            here=here, script=script, static=f"/static/{self.digest}", modules=[name for name in modules if name != script], **facts
        )
        return HTMLResponse(text, status, {"cache-control": "no-store"})

    def _needed(self, name: str) -> tuple[str, ...]:
        """All modules that one needs, itself last, so that a browser asks for them at once instead of one after the other."""
        found: dict[str, None] = {}

        def visit(one: str) -> None:
            if one in found:
                return
            found[one] = None
            for needed in re.findall(rb'^import .*?"\./([\w-]+\.js)";', self.files[one], re.MULTILINE):
                visit(needed.decode())

        visit(name)
        return tuple(reversed(found))


def _kind(name: str) -> str | None:
    return next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), None)


def _template(name: str) -> str:
    return (files(_ROOM) / "templates" / name).read_text(encoding="utf-8")


def router(state: State) -> APIRouter:
    """The routes of people: documents, and what these load. They know nothing of models or runs, which modules ask the service for."""
    routes, site = APIRouter(include_in_schema=False), Site()

    def document(address: str, template: str, here: str, script: str) -> None:
        async def page(request: Request) -> HTMLResponse:
            return site.page(template, here, script, **request.path_params)

        routes.add_api_route(address, page, name=address)

    for row in PAGES:
        document(*row)

    @routes.get("/static/{digest}/{name}")
    async def static(digest: str, name: str) -> Response:
        # a name is looked up among those read at the start: no path of a request ever reaches the disk
        data = site.files.get(name) if digest == site.digest else None
        if data is None:
            return site.page("missing.html", "", status=404, title="Nothing here", words="This address leads nowhere. Reload the page.")
        return Response(data, media_type=_kind(name), headers={"cache-control": FOREVER})

    return routes
