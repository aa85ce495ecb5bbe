"""The gallery over HTTP: to keep what a request makes, to see it, to make it again, to delete it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from calotype.serve.answers import Made
from calotype.serve.gallery import GalleryItem
from calotype.serve.images import text_of
from calotype.serve.refusal import ConflictError, Refusal
from calotype.serve.requests import Asked, parsed
from calotype.serve.routes_models import answered, opened
from calotype.serve.routes_runs import REFUSALS
from calotype.serve.shelf import Held
from calotype.serve.state import State

PictureId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="the id of a picture, of those that GET /v1/gallery lists")]


class MadeBy(Asked):
    """The request that makes a picture, and which image of its answer it is."""

    ability: Annotated[str, Field(max_length=40)]
    model: Annotated[str, Field(max_length=40)]
    body: dict[str, Any] = Field(default_factory=dict)
    index: Annotated[int, Field(ge=0, le=4096)] = 0


class KeepRequest(Asked):
    """A picture to keep. It is made here from its request, so that the gallery holds nothing else than what models made."""

    made_by: Annotated[MadeBy, Field(alias="from")]


class AgainRequest(Asked):
    """Nothing needs to be said."""


def router(state: State) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", responses=REFUSALS)

    @routes.get("/gallery")
    async def gallery(
        count: Annotated[int, Query(ge=1, le=500)] = 100, before: Annotated[str | None, Query(pattern="^[0-9a-f]{16}$")] = None
    ) -> dict[str, Any]:
        """The pictures, those that were kept last first; the next ones are those ``before`` the last."""
        items = await run_in_threadpool(state.gallery.newest, count, before)
        return {"items": [item.public() for item in items], "usage": await run_in_threadpool(state.gallery.usage)}

    @routes.post("/gallery", status_code=201)
    async def keep(asked: KeepRequest) -> dict[str, Any]:
        """Make a picture and keep it."""
        wanted = asked.made_by
        held, made = await _made(state, wanted.ability, wanted.model, wanted.body)
        if wanted.index >= len(made.files):
            most = len(made.files)
            raise Refusal(400, f"that request makes {most} images", "from.index", f"0 to {most - 1}" if most else "")
        body = parsed(wanted.ability, wanted.body).model_dump(by_alias=True, exclude={"keep"})
        ids = await run_in_threadpool(state.gallery.keep, held, wanted.ability, body, made.files, [wanted.index])
        item: GalleryItem = await run_in_threadpool(state.gallery.get, ids[0])
        return {"item": item.public()}

    @routes.get("/gallery/{id}")
    async def picture(id: PictureId) -> dict[str, Any]:
        """A picture with all that makes it again."""
        item: GalleryItem = await run_in_threadpool(state.gallery.get, id)
        return {"item": item.public()}

    @routes.get("/gallery/{id}/image", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    async def image(id: PictureId, download: bool = False) -> Response:
        """The file of a picture, which says what made it."""
        fields = {"content-disposition": f'attachment; filename="calotype-{id}.png"'} if download else {}
        return Response(await run_in_threadpool(state.gallery.image, id), media_type="image/png", headers=fields)

    @routes.post("/gallery/{id}/again")
    async def again(id: PictureId, asked: AgainRequest) -> dict[str, Any]:
        """Make a picture again from its request; ``same`` says whether it has the very same pixels."""
        item: GalleryItem = await run_in_threadpool(state.gallery.get, id)
        model = await run_in_threadpool(_of_weights, state, item)
        wanted = item.request
        _, made = await _made(state, wanted["ability"], model.id, wanted["body"])
        file, facts = made.files[wanted["index"]], made.facts[wanted["index"]]
        same = await run_in_threadpool(state.gallery.same, id, file)
        return {"images": [{"image": text_of(file), **facts, "gallery": id}], "same": same}

    @routes.delete("/gallery/{id}", status_code=204)
    async def delete(id: PictureId) -> Response:
        """Remove a picture."""
        await run_in_threadpool(state.gallery.delete, id)
        return Response(status_code=204)

    return routes


async def _made(state: State, ability: str, model: str, body: dict[str, Any]) -> tuple[Held, Made]:
    """What a model makes of a request, by the way that its own route takes. Raises `Refusal` as that does."""
    asked = parsed(ability, body)
    held = await opened(state, model, ability)
    return held, await answered(state, held, ability, asked)


def _of_weights(state: State, item: GalleryItem) -> Held:
    """The model on the shelf that has the weights which made a picture. Raises `ConflictError` where none has."""
    weights = item.facts["weights"]
    own = [held for held in state.shelf.models if held.facts["sha256"] == weights]
    found = next((held for held in own if held.id == item.request["model"]), own[0] if own else None)
    if found is None:
        raise ConflictError(
            f"the weights that made it ({weights[:12]}...) are not served any more: start the service with {item.facts['model_name']}", "id"
        )
    return found
