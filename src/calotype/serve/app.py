"""The service put together: rooms, rules and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from calotype import __version__
from calotype.errors import CalotypeError
from calotype.serve import (
    bodies,
    keeping,
    pages,
    routes_gallery,
    routes_jobs,
    routes_models,
    routes_recipes,
    routes_runs,
    safety,
    telemetry,
)
from calotype.serve.lanes import Lanes
from calotype.serve.refusal import Refusal, body_of, refusal_of
from calotype.serve.requests import invalid
from calotype.serve.settings import Settings
from calotype.serve.shelf import Shelf
from calotype.serve.state import State


def create_app(settings: Settings) -> FastAPI:
    """A service as an ASGI application; its `State` is ``app.state.calotype``."""
    state = State(settings, Shelf(settings.models, settings.device, settings.opened), Lanes(settings.max_waiting, settings.max_seconds))
    keeping.furnish(state)
    app = FastAPI(
        title="Calotype",
        version=__version__,
        description="Trained image models, over HTTP.",
        docs_url=None,  # these fetch scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.calotype = state
    for error, handler in _HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.include_router(telemetry.router(state))
    app.include_router(routes_models.router(state))
    app.include_router(routes_recipes.router(state))
    app.include_router(routes_runs.router(state))
    app.include_router(routes_jobs.router(state))
    app.include_router(routes_gallery.router(state))
    app.include_router(pages.router(state))
    # the last one added is the outermost
    app.add_middleware(bodies.BodyLimit, limit=settings.max_body)
    app.add_middleware(safety.Guard, settings=settings)
    app.add_middleware(safety.Headers)
    app.add_middleware(telemetry.Telemetry, state=state)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.calotype
    loop = asyncio.get_running_loop()
    state.jobs.start()
    filling = loop.run_in_executor(None, _fill, state)
    try:
        yield
    finally:
        state.stopping = True
        state.streams.stop()
        await filling
        await loop.run_in_executor(None, keeping.clear, state)
        await loop.run_in_executor(None, state.lanes.close)


def _fill(state: State) -> None:
    """Look at the models that were named."""
    try:
        state.shelf.fill()
    except Exception:  # `Shelf.problem`, which whoever started the service tells
        state.on_problem()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, CalotypeError)
    return _said(refusal_of(error))


async def _invalid(request: Request, error: Exception) -> Response:
    """What does not fit the schema of a request: its first field, and what is wrong with it."""
    assert isinstance(error, RequestValidationError)
    first: Any = error.errors()[0]
    if first["type"] == "json_invalid":
        return _said(Refusal(400, "the body is no JSON", "body", "JSON"))
    return _said(invalid(first, over_http=True))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
    return _said(Refusal(error.status_code, said, headers=error.headers))


def _said(refusal: Refusal) -> Response:
    return Response(body_of(refusal), int(refusal.status), refusal.headers, "application/json")


_HANDLERS: dict[Any, Any] = {CalotypeError: _refused, RequestValidationError: _invalid, HTTPException: _http}
