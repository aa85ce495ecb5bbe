"""Long work over HTTP: to ask for, to follow, to cancel, and to fetch."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from calotype.errors import UserError
from calotype.files import not_linked
from calotype.serve.events import ServerEvent
from calotype.serve.images import file_of
from calotype.serve.job_requests import PICTURES, CheckRequest, ComparisonRequest, JudgementRequest, ManySamplesRequest
from calotype.serve.job_store import ENDED
from calotype.serve.refusal import Refusal, UnknownError
from calotype.serve.requests import Asked, invalid, parsed
from calotype.serve.routes_models import opened
from calotype.serve.routes_runs import PAGE, REFUSALS, looked_at
from calotype.serve.run_files import mark_of
from calotype.serve.state import State

JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="the id of a job, of those that GET /v1/jobs lists")]
PAGES = 100  # that are kept of jobs: of more the oldest go
LISTED = 100
SUBJECTS = {"compare": ("runs",), "check": ("source",)}
"""What of the request of a job says what it is about, where that is no model and no run."""


class JobRequest(Asked):
    """A job: of a model or of a run where it is about one, with what is asked of it."""

    kind: Literal["sample", "interpolate", "complete", "restore", "upscale", "colorize", "translate", "evaluate", "compare", "check"]
    model: Annotated[str | None, Field(max_length=40)] = None
    run: Annotated[str | None, Field(max_length=40)] = None
    request: dict[str, Any] = Field(default_factory=dict)


def router(state: State) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", responses=REFUSALS)

    @routes.post("/jobs", status_code=202)
    async def submit(asked: JobRequest) -> dict[str, Any]:
        """Put a job at the end of the queue; one that waits or runs already and does the very same is given back in its place."""
        payload = await _payload(state, asked)
        about = {"model": asked.model, "run": asked.run} | {name: asked.request[name] for name in SUBJECTS.get(asked.kind, ())}
        job = await run_in_threadpool(state.jobs.submit, asked.kind, about, payload)
        return {"job": await run_in_threadpool(state.jobs.public, job.id)}

    @routes.get("/jobs")
    async def jobs() -> dict[str, Any]:
        """The jobs that came last, the newest first, without their results."""
        return {"jobs": await run_in_threadpool(state.jobs.newest, LISTED)}

    @routes.get("/jobs/{id}")
    async def job(id: JobId) -> dict[str, Any]:
        """A job, with its result once it is done."""
        found: dict[str, Any] = await run_in_threadpool(state.jobs.public, id)
        return found

    @routes.delete("/jobs/{id}")
    async def cancel(id: JobId) -> dict[str, Any]:
        """Cancel a job; one that ended stays as it is."""
        await run_in_threadpool(state.jobs.cancel, id)
        found: dict[str, Any] = await run_in_threadpool(state.jobs.public, id)
        return found

    @routes.get("/jobs/{id}/page", response_class=HTMLResponse)
    async def page(id: JobId) -> Response:
        """The page that a job made, which may do nothing in a browser but be seen."""
        place = await run_in_threadpool(state.jobs.page, id)
        return HTMLResponse(await run_in_threadpool(_page, place), headers=PAGE)

    @routes.get("/jobs/{id}/events", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def events(id: JobId) -> Response:
        """What becomes of a job, as server-sent events: ``state``, and ``end`` after the last one."""
        await run_in_threadpool(state.jobs.get, id)
        return state.streams.response(JobFollower(state.jobs, id).look)

    return routes


class JobFollower:
    """What is new of a job since one looked last."""

    def __init__(self, jobs: Any, id: str) -> None:
        self.jobs, self.id = jobs, id
        self._seen: dict[str, Any] = {}

    def look(self) -> tuple[list[ServerEvent], bool]:
        """The job where it changed, and whether it is over."""
        said = self.jobs.public(self.id)
        over = said["state"] in ENDED
        if said == self._seen:
            return [], over
        self._seen = said
        return [ServerEvent("state", said)], over


async def _payload(state: State, asked: JobRequest) -> dict[str, Any]:
    """What the worker needs: the request as it is valid, and places. Raises `Refusal` for what cannot be asked."""
    need = {"evaluate": ("model", "run"), "compare": (), "check": ()}.get(asked.kind, ("model",))
    given = [name for name in ("model", "run") if getattr(asked, name) is not None]
    if need and (len(given) != 1 or given[0] not in need):
        raise Refusal(400, f"a job of kind {asked.kind} is about one {' or one '.join(need)}: give its id", need[0], "an id")
    if not need and given:
        raise Refusal(400, f"a job of kind {asked.kind} takes no `{given[0]}`", given[0], "nothing")
    if asked.kind == "check":
        look = _valid(CheckRequest, asked.request)
        return await run_in_threadpool(looked_at, state, look.source)
    if asked.kind == "sample":
        assert asked.model is not None
        held, many = await opened(state, asked.model, "sample"), _valid(ManySamplesRequest, asked.request)
        return {"request": many.model_dump(), "path": str(held.path), "sha256": held.facts["sha256"], "device": state.settings.device}
    if asked.kind in PICTURES:
        assert asked.model is not None
        held, body = await opened(state, asked.model, asked.kind), parsed(asked.kind, asked.request).model_dump(by_alias=True)
        await run_in_threadpool(_require_files, body)
        place = {
            "path": str(held.path),
            "sha256": held.facts["sha256"],
            "device": state.settings.device,
            "max_pixels": state.settings.max_pixels,
        }
        return {"ability": asked.kind, "request": body, **place}
    facts: dict[str, Any] = {"device": state.settings.device, "page": str(await run_in_threadpool(_place, state))}
    if asked.kind == "compare":
        several = _valid(ComparisonRequest, asked.request)
        runs = [await run_in_threadpool(state.runs.run, id) for id in several.runs]
        marks = [_mark(run.model) for run in runs]
        return {"request": several.model_dump(), "paths": [str(run.folder) for run in runs], "marks": marks, **facts}
    judged = _valid(JudgementRequest, asked.request)
    if asked.run is not None:
        run = await run_in_threadpool(state.runs.run, asked.run)
        path, facts = run.folder, facts | {"marks": [_mark(run.model)]}
    else:
        assert asked.model is not None
        held = await run_in_threadpool(lambda: state.shelf[str(asked.model)])
        path, facts = held.path, facts | {"sha256": held.facts["sha256"]}
    return {"request": judged.model_dump(), "path": str(path), **facts}


def _mark(model: File) -> Any:
    """What differs between the weights of a run now and after it went on: a job that began before does not do the same."""
    return mark_of(model / "model.safetensors")


def _require_files(body: dict[str, Any]) -> None:
    """Raise `Refusal` (400, 415) for an upload that is no picture, before it waits among the jobs."""
    for field in ("image", "mask"):
        if field in body:
            file_of(body[field], field)


def _valid(kind: Any, request: dict[str, Any]) -> Any:
    """The request of a job. Raises `Refusal` (422) for one that does not fit."""
    from pydantic import ValidationError

    try:
        return kind(**request)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)[0]) from None


def _place(state: State) -> File:
    """Where a job puts its page; the oldest pages make room for it."""
    folder = state.place / "pages"
    folder.mkdir(exist_ok=True)
    for old in sorted(folder.glob("*.html"), key=lambda path: path.stat().st_mtime, reverse=True)[PAGES - 1 :]:
        with suppress(OSError):
            old.unlink()
    return folder / f"{secrets.token_hex(16)}.html"


def _page(place: str) -> bytes:
    """The page of a job. Raises `UnknownError`."""
    with suppress(OSError, UserError), open(place, "rb", opener=not_linked) as stream:
        return stream.read()
    raise UnknownError("this job has no page: those that judge and compare have one once they are done", "id")
