"""Many files through one model: each by itself, so that one that fails neither stops the rest nor leaves anything of another behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.decode import MAX_PIXELS, TooLargeError, UnusableError
from calotype.degrade import Degradation
from calotype.engine.device import out_of_memory
from calotype.engine.display import Display
from calotype.errors import CalotypeError, UserError, printable, unforeseen
from calotype.provenance.marker import UNMARKED, Marker, Provenance
from calotype.tasks.before_after import LabeledImages
from calotype.tasks.files import Picture, save_picture
from calotype.tasks.inputs import Inputs, One
from calotype.tasks.restore import Done
from calotype.tasks.score import Scored, cut_to
from calotype.types import Noise


@dataclass
class Outcome:
    """What became of one file."""

    file: str
    written: Path | None = None
    size: tuple[int, int] = (0, 0)  # height and width of the result
    notes: list[str] = field(default_factory=list)  # what could not be kept
    scored: Scored | None = None
    error: str = ""  # why there is no result
    kept: bool = False  # whether there was a result already, which was left alone
    row: LabeledImages = field(default_factory=list)  # before and after


class Interrupted(KeyboardInterrupt):
    """Stopped by the user between pictures, or within one: ``outcomes`` are of those that were worked on, of ``total``."""

    def __init__(self, outcomes: list[Outcome], total: int) -> None:
        super().__init__()
        self.outcomes, self.total = outcomes, total


@dataclass(frozen=True)
class PictureTask:
    """A picture to work on."""

    name: str
    picture: Picture
    index: int  # its number, with which the seed is mixed
    place: Path | None  # of the result
    outcome: Outcome  # what is to be told of it
    done: Done  # told the share that is done


Work = Callable[[PictureTask], None]
"""What is done with a picture."""


def each(
    inputs: Inputs, places: dict[str, Path], work: Work, display: Display, verb: str, keeps: bool = False, *, saves: str = ""
) -> list[Outcome]:
    """Work on each picture of ``inputs`` by itself, with its place where it has one, and tell what became of all.

    With ``keeps`` pictures that have a result already are left alone. ``verb`` is what the progress says, and ``saves`` what takes less
    memory, where anything does.

    Raises:
        UserError: where the only file that was named cannot be used.
        Interrupted: where the user stops it.
    """
    outcomes = [Outcome(skipped.name, error=skipped.reason) for skipped in inputs.skipped]
    names = inputs.names
    many = len(names) > 1
    if many:
        display.show(verb, 0, len(names))
    done = (lambda share: None) if many else (lambda share: display.show(verb, min(99, int(100 * share)), 100, percent=True))
    try:
        for index, name in enumerate(names):
            outcome, place = Outcome(printable(name)), places.get(name)
            try:
                if keeps and place is not None and os.path.exists(place):  # and whole, for results are written in one piece
                    outcome.kept = True
                else:
                    picture = inputs.picture(name)
                    outcome.notes += picture.notes
                    work(PictureTask(name, picture, index, place, outcome, done))
            except Exception as error:  # a damaged file, a full memory, a format that cannot hold it: the others can still be done
                if inputs.single and isinstance(error, (UnusableError, UserError)):
                    raise UserError(f"{name} cannot be used: {reason_of(error, saves)}") from None
                outcome = Outcome(outcome.file, error=reason_of(error, saves))
            outcomes.append(outcome)
            display.show(verb, *((index + 1, len(names)) if many else (100, 100)), percent=not many)
    except KeyboardInterrupt:
        raise Interrupted(outcomes, len(names)) from None
    return outcomes


def degrade_files(
    degradation: Degradation,
    inputs: Inputs,
    places: dict[str, Path],
    seed: int,
    quality: int | None,
    display: Display,
    keeps: bool = False,
    provenance: Provenance = "full",
) -> list[Outcome]:
    """Degrade all pictures of ``inputs``, each into its place, and tell what became of them; otherwise as `each`."""

    def degrade_one(given: PictureTask) -> None:
        picture = given.picture
        case = degradation(cut_to(picture_tensor(picture.pixels)[None], degradation.scale), Noise(1, seed, given.index)).image[0]
        pixels = to_pixels(case, picture.pixels.dtype)
        if picture.alpha is not None and pixels.shape[:2] != picture.size:
            given.outcome.notes.append("the transparency was left out, for the picture has become smaller")
            picture = replace(picture, alpha=None)
        marker = Marker("degradation", seed=seed, index=given.index, options={"degrade": degradation.spec})
        write(replace(picture, pixels=pixels, marker=marker.at(provenance)), given, quality)

    outcomes = each(inputs, places, degrade_one, display, "degrading", keeps)
    tell_unmarked(outcomes, provenance, display)
    return outcomes


def tell_unmarked(outcomes: Sequence[Outcome], provenance: Provenance, display: Display) -> None:
    """Say so where pictures were written without a marker."""
    if provenance == "none" and any(outcome.written or outcome.row for outcome in outcomes):
        display.say(f"calotype: {UNMARKED}")


def read_mask(path: Path, most: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Where the picture in a file is white, (H, W), of ``most`` pixels at most. Raises `UserError` for a file that is no picture."""
    try:
        mask = One(path)
        mask.most = most
        pixels = mask.picture(path.name).pixels
    except UnusableError as error:
        raise UserError(f"the mask {path} cannot be used: {error}") from None
    return np.asarray(pixels.mean(2) > np.iinfo(pixels.dtype).max / 2)


def write(made: Picture, given: PictureTask, quality: int | None) -> None:
    """Into its place, where it has one: whole or not at all."""
    given.outcome.size = made.size
    if given.place is not None:
        given.place.parent.mkdir(parents=True, exist_ok=True)
        given.outcome.notes += save_picture(made, given.place, quality)
        given.outcome.written = given.place


def picture_tensor(pixels: NDArray[Any]) -> Tensor:
    """(H, W, C) uint8 or uint16 as (C, H, W) float32 in [-1, 1]."""
    half = np.iinfo(pixels.dtype).max / 2
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32, order="C")).sub_(half).mul_(1 / half)


def to_pixels(image: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    """And back, clipped and rounded."""
    half = np.iinfo(kind).max / 2
    values: NDArray[Any] = image.clamp(-1, 1).mul_(half).add_(half).round_().permute(1, 2, 0).numpy()
    return values.astype(kind)


def reason_of(error: Exception, saves: str = "") -> str:
    """Why a file failed, in one line, with its kind where its words were not written for users."""
    whole = printable((str(error).splitlines() or [""])[0])
    said = whole if isinstance(error, CalotypeError) else whole[:200]
    if isinstance(error, TooLargeError):
        return f"{said}, or allow more with `max_megapixels`"
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, (CalotypeError, UnusableError)):
        return said
    if out_of_memory(error):
        return "not enough memory" + (f": {saves}" if saves else "")
    return unforeseen(error)
