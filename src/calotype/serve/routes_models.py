"""What models do when they are asked: ``/v1/models`` and all below it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from calotype.serve.images import png, text_of
from calotype.serve.refusal import Refusal
from calotype.serve.shelf import Held
from calotype.serve.state import State

Seed = Annotated[int, Field(ge=0, le=2**63 - 1, description="another seed, another image")]
Index = Annotated[int, Field(ge=0, le=2**63 - 1, description="the number of the image among those of the seed")]
Label = Annotated[str | int | None, Field(description="a class by its name or its place; the model chooses where none is given")]


class Asked(BaseModel):
    """A request: an unknown field is refused, and so is text where a number belongs."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SampleRequest(Asked):
    """Images to draw."""

    n: Annotated[int, Field(ge=1, le=4096)] = 1
    seed: Seed = 0
    index: Index = 0
    label: Label = None
    options: dict[str, float | int | str | None] = {}
    keep: bool = False


def router(state: State) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models of the service, with what each can do and the options that it takes."""
        from starlette.concurrency import run_in_threadpool

        held = await run_in_threadpool(lambda: state.shelf.models)
        return {"models": [one.facts for one in held]}

    @routes.post("/models/{id}/sample")
    async def sample(id: str, asked: SampleRequest, request: Request) -> Any:
        """Draw images. The same seed, number, class and options give the same image, whatever else is drawn at the time."""
        held = await opened(state, id, "sample")
        if asked.n > state.settings.max_images:
            raise Refusal(400, f"`n`: {state.settings.max_images} images at once are the most", "n", f"1 to {state.settings.max_images}")
        from calotype.serve.batching import Row, asked_options, marker_of

        generator = await state.lanes.quick.do(held.generator)
        label, options = generator.label(asked.label), asked_options(asked.options)
        rows = [Row(asked.seed, asked.index + place, label) for place in range(asked.n)]
        drawn = await state.batcher.draw(generator, rows, options)
        files = [png(image, marker_of(generator, row, options)) for image, row in zip(drawn, rows, strict=True)]
        return shown(request, files, [{"seed": row.seed, "index": row.index, "label": asked.label} for row in rows])

    return routes


async def opened(state: State, id: str, ability: str) -> Held:
    """A model that can do something. Raises `Refusal`: 404 for an id that is none, 400 for a model that cannot."""
    from starlette.concurrency import run_in_threadpool

    held = await run_in_threadpool(lambda: state.shelf[id])
    held.require(ability)
    return held


def shown(request: Request, files: list[bytes], facts: list[dict[str, Any]]) -> Any:
    """Images as JSON, or the bytes of a single one where ``Accept`` asks for image/png."""
    if len(files) == 1 and request.headers.get("accept", "").split(",")[0].strip().lower() == "image/png":
        return Response(files[0], media_type="image/png")
    return {"images": [{"image": text_of(data), **facts[place], "gallery": None} for place, data in enumerate(files)]}
