"""Pictures that somebody sends, through the models of the shelf: restored, completed, named, judged and traced."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from calotype import pictures
from calotype.capabilities import Completes
from calotype.data.decode import decode_fitted, read_header
from calotype.data.reading import TooLargeError, UnusableError
from calotype.degrade import Degradation, parse
from calotype.engine.display import Display
from calotype.serve.answers import Made
from calotype.serve.batching import asked_options
from calotype.serve.images import file_of, mask_of, picture_of, png, text_of
from calotype.serve.lanes import in_time
from calotype.serve.options import USUAL, PriorOptions, chosen_of, require_steps
from calotype.serve.refusal import Refusal
from calotype.serve.requests import ClassifyRequest, CompleteRequest, ImageRequest, PictureRequest
from calotype.serve.settings import Settings
from calotype.serve.shelf import Held
from calotype.tasks.batch import Outcome, PictureTask
from calotype.tasks.complete import complete
from calotype.tasks.inverse_problem import Missing
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.prior import PosteriorSamples, restore_with_prior
from calotype.tasks.restore import Applied, Way
from calotype.tasks.restoring import Job, restore_one
from calotype.types import Noise

if TYPE_CHECKING:
    from calotype.serve.shelf import Shelf
    from calotype.tasks.sample import Generator

PARTS = 4  # of a degradation


def restored(held: Held, asked: PictureRequest, limits: Settings, ability: str) -> Made:
    """A picture through a model that was trained for it, or through one that draws such pictures, which says how sure it is."""
    require_steps(asked.options, limits.max_steps)
    if held.facts["prior"]:
        return _by_prior(held, asked, limits, ability)
    options = asked_options(asked.options)
    sigma = options.pop("sigma", None)
    if sigma is not None and not isinstance(sigma, int | float):
        raise Refusal(400, "`sigma` is a number from 0 to 255", "options.sigma", "0 to 255")
    applied = Applied(held.generator("slow"), Way(options, None, asked.seed, sigma))
    return _applied(applied, asked.image, None, 1, limits)


def _applied(applied: Applied, image: str, missing: NDArray[np.bool_] | None, count: int, limits: Settings) -> Made:
    """A picture through a model that makes images from images, in its own size, depth and with what its file says."""
    picture = picture_of(file_of(image), limits.max_pixels)
    scale = applied.source.scale
    if picture.size[0] * picture.size[1] * scale**2 > limits.max_pixels:
        most = f"{limits.max_pixels // scale**2:,} pixels"
        raise Refusal(413, f"`image`: its result would be too large: give {most} at most", "image", most)
    made = Made(more={"uncertainty": None})
    with tempfile.TemporaryDirectory(prefix="calotype-serve-") as folder:
        for index in range(count):
            place, outcome = Path(folder, "result.png"), Outcome("image")
            restore_one(applied, Job(missing=missing), None, PictureTask("image", picture, index, place, outcome, in_time))
            made.files.append(place.read_bytes())
            made.facts.append({"seed": applied.way.seed, "index": index, "label": None})
            made.more["notes"] = [*picture.notes, *outcome.notes]
    return made


def _by_prior(held: Held, asked: PictureRequest, limits: Settings, ability: str) -> Made:
    chosen: PriorOptions = chosen_of(PriorOptions, asked.options)
    spec = chosen.degrade or USUAL[ability]
    if spec.count("+") >= PARTS:
        raise Refusal(400, f"`degrade`: {PARTS} degradations are the most", "options.degrade")
    degradation = parse(spec)
    if ability == "upscale" and degradation.scale == 1:
        raise Refusal(400, "`degrade`: what is enlarged was made smaller, as by downsample:2", "options.degrade", "downsample:2 ...")
    if ability != "upscale" and degradation.scale > 1:
        raise Refusal(400, "`degrade`: what was made smaller is enlarged: ask for upscale", "options.degrade")
    if ability == "colorize" and not any(part == "gray" for part in spec.split("+")):
        raise Refusal(400, "`degrade`: what is colored was gray", "options.degrade", "gray, gray+noise:5 ...")
    generator = held.generator("slow")
    degradation.channels(generator.spec.channels)
    found = _drawn(generator, degradation, asked.image, chosen, asked.seed, chosen.samples, limits)
    return _told(generator, found, found.mean, asked.seed, chosen, degradation.spec, "restoration")


def complete_picture(held: Held, asked: CompleteRequest, limits: Settings) -> Made:
    """What is missing in a picture, by whatever way the model has: its training, its order of pixels, or as a prior."""
    require_steps(asked.options, limits.max_steps)
    generator = held.generator("slow")
    if generator.model.from_source:
        applied = Applied(generator, Way(asked_options(asked.options), None, asked.seed))
        data = file_of(asked.image)
        header = _header(data, limits.max_pixels)
        missing = mask_of(asked.mask, (header.height, header.width), limits.max_pixels)
        _require_some(missing)
        return _applied(applied, asked.image, missing, asked.n, limits)
    missing = _fitted(asked.mask, generator, "mask", limits, channels=1)[..., 0] > 127
    _require_some(missing)
    if isinstance(generator.model, Completes):
        return _continued(generator, asked, missing, limits)
    chosen: PriorOptions = chosen_of(PriorOptions, asked.options)
    if chosen.degrade is not None:
        raise Refusal(400, "`degrade`: a completion is told what is missing by its mask", "options.degrade", "none")
    holes = Missing(torch.from_numpy(~missing).float()[None, None], "drawn")
    found = _drawn(generator, holes, asked.image, chosen, asked.seed, max(2, asked.n, chosen.samples), limits)
    return _told(generator, found, found.samples[0, : asked.n], asked.seed, chosen, "mask", "inpainting")


def _continued(generator: Generator, asked: CompleteRequest, missing: NDArray[np.bool_], limits: Settings) -> Made:
    """The lower rows of a picture, by a model that draws pixels in their order."""
    given = asked_options(asked.options)
    label = generator.label(_text(given.pop("label", None)))
    if given:
        raise Refusal(400, "this model completes without options but `label`", "options", "label")
    row = int(missing.any(1).argmax())
    if not missing[row:].all():
        raise Refusal(400, "this model draws pixels from top to bottom: it paints whole rows up to the lower edge", "mask", "lower rows")
    if row == 0:
        raise Refusal(400, "the mask is white all over: ask for samples", "mask", "lower rows")
    size = generator.spec.size
    images = to_tensor(_fitted(asked.image, generator, "image", limits)[None])
    labels = None if label is None else torch.tensor([label])
    made = complete(generator, images, row / size, label=labels, samples=asked.n, seed=asked.seed, progress=in_time)
    answer = Made(more={"uncertainty": None})
    for index, pixels in enumerate(pictures.to_uint8(made[0])):
        name = None if label is None else generator.spec.classes[label]
        options = {"keep": row / size, "samples": asked.n}
        marker = generator.made("completion", seed=asked.seed, index=index, label=name, options=options)
        answer.files.append(png(pixels, marker))
        answer.facts.append({"seed": asked.seed, "index": index, "label": name})
    return answer


def _drawn(
    generator: Generator, degradation: Degradation, image: str, chosen: PriorOptions, seed: int, samples: int, limits: Settings
) -> PosteriorSamples:
    """Possible originals of a picture, by a model that draws such pictures."""
    label, noise = generator.label(chosen.label), Noise(1, seed)
    blank = degradation(torch.zeros(1, *generator.spec.shape), noise)
    height, width = blank.image.shape[2:]
    if height != width:
        raise Refusal(400, "this degradation leaves no square", "options.degrade")
    y = to_tensor(_fitted(image, generator, "image", limits, size=height, channels=blank.image.shape[1])[None])
    y = y if blank.conditioning is None else y * blank.conditioning
    return restore_with_prior(
        generator, y, blank.operator, samples=samples, steps=chosen.steps, method=chosen.method, seed=seed, label=label, progress=in_time
    )


def _told(
    generator: Generator,
    found: PosteriorSamples,
    images: torch.Tensor,
    seed: int,
    chosen: PriorOptions,
    spec: str,
    making: Literal["restoration", "inpainting"],
) -> Made:
    """What a prior says: images, and where its samples differ, white where that is most."""
    deviation = found.std.square().mean(1, keepdim=True).sqrt() * 127.5
    white = max(float(deviation.max()), 1.0)
    asked = {"degrade": spec, "method": found.method, "steps": found.steps, "samples": found.samples.shape[1]}
    marker = generator.made(making, seed=seed, index=0, label=chosen.label, options=asked)
    shade = pictures.to_uint8(deviation / white * 2 - 1)[0]
    made = Made(more={"uncertainty": text_of(png(shade, replace(marker, making="overview"))), "uncertainty_white": white})
    for index, pixels in enumerate(pictures.to_uint8(images)):
        made.files.append(png(pixels, marker.one(index)))
        made.facts.append({"seed": seed, "index": index, "label": chosen.label})
    return made


def classified(held: Held, asked: ClassifyRequest, limits: Settings) -> Made:
    """What a classifier takes an image for."""
    from calotype.tasks.classify import facts

    trained, data = held.classifier(), file_of(asked.image)
    _header(data, limits.max_pixels)
    try:
        pixels = decode_fitted(data, "image", trained.spec.size, trained.spec.channels, trained.fit)
    except UnusableError as error:
        raise Refusal(400, f"`image` cannot be used: {error}", "image") from None
    found = facts(trained.of(["image"], [pixels], asked.top))[0]
    return Made(more={name: value for name, value in found.items() if name != "file"} | {"calibrated": trained.calibration is not None})


def detected(held: Held, asked: ImageRequest, limits: Settings) -> Made:
    """Whether an image is generated, as far as a detector can tell."""
    from calotype.detect.score import facts, score
    from calotype.evaluation.result import plain

    data = file_of(asked.image)
    _header(data, limits.max_pixels)
    detector = held.detector()
    with tempfile.TemporaryDirectory(prefix="calotype-serve-") as folder:
        found = facts(score(detector, _file(folder, data), display=Display()))[0]
    said = {"trust": detector.facts.trust, "doubt": detector.facts.doubt}
    return Made(more=plain({name: value for name, value in found.items() if name != "file"} | said))


def traced(shelf: Shelf, asked: ImageRequest, limits: Settings) -> dict[str, Any]:
    """What a picture says of its making; where a model of the shelf made it, whether that draws it anew."""
    from calotype.tasks.trace import trace

    data = file_of(asked.image)
    _header(data, limits.max_pixels)
    with tempfile.TemporaryDirectory(prefix="calotype-serve-") as folder:
        file = _file(folder, data)
        found = trace(file)[0]
        marker = None if found.origin is None else found.origin.marker
        held = None if marker is None or not marker.weights else shelf.of_weights(marker.weights)
        steps = 0 if marker is None else marker.options.get("steps", 0)
        quick = isinstance(steps, int | float) and steps <= limits.max_steps
        if held is not None and marker is not None and marker.making == "sample" and quick:
            found = trace(file, held.generator("slow"))[0]
    told = replace(found, file="image", problem=found.problem.replace(str(file), "image")).as_json()
    return told | {"kind": found.kind or None, "model": None if held is None else held.id}


def _file(folder: str, data: bytes) -> Path:
    """A file of the server's own name with what was sent."""
    suffix = ".png" if data.startswith(b"\x89") else ".jpg" if data.startswith(b"\xff") else ".webp"
    place = Path(folder, f"image{suffix}")
    place.write_bytes(data)
    return place


def _header(data: bytes, most: int, field: str = "image") -> Any:
    """What a file says of itself. Raises `Refusal` for more pixels than ``most`` (413), and for a broken one (400)."""
    try:
        return read_header(io.BytesIO(data), "image", most)
    except TooLargeError as error:
        raise Refusal(413, f"`{field}`: {error}", field, f"up to {most:,} pixels") from None
    except UnusableError as error:
        raise Refusal(400, f"`{field}` cannot be used: {error}", field, "a whole PNG, JPEG or WebP file") from None


def _fitted(
    text: str, generator: Generator, field: str, limits: Settings, *, size: int | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """An image brought to the shape of a model (H, W, C) uint8: its middle, as training sees it."""
    data, spec = file_of(text, field), generator.spec
    _header(data, limits.max_pixels, field)
    try:
        found: NDArray[np.uint8] = decode_fitted(data, field, size or spec.size, channels or spec.channels, "crop")
    except UnusableError as error:
        raise Refusal(400, f"`{field}` cannot be used: {error}", field, "a whole PNG, JPEG or WebP file") from None
    return found


def _require_some(missing: NDArray[np.bool_]) -> None:
    if not missing.any() or missing.all():
        said = "white all over: nothing is known" if missing.all() else "black all over: nothing is missing"
        raise Refusal(400, f"the mask is {said}", "mask", "white where to paint")


def _text(label: float | str | None) -> int | str | None:
    return int(label) if isinstance(label, float) else label
