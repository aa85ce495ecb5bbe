"""The real images beside what is judged, and what a reader must know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calotype.config import Data
from calotype.data import Images, Split, load
from calotype.data.fit import KEPT, SIZES, fit_array
from calotype.data.images import Skipped, digests, make_images, some
from calotype.data.load import has_a_name
from calotype.data.toy import NAMES as TESTBEDS
from calotype.data.typical import typical_shape
from calotype.engine.images import open_images
from calotype.errors import UserError, printable
from calotype.evaluation.request import Request
from calotype.files import expanded
from calotype.types import ImageSpec

SPLIT = ("mnist5k", "mnist", "fashion-mnist", "cifar10", *TESTBEDS)  # sources that hold out a part of themselves
NAMED = 3  # files that a note names


@dataclass(frozen=True)
class Beside:
    """Training images and held-out ones, as far as they are known, in the shape of what is judged."""

    train: Images | None = None
    holdout: Images | None = None
    notes: tuple[str, ...] = ()
    overlap: int = 0  # held-out images that were left out, because they are training images too


def named(request: Request, spec: ImageSpec) -> Beside:
    """The images that the request names; a source's own holdout counts as one.

    Raises:
        UserError: for what is no source, and for a holdout that is mostly trained on.
    """
    held, notes = _brought(request.holdout, spec, request)
    if request.data is None:
        return Beside(None, held, notes)
    train, said = _brought(request.data, spec, request)
    if held is None and request.data in SPLIT and "holdout" in request.offers:
        held = load(request.data, size=spec.size, channels=spec.channels, fit=request.fit or "crop").holdout
    return without_overlap(Beside(train, held, (*said, *notes)))


def of_run(data: Data, fingerprint: str, request: Request, own: ImageSpec, spec: ImageSpec) -> Beside:
    """The images that a run was trained on, wherever they are now, or those that the request names in their place.

    Args:
        data: What the run says of its images.
        fingerprint: What it recorded of them.
        request: What was asked for.
        own: What the model draws.
        spec: What that is judged as.

    Raises:
        UserError: where they are no longer the images that it was trained on.
    """
    depth: Literal[1, 3] = 3 if own.channels == 3 else 1
    place = data if request.data in (None, data.source) else replace(data, size=own.size, channels=depth)  # as `named` reads it
    split = own_split(place, fingerprint, request) if request.divided or request.data is None else None
    if split is None and request.data is None:
        return Beside(None, named(request, spec).holdout, (gone(data),))
    if split is None:
        found = named(request, spec)
        unlike = f"the images of {request.data} are not those that the run was trained on: what it memorized may not show"
        return replace(found, notes=(unlike, *found.notes) if request.divided else found.notes)
    train, held = (resized(images, spec.size) for images in (split.train, split.holdout))
    if request.holdout is None:
        return Beside(train, held, duplicates(train, held))
    other, notes = _brought(request.holdout, spec, request)
    return without_overlap(Beside(train, other, notes))


def own_split(data: Data, fingerprint: str, request: Request) -> Split | None:
    """The images of a run, where it found them or where the request says; None where they are not there.

    Raises `UserError` where it found others than it was trained on.
    """
    if request.data is None and vanished(data.source):
        return None
    source, why = request.data or data.source, ""
    try:
        split = open_images(replace(data, source=source), request.progress(reading(source)))
        if split.fingerprint == fingerprint:
            return split
    except UserError as error:
        why = f" ({str(error).partition(': ')[0]})"  # how to repair it for a training is of no use here
    if request.data is None:
        raise UserError(f"the images of {source} changed since the run was trained{why}: name its training images, or others, with `data`")
    return None


def gone(data: Data) -> str:
    """That the images of a run are not where it found them."""
    return f"the images that the run was trained on are not in {data.source} any more: say with `data` where they are now"


def resized(images: Images, size: int) -> Images:
    """Images at another height and width."""
    if not len(images) or images.spec.size == size:
        return images
    pixels = fit_array(images.pixels, size, None, "crop")
    return make_images(pixels, images.labels, images.classes, images.name, images.skipped, files=images.files)


def left_out(source: str, skipped: Sequence[Skipped]) -> tuple[str, ...]:
    """A note on files that could not be used."""
    if not skipped:
        return ()
    first = ", ".join(f"{one.name} ({one.reason})" for one in skipped[:NAMED])
    rest = f" and {len(skipped) - NAMED:,} more" if len(skipped) > NAMED else ""
    return (f"{some(len(skipped), 'file')} of {source} left out: {first}{rest}",)


def reading(source: str) -> str:
    """What progress says of a source."""
    return f"reading {printable(Path(source).name)}"


def squared(source: str, fit: str) -> dict[str, str]:
    """A line of facts on what became of the images of a source, where they are not square; none where they are, or cannot be read."""
    own = None if vanished(source) else typical_shape(source)
    if own is None or own[0] == own[1]:
        return {}
    return {"images that are not square": f"mostly {own[0]}x{own[1]}; {KEPT[fit]} ({fit})"}


def shape_of(spec: ImageSpec) -> str:
    """Size and color in words."""
    return f"{spec.size}x{spec.size} {_color(spec.channels)}"


def _color(channels: int) -> str:
    return "color" if channels == 3 else "gray"


def vanished(source: str) -> bool:
    """Whether there is nothing at a path any more."""
    return not has_a_name(source) and not expanded(source).exists()


def _brought(source: str | None, spec: ImageSpec, request: Request) -> tuple[Images | None, tuple[str, ...]]:
    """The images of a source in the shape of those that are judged, and what became of them; of a source with a holdout, the rest."""
    if source is None:
        return None, ()
    fit, share = request.fit or "crop", 0.1 if source in SPLIT and source == request.data else 0.0
    split = load(source, size=spec.size, channels=spec.channels, fit=fit, holdout=share, progress=request.progress(reading(source)))
    notes = left_out(source, split.train.skipped)
    own = typical_shape(source)
    if own is None or own == (spec.size, spec.size, spec.channels):
        return split.train, notes
    width, height, channels = own
    how = f" ({KEPT[fit]}{f': `fit={fit}`' if 'fit' in request.offers else ''})" if width != height else ""
    said = f"the images of {source}, {width}x{height} {_color(channels)}, are brought to {shape_of(spec)} as the judged ones are{how}"
    if (least := min(width, height)) < spec.size:
        said += ", which makes them soft" + (
            f": `size={least}` compares all at their size" if least >= SIZES[0] and "size" in request.offers else ""
        )
    return split.train, (said, *notes)


def without_overlap(found: Beside) -> Beside:
    """The same without held-out images that are training images too, because they would hide copying, and a note where there were any."""
    train, held = found.train, found.holdout
    if train is None or held is None or not len(held):
        return found
    unseen = fresh(train, held)
    if unseen.all():
        return found
    lost = int((~unseen).sum())
    if lost > len(held) // 2:
        raise UserError(f"{lost} of {len(held)} held-out images are training images: give a `holdout` of images that the model never saw")
    kept = replace(held.take(unseen), fingerprint=held.fingerprint + f"-{lost}")
    return Beside(train, kept, (*found.notes, f"{lost} held-out images are training images too and were left out"), lost)


def duplicates(train: Images, held: Images) -> tuple[str, ...]:
    """A note on held-out images that the source holds twice, one of them for training: by chance, so that they stay."""
    same = int((~fresh(train, held)).sum())
    return (f"{same} of {len(held)} held-out images are duplicates of training images: {train.name} holds them twice",) if same else ()


def fresh(train: Images, held: Images) -> NDArray[np.bool_]:
    """Which held-out images are not among the training images."""
    known = {row.tobytes() for row in digests(train.pixels)}
    return np.array([row.tobytes() not in known for row in digests(held.pixels)], bool)
