"""Runs over HTTP: to see, to start, to stop, to resume, to follow and to compare; and the sources that they are trained on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from calotype import __version__
from calotype.errors import UserError
from calotype.serve.events import RunFollower
from calotype.serve.job_requests import COMPARED, CheckRequest
from calotype.serve.refusal import Refusal
from calotype.serve.requests import Asked
from calotype.serve.run_files import mark_of, thinned
from calotype.serve.sources import EMBEDDED, TESTBEDS
from calotype.serve.state import State

RunId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="the id of a run, of those that GET /v1/runs lists")]
StepNumber = Annotated[int, Field(ge=0, le=10**9)]
PAGE = {
    # a page that is shown inside of ours, and can neither run scripts nor ask for anything
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "what is asked for cannot be"},
    404: {"description": "nothing has such an id or name"},
    409: {"description": "not in the state that things are in"},
    413: {"description": "it is too large"},
    415: {"description": "it is no JSON"},
    422: {"description": "a field is wrong"},
    429: {"description": "come again"},
    503: {"description": "it took too long, or its process died"},
}
PATIENCE = 20.0  # seconds in which a check of images is answered at once


class StartRequest(Asked):
    """A training to start."""

    recipe: Annotated[str, Field(max_length=100)]
    source: Annotated[str, Field(max_length=200)]
    settings: dict[
        Annotated[str, Field(max_length=100)],
        Annotated[str, Field(max_length=200)] | int | float | bool | Annotated[list[float], Field(max_length=16)] | None,
    ] = Field(default_factory=dict)
    minutes: Annotated[float | int | None, Field(gt=0, le=1e6)] = None


class ResumeRequest(Asked):
    """How much longer a run goes on; what is left of its budget where nothing is said."""

    minutes: Annotated[float | int | None, Field(gt=0, le=1e6)] = None


class StopRequest(Asked):
    """Nothing needs to be said."""


def router(state: State) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", responses=REFUSALS)

    @routes.get("/runs")
    async def runs() -> dict[str, Any]:
        """The runs, those that changed last first."""
        return {"runs": await run_in_threadpool(state.runs.all)}

    @routes.post("/runs", status_code=202)
    async def start(asked: StartRequest) -> dict[str, Any]:
        """Start a training in a process of its own."""
        from calotype.serve.wanted import configuration

        def begin() -> Any:
            given = asked.recipe, asked.source, asked.settings, asked.minutes
            config = configuration(*given, state.runs.sources, state.runs.start_from, state.settings.training_minutes)
            return state.runs.begin(config)

        return {"run": await run_in_threadpool(begin)}

    @routes.get("/runs/{id}")
    async def run(id: RunId) -> dict[str, Any]:
        """One run: where it stands, and its configuration."""

        def seen() -> dict[str, Any]:
            from dataclasses import asdict

            view, config = state.runs.view(id), state.runs.configuration(id)
            return view | {"config": None if config is None else hidden(asdict(config), view["source"])}

        return await run_in_threadpool(seen)

    @routes.get("/runs/{id}/log")
    async def log(id: RunId, after: Annotated[StepNumber | None, Query()] = None) -> dict[str, Any]:
        """The rows of the log, or those after a step."""
        rows = await run_in_threadpool(state.runs.rows, id)
        return {"rows": thinned([row for row in rows if after is None or row["step"] > after])}

    @routes.get("/runs/{id}/samples")
    async def samples(id: RunId) -> dict[str, Any]:
        """The sample grids on fixed noise, one for each checkpoint."""
        return {"samples": await run_in_threadpool(state.runs.samples, id)}

    @routes.get("/runs/{id}/samples/{n}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    async def sample(id: RunId, n: Annotated[int, Path(ge=0, le=10**9)]) -> Response:
        """The picture of a grid."""
        return Response(await run_in_threadpool(state.runs.sample, id, n), media_type="image/png")

    @routes.get("/runs/{id}/report", response_class=HTMLResponse)
    async def report(id: RunId) -> Response:
        """The page of the report, which may do nothing in a browser but be seen."""
        return HTMLResponse(await run_in_threadpool(state.runs.report, id), headers=PAGE)

    @routes.get("/runs/{id}/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def events(
        id: RunId,
        after: Annotated[StepNumber, Query()] = 0,
        last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    ) -> Response:
        """What happens to a run, as server-sent events: ``log``, ``verdict``, ``state``."""
        await run_in_threadpool(state.runs.run, id)
        since = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else after
        return state.streams.response(RunFollower(state.runs, id, since).look)

    @routes.post("/runs/{id}/stop", status_code=202)
    async def stop(id: RunId, asked: StopRequest) -> dict[str, Any]:
        """Tell a training to finish its step, save and end."""
        return {"run": await run_in_threadpool(state.runs.stop, id)}

    @routes.post("/runs/{id}/resume", status_code=202)
    async def resume(id: RunId, asked: ResumeRequest) -> dict[str, Any]:
        """Let a run go on from its newest checkpoint."""
        if asked.minutes is not None and asked.minutes > state.settings.training_minutes:
            most = state.settings.training_minutes
            raise Refusal(400, f"`minutes`: {most:g} are the most here", "minutes", f"a number above 0 and up to {most:g}")
        return {"run": await run_in_threadpool(state.runs.go_on, id, asked.minutes)}

    @routes.get("/compare")
    async def compare(run: Annotated[list[str], Query(min_length=2, max_length=COMPARED)]) -> dict[str, Any]:
        """Several runs side by side, from what is known of them; the judged comparison is a job."""
        from calotype.serve.comparison import compared

        return await run_in_threadpool(compared, state.runs, run)

    @routes.get("/sources")
    async def sources() -> dict[str, Any]:
        """The images that a training may be started on."""
        return {"sources": state.runs.sources.listed}

    @routes.post("/data/check", responses={202: {"description": "It takes longer: a job does it."}})
    async def check(asked: CheckRequest) -> Response:
        """Look at every image of a source, and advise what to train on it."""
        payload = await run_in_threadpool(looked_at, state, asked.source)
        known = await run_in_threadpool(state.jobs.done, "check", payload) if payload["version"] else None
        job = known if known is not None else await run_in_threadpool(state.jobs.submit, "check", {"source": asked.source}, payload)
        until = time.monotonic() + PATIENCE
        while not (done := await run_in_threadpool(state.jobs.get, job.id)).over and time.monotonic() < until:
            await asyncio.sleep(0.1)
        if not done.over:
            return JSONResponse({"job": await run_in_threadpool(state.jobs.public, job.id)}, 202)
        if done.state != "done":
            error = done.error or {"message": f"it was {done.state}"}
            raise Refusal(400 if done.state == "failed" else 503, error["message"], error.get("field") or "")
        return JSONResponse(done.result)

    return routes


def looked_at(state: State, source: str) -> dict[str, str]:
    """What a worker needs to check a source. What is found changes with ``version`` alone, which is empty where that is not known."""
    place = state.runs.sources.place(source)
    return {"place": place, "name": source, "version": _version(place)}


def _version(place: str) -> str:
    """This package's, with a digest of the names, sizes and times of all files of a source that is not embedded."""
    from calotype.data.files import Folder

    if place in EMBEDDED or place in TESTBEDS:
        return __version__
    path = FilePath(place)
    try:
        contents = Folder(path).state() if path.is_dir() else "-".join(map(str, mark_of(path) or ()))
    except (OSError, UserError):
        return ""  # the job says what is wrong
    return f"{__version__} {contents}" if contents else ""


def hidden(config: dict[str, Any], source: str) -> dict[str, Any]:
    """A configuration without the paths of this machine."""
    config["data"]["source"] = source
    for section, name in (("data", "partner"), ("train", "start")):
        if isinstance(value := config[section][name], str) and ("/" in value or "\\" in value):
            config[section][name] = value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return config
