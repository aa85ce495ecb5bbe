"""What may be asked of models, as pydantic models: their fields are the API, and OpenAPI is made of them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from calotype.serve.refusal import Refusal

MOST_IMAGES = 64  # of one request
MOST_FRAMES = 64
TEXT = 1 << 30  # characters of an image in base64: the cap of the body comes first

SeedField = Annotated[int, Field(ge=0, le=2**63 - 1, description="another seed, another image")]
IndexField = Annotated[int, Field(ge=0, le=2**62, description="the number of the image among those of the seed")]
LabelField = Annotated[
    Annotated[str, Field(max_length=4096)] | Annotated[int, Field(ge=0, le=1 << 16)] | None,
    Field(description="a class by its name, or by its place counted from 0; the model chooses where none is given"),
]
ImageField = Annotated[str, Field(min_length=1, max_length=TEXT, description="base64 of a PNG, JPEG or WebP file")]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Option = Number | Annotated[int, Field(ge=-(10**9), le=10**9)] | Annotated[str, Field(max_length=200)] | None
OptionsField = Annotated[dict[Annotated[str, Field(max_length=100)], Option], Field(max_length=32, description="see /v1/models")]
CountField = Annotated[int, Field(ge=1, le=MOST_IMAGES, description="images")]


class Asked(BaseModel):
    """A request: an unknown field is refused, and so is text where a number belongs."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SampleRequest(Asked):
    """Images to draw: ``n`` of a seed, from the number ``index`` on."""

    n: CountField = 1
    seed: SeedField = 0
    index: IndexField = 0
    label: LabelField = None
    options: OptionsField = {}
    keep: Annotated[bool, Field(description="keep them in the gallery")] = False


class ExploreRequest(Asked):
    """An image of a seed, moved along directions, in standard deviations of the codes."""

    seed: SeedField = 0
    index: IndexField = 0
    label: LabelField = None
    moves: Annotated[dict[Annotated[str, Field(max_length=100)], Number], Field(max_length=64)] = {}
    options: OptionsField = {}


class EndRequest(Asked):
    """An image of a seed, as an end of a way."""

    seed: SeedField = 0
    index: IndexField = 0
    label: LabelField = None


class InterpolateRequest(Asked):
    """Images on the way from one of a seed to another."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=False)

    start: Annotated[EndRequest, Field(alias="from")]
    end: Annotated[EndRequest, Field(alias="to")]
    frames: Annotated[int, Field(ge=2, le=MOST_FRAMES, description="images, both ends included")] = 8


class CompleteRequest(Asked):
    """An image of which some is missing."""

    image: ImageField
    mask: Annotated[str, Field(min_length=1, max_length=TEXT, description="base64 of a picture that is white where to paint")]
    seed: SeedField = 0
    n: Annotated[int, Field(ge=1, le=16, description="completions")] = 1
    options: OptionsField = {}


class PictureRequest(Asked):
    """An image through a model that makes images of images."""

    image: ImageField
    seed: SeedField = 0
    options: OptionsField = {}


class ClassifyRequest(Asked):
    """An image to be named."""

    image: ImageField
    top: Annotated[int, Field(ge=1, le=1000, description="classes that are told")] = 3


class ImageRequest(Asked):
    """An image to be looked at."""

    image: ImageField


class GenerationRequest(Asked):
    """As other services of image generation take it."""

    prompt: Annotated[str, Field(max_length=4096, description="the name of a class, or empty")] = ""
    n: CountField = 1
    size: Annotated[str | None, Field(max_length=20, description="WIDTHxHEIGHT of the model, or auto")] = None
    response_format: Literal["b64_json"] = "b64_json"
    seed: Annotated[SeedField | None, Field(description="drawn where none is given")] = None
    model: Annotated[str | None, Field(max_length=200, description="the id or the name of a model; else the first that draws")] = None


REQUESTS: dict[str, type[Asked]] = {
    "sample": SampleRequest,
    "explore": ExploreRequest,
    "interpolate": InterpolateRequest,
    "complete": CompleteRequest,
    "restore": PictureRequest,
    "upscale": PictureRequest,
    "colorize": PictureRequest,
    "translate": PictureRequest,
    "classify": ClassifyRequest,
    "detect": ImageRequest,
}
"""What each ability takes."""


def parsed(ability: str, body: object) -> Asked:
    """A body as the request of an ability. Raises `Refusal` (404, 422) for an ability that is none and a body that does not fit."""
    from pydantic import ValidationError

    if ability not in REQUESTS:
        raise Refusal(404, "there is no such ability", "ability", ", ".join(REQUESTS))
    try:
        return REQUESTS[ability].model_validate(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)[0]) from None


def invalid(first: Any, *, over_http: bool = False) -> Refusal:
    """What a validation says of the first field that does not fit; over HTTP its place begins with that in the request."""
    place = [str(part)[:100] for part in first["loc"][over_http:]]
    field, message = ".".join(part for part in place if not _KINDS.match(part)), str(first["msg"])
    if first["type"] == "extra_forbidden":
        return Refusal(422, f"`{field}` is no field of this request", field, "none")
    said = message[:1].lower() + message[1:]
    return Refusal(422, f"`{field}`: {said}" if field else said, field)


_KINDS = re.compile(r"(constrained-|function-)|(str|int|float|none)$")  # that pydantic names behind a field of several types
