"""What models do when they are asked over HTTP: ``/v1/models`` and all below it, traces, and images as other services make them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from calotype.serve import performing
from calotype.serve.answers import Made
from calotype.serve.images import text_of
from calotype.serve.lanes import GONE, Lane
from calotype.serve.refusal import Refusal
from calotype.serve.requests import REQUESTS, Asked, GenerationRequest, ImageRequest, SampleRequest
from calotype.serve.shelf import Held
from calotype.serve.state import State

if TYPE_CHECKING:
    from calotype.serve.exploring import Move

T = TypeVar("T")

QUICK = ("explore", "interpolate", "classify")  # what is answered at once; all else but samples takes its time
_SAYS = {
    "explore": "The image of a seed, moved along directions of /directions, in standard deviations of the codes.",
    "interpolate": "Images on the way from one of a seed to another.",
    "complete": "Paint what is missing in an image, where the mask is white.",
    "restore": "Restore an image. A model that draws images says where it is uncertain, white where most.",
    "upscale": "Make an image larger.",
    "colorize": "Color a gray image.",
    "translate": "Turn an image into one of another kind.",
    "classify": "Say what an image shows, with probabilities.",
    "detect": "Say whether an image is generated, as far as that can be told.",
}


def router(state: State) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", responses={status: {"description": said} for status, said in ERRORS.items()})

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models of the service, with what each can do and the options that it takes."""
        held = await run_in_threadpool(lambda: state.shelf.models)
        return {"models": [one.facts for one in held]}

    @routes.post("/models/{id}/sample")
    async def sample(id: str, asked: SampleRequest, request: Request) -> Any:
        """Draw images. The same seed, number, class and options give the same image, whatever else is drawn at the time."""
        held = await opened(state, id, "sample")
        return await shown(state, request, held, "sample", asked, await while_there(request, sampled(state, held, asked)))

    @routes.get("/models/{id}/directions")
    async def directions(id: str) -> dict[str, Any]:
        """What the codes of a model can be moved along; found when first asked for."""
        held = await opened(state, id, "explore")
        return {"directions": [one.as_json() for one in await _directions(state, held)]}

    for ability in REQUESTS:
        if ability != "sample":
            routes.add_api_route(f"/models/{{id}}/{ability}", _route(state, ability), methods=["POST"], description=_SAYS[ability])

    @routes.post("/trace")
    async def trace(asked: ImageRequest) -> dict[str, Any]:
        """What an image says of its making, and whether a model of the service draws it anew."""

        def found() -> dict[str, Any]:
            from calotype.serve.working import traced

            return traced(state.shelf, asked, state.settings)

        return await state.lanes.slow.do(found)

    @routes.post("/images/generations")
    async def generations(asked: GenerationRequest, request: Request) -> dict[str, Any]:
        """Draw images as other services take it: the prompt is the name of a class, or empty."""
        held = await run_in_threadpool(lambda: _named(state, asked.model))
        generator = await _lane(state, held).do(held.generator)
        size = f"{generator.spec.size}x{generator.spec.size}"
        if asked.size not in (None, "auto", size):
            raise Refusal(400, f"`size`: this model makes images of {size}", "size", f"{size}, auto")
        seed = secrets.randbits(48) if asked.seed is None else asked.seed
        wanted = SampleRequest(n=asked.n, seed=seed, label=asked.prompt.strip() or None)
        made = await while_there(request, sampled(state, held, wanted))
        data = [{"b64_json": text_of(file), "seed": seed, "index": index} for index, file in enumerate(made.files)]
        return {"created": int(time.time()), "data": data}

    return routes


ERRORS = {
    400: "what is asked for cannot be",
    404: "there is no such model",
    413: "it is too large",
    415: "it is no image, or no JSON",
    422: "a field is wrong",
    429: "come again",
    503: "it took too long",
}
ONCE = 5  # times as long as a request may take is what is done once for all of them


async def _directions(state: State, held: Held) -> tuple[Move, ...]:
    """What the codes of a model can be moved along: looked for in the slow lane once, to the end, for others will ask as well."""
    if held.known is not None:
        return held.known
    work = asyncio.ensure_future(state.lanes.slow.within(ONCE * state.settings.max_seconds, held.directions))
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(work)


def _lane(state: State, held: Held) -> Lane:
    """Where a model draws."""
    return state.lanes.quick if held.one_pass else state.lanes.many


async def while_there(request: Request, doing: Coroutine[Any, Any, T]) -> T:
    """What is done for a request, which ends when who asked has gone."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, gone = asyncio.ensure_future(doing), asyncio.ensure_future(left())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refusal(GONE, "who asked has gone")
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


def _route(state: State, ability: str) -> Callable[..., Awaitable[Any]]:
    """What answers requests of an ability."""

    async def answer(id: str, asked: Any, request: Request) -> Any:
        held = await opened(state, id, ability)
        return await shown(state, request, held, ability, asked, await while_there(request, answered(state, held, ability, asked)))

    answer.__name__ = ability
    answer.__annotations__["asked"] = REQUESTS[ability]
    return answer


async def answered(state: State, held: Held, ability: str, asked: Asked) -> Made:
    """What a model makes of a request, in the lane that it belongs to: of routes, and of the gallery when it makes a picture again."""
    if isinstance(asked, SampleRequest):
        return await sampled(state, held, asked)
    if getattr(asked, "moves", None):
        await _directions(state, held)
    lane = state.lanes.slow if ability not in QUICK else state.lanes.quick if ability == "classify" else _lane(state, held)
    return await lane.do(performing.made, held, ability, asked, state.settings)


async def sampled(state: State, held: Held, asked: SampleRequest) -> Made:
    """Images that are drawn together with those of other requests."""
    from calotype.serve.batching import asked_options

    lane = _lane(state, held)
    generator = await lane.do(held.generator)
    rows = performing.rows_of(generator, asked, state.settings)
    drawn = await state.batcher(lane).draw(generator, rows, asked_options(asked.options))
    return await run_in_threadpool(performing.sampled, generator, rows, drawn, asked)


def _named(state: State, model: str | None) -> Held:
    """The model of an id or a name that draws images; the first one where none is given. Raises `Refusal` where there is none."""
    able = [one for one in state.shelf.models if "sample" in one.abilities]
    found = able if model is None else [one for one in able if model in (one.id, one.name)]
    if not found:
        raise Refusal(404, "there is no such model that draws images: GET /v1/models lists all", "model")
    return found[0]


async def opened(state: State, id: str, ability: str) -> Held:
    """A model that can do something. Raises `Refusal`: 404 for an id that is none, 400 for a model that cannot."""
    held = await run_in_threadpool(lambda: state.shelf[id])
    held.require(ability)
    return held


async def shown(state: State, request: Request, held: Held, ability: str, asked: Asked, made: Made) -> Any:
    """An answer as JSON, or the bytes of a single image where ``Accept`` asks for image/png; kept in the gallery where that is wanted."""
    kept: list[str] = []
    if getattr(asked, "keep", False):
        body = asked.model_dump(by_alias=True, exclude={"keep"})
        kept = await run_in_threadpool(state.gallery.keep, held, ability, body, made.files)
    if len(made.files) == 1 and request.headers.get("accept", "").split(",")[0].strip().lower() == "image/png":
        return Response(made.files[0], media_type="image/png")
    return made.as_json(kept)
