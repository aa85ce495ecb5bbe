"""What models do with a request, free of HTTP: routes, jobs and the gallery all call `made`.

The same body gives the same pixels, whoever asks and whatever else is asked at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from calotype.serve.answers import Made
from calotype.serve.images import png
from calotype.serve.options import require_steps
from calotype.serve.refusal import Refusal
from calotype.serve.requests import Asked, EndRequest, ExploreRequest, InterpolateRequest, SampleRequest
from calotype.serve.settings import Settings
from calotype.serve.shelf import Held

if TYPE_CHECKING:
    from calotype.serve.batching import Row
    from calotype.tasks.sample import Generator


def made(held: Held, ability: str, asked: Asked, limits: Settings) -> Made:
    """What a model answers to a request; it computes in this thread.

    Raises:
        Refusal: 400 for more than may be asked for, 413 for images that are too large.
        UserError: for what the model does not take.
    """
    from calotype.serve import working

    work: dict[str, Callable[[Held, Any, Settings], Made]] = {
        "sample": _sample,
        "explore": _explore,
        "interpolate": _interpolate,
        "complete": working.complete_picture,
        **{one: partial(working.restored, ability=one) for one in ("restore", "upscale", "colorize", "translate")},
        "classify": working.classified,
        "detect": working.detected,
    }
    return work[ability](held, asked, limits)


def rows_of(generator: Generator, asked: SampleRequest, limits: Settings) -> list[Row]:
    """The images that a request wants. Raises `Refusal` (400) for more than it may, and `UserError` for a class that there is not."""
    from calotype.serve.batching import Row

    require_images(generator, asked.n, limits)
    require_steps(asked.options, limits.max_steps)
    label = generator.label(asked.label)
    return [Row(asked.seed, asked.index + place, label) for place in range(asked.n)]


def require_images(generator: Generator, count: int, limits: Settings) -> None:
    """Raise `Refusal` (400) for more images, or more pixels, than one request may ask for."""
    most = max(1, min(limits.max_images, limits.max_pixels // generator.spec.size**2))
    if count > most:
        raise Refusal(400, f"{most} images of this model at once are the most", "n", f"1 to {most}")


def sampled(generator: Generator, rows: Sequence[Row], drawn: Sequence[Any], asked: SampleRequest) -> Made:
    """Images that were drawn, with what they say of their making."""
    from calotype.serve.batching import asked_options, marker_of

    options, names = asked_options(asked.options), generator.spec.classes
    files = [png(image, marker_of(generator, row, options)) for image, row in zip(drawn, rows, strict=True)]
    facts = [{"seed": row.seed, "index": row.index, "label": None if row.label is None else names[row.label]} for row in rows]
    return Made(files, facts)


def _sample(held: Held, asked: SampleRequest, limits: Settings) -> Made:
    from calotype.serve.batching import asked_options, draw_rows, width_of
    from calotype.serve.lanes import in_time

    generator = held.generator()
    rows, options = rows_of(generator, asked, limits), generator.check(asked_options(asked.options))
    drawn, width = [], width_of(generator)
    for first in range(0, len(rows), width):
        in_time()
        drawn += list(draw_rows(generator, rows[first : first + width], options))
    return sampled(generator, rows, drawn, asked)


def _explore(held: Held, asked: ExploreRequest, limits: Settings) -> Made:
    from calotype.serve.batching import Row
    from calotype.serve.exploring import explored

    if any(value is not None for value in asked.options.values()):
        raise Refusal(400, "moves among latents take no sampling options: leave `options` out", "options", "none")
    generator = held.generator()
    row = Row(asked.seed, asked.index, generator.label(asked.label))
    known = held.directions() if asked.moves else ()
    pixels, label = explored(generator, row, asked.moves, known)
    return _decoded(generator, [pixels], [label], [asked], dict(asked.moves))


def _interpolate(held: Held, asked: InterpolateRequest, limits: Settings) -> Made:
    from calotype.serve.batching import Row
    from calotype.serve.exploring import way

    generator = held.generator()
    require_images(generator, asked.frames, limits)
    ends = [Row(one.seed, one.index, generator.label(one.label)) for one in (asked.start, asked.end)]
    pixels, labels = way(generator, ends[0], ends[1], asked.frames)
    told = {"to_seed": asked.end.seed, "to_index": asked.end.index, "frames": asked.frames}
    made = _decoded(generator, pixels, labels, [asked.start] * len(pixels), told)
    for place, fact in enumerate(made.facts):
        fact["share"] = place / (asked.frames - 1)
    return made


def _decoded(
    generator: Generator,
    pixels: Sequence[Any],
    labels: Sequence[int | None],
    asked: Sequence[EndRequest | ExploreRequest],
    told: dict[str, Any],
) -> Made:
    """Images of codes that were not drawn by themselves."""
    made = Made()
    for image, number, one in zip(pixels, labels, asked, strict=True):
        label = None if number is None else generator.spec.classes[number]
        frame = {"frame": len(made.files)} if len(pixels) > 1 else {}
        marker = generator.made("decoding", seed=one.seed, index=one.index, label=label, options={**told, **frame})
        made.files.append(png(image, marker))
        made.facts.append({"seed": one.seed, "index": one.index, "label": label})
    return made
