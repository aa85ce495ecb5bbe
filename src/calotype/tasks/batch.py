"""Many files through one model: each by itself, so that one that fails neither stops the rest nor leaves anything of another behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.decode import MAX_PIXELS, TooLargeError, UnusableError
from calotype.degrade import Degradation, Degraded
from calotype.degrade.base import Identity
from calotype.degrade.color import gray8
from calotype.degrade.resize import resize
from calotype.engine.device import out_of_memory
from calotype.engine.display import Display
from calotype.errors import CalotypeError, UserError, printable, unforeseen
from calotype.tasks.before_after import ROWS, Row, cell
from calotype.tasks.files import Picture, save_picture
from calotype.tasks.inputs import Inputs, One
from calotype.tasks.originals import Originals, Unknown
from calotype.tasks.restore import Applied, Done, conditioning_channels, is_gray
from calotype.tasks.score import LARGEST, Case, Scored, cut_to, degraded_case, middle, score
from calotype.tasks.tiles import Plan, tiled
from calotype.types import Noise


@dataclass(frozen=True)
class Job:
    """What is done with every file."""

    degradation: Degradation | None = None  # degrade the pictures first
    scored: bool = False  # and score the results
    blind: bool = False  # without telling the model how noisy they are
    missing: NDArray[np.bool_] | None = None  # (H, W), true where pixels are to be made up
    quality: int | None = None  # of JPEG, WebP and AVIF
    compared: bool = False  # keep the middle of the first pictures for a look at before and after


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
    row: Row = field(default_factory=list)  # before and after


class Interrupted(KeyboardInterrupt):
    """Stopped by the user between pictures, or within one: ``outcomes`` are of those that were worked on, of ``total``."""

    def __init__(self, outcomes: list[Outcome], total: int) -> None:
        super().__init__()
        self.outcomes, self.total = outcomes, total


@dataclass(frozen=True)
class Given:
    """A picture to work on."""

    name: str
    picture: Picture
    index: int  # its number, with which the seed is mixed
    place: Path | None  # of the result
    outcome: Outcome  # what is to be told of it
    done: Done  # told the share that is done


Work = Callable[[Given], None]
"""What is done with a picture."""


def restore_files(
    applied: Applied,
    inputs: Inputs,
    places: dict[str, Path],
    job: Job,
    display: Display,
    verb: str,
    *,
    originals: Originals | None = None,
    keeps: bool = False,
) -> list[Outcome]:
    """Apply a model to all pictures of ``inputs``, each into its place where it has one, and tell what became of them.

    Every result is written whole or not at all. What is random depends on the seed and on the number of the picture. Results are scored
    against ``originals``, where there are any; with ``keeps`` pictures that have a result already are left alone.

    Raises:
        UserError: where the model does not fit what is asked, and where the only file that was named cannot be used.
        Interrupted: where the user stops it.
    """
    if job.degradation is None:
        conditioning_channels(applied.source, (1, 1), applied.way.sigma, None if job.missing is None else job.missing[:1, :1])
    return _each(inputs, places, lambda given: _restore(applied, given, job, originals), display, verb, keeps)


def degrade_files(
    degradation: Degradation,
    inputs: Inputs,
    places: dict[str, Path],
    seed: int,
    quality: int | None,
    display: Display,
    keeps: bool = False,
) -> list[Outcome]:
    """Degrade all pictures of ``inputs``, each into its place, and tell what became of them; otherwise as `restore_files`."""

    def spoil_one(given: Given) -> None:
        picture = given.picture
        case = degradation(cut_to(_to_tensor(picture.pixels)[None], degradation.scale), Noise(1, seed, given.index)).image[0]
        pixels = _to_pixels(case, picture.pixels.dtype)
        if picture.alpha is not None and pixels.shape[:2] != picture.size:
            given.outcome.notes.append("the transparency was left out, for the picture has become smaller")
            picture = replace(picture, alpha=None)
        _write(replace(picture, pixels=pixels), given, quality)

    return _each(inputs, places, spoil_one, display, "degrading", keeps)


def _each(inputs: Inputs, places: dict[str, Path], work: Work, display: Display, verb: str, keeps: bool) -> list[Outcome]:
    """Work on each picture by itself, and tell what became of all."""
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
                    work(Given(name, picture, index, place, outcome, done))
            except Exception as error:  # a damaged file, a full memory, a format that cannot hold it: the others can still be done
                if inputs.single and isinstance(error, (UnusableError, UserError)):
                    raise UserError(f"{name} cannot be used: {_reason(error)}") from None
                outcome = Outcome(outcome.file, error=_reason(error))
            outcomes.append(outcome)
            display.show(verb, *((index + 1, len(names)) if many else (100, 100)), percent=not many)
    except KeyboardInterrupt:
        raise Interrupted(outcomes, len(names)) from None
    return outcomes


def read_mask(path: Path, most: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Where the picture in a file is white, (H, W), of ``most`` pixels at most. Raises `UserError` for a file that is no picture."""
    try:
        mask = One(path)
        mask.most = most
        pixels = mask.picture(path.name).pixels
    except UnusableError as error:
        raise UserError(f"the mask {path} cannot be used: {error}") from None
    return np.asarray(pixels.mean(2) > np.iinfo(pixels.dtype).max / 2)


def _restore(applied: Applied, given: Given, job: Job, originals: Originals | None) -> None:
    """One picture, all the way."""
    picture, outcome = given.picture, given.outcome
    if job.missing is not None and job.missing.shape != picture.size:
        (tall, wide), (high, broad) = job.missing.shape, picture.size
        raise UserError(f"the mask is {wide}x{tall} and the picture {broad}x{high}: they must be of one size")
    if job.degradation is None:
        truth = None if originals is None else originals.of(given.name, picture.size)
        pixels, note = applied.pixels(picture.pixels, job.missing, given.index, given.done)
        outcome.notes += [note] if note else []
        cells = [("input", picture.pixels), ("result", pixels)]
        if truth is not None:
            outcome.scored = _against(applied, given, pixels, truth, job.missing)
            cells = [cells[0], (f"result  {outcome.scored.own.psnr:.2f} dB", pixels), ("truth", truth.pixels)]
        _compare(job, given, cells)
    else:
        pixels = _undo(applied, given, job, job.degradation)
    _write(_result(picture, pixels, job.degradation is None, applied.restores), given, job.quality)


def _undo(applied: Applied, given: Given, job: Job, degradation: Degradation) -> NDArray[Any]:
    """A picture degraded and restored; scored by its middle where it is large, and then restored as a whole only where that is written."""
    truth, outcome = given.picture.pixels, given.outcome

    def restored(part: NDArray[Any]) -> tuple[Case, Tensor]:
        case = degraded_case(applied, _to_tensor(part), degradation, given.index, job.blind)
        return case, applied.tensor(case.given, case.conditioning, given.index, given.done)

    part = truth[middle(given.picture.size)] if job.scored else truth
    case, made = restored(part)
    pixels, label = _to_pixels(made, truth.dtype), "result"
    if job.scored:
        outcome.scored = score(case, degradation, made, applied.generator.model)
        label = f"result  {outcome.scored.own.psnr:.2f} dB"
    if job.compared and given.index < ROWS:
        before, target = (_to_pixels(image, truth.dtype) for image in (case.given, case.truth[0]))
        _compare(job, given, [("input", before), (label, pixels), ("truth", target)])
    if part.shape == truth.shape:
        return pixels
    outcome.notes.append(_by_middle(part.shape))
    del case, made
    return _to_pixels(restored(truth)[1], truth.dtype) if given.place is not None else pixels


def _against(applied: Applied, given: Given, made: NDArray[Any], original: Picture, missing: NDArray[np.bool_] | None) -> Scored:
    """A result scored against the original, by its middle where it is large, in the channels that it has."""
    scale, before = applied.source.scale, given.picture.pixels
    rows, columns = middle(given.picture.size, scale)
    larger = tuple(slice(scale * part.start, scale * part.stop) for part in (rows, columns))
    if (part := made[larger]).shape != made.shape:
        given.outcome.notes.append(_by_middle(part.shape))
    result, seen, truth = (_to_tensor(pixels) for pixels in (part, before[rows, columns], original.pixels[larger]))
    if applied.restores and is_gray(result):
        result = result[:1]
    if len(result) != len(truth):
        if len(result) == 1 and not is_gray(truth):
            given.outcome.notes.append("it has no color, and was scored against its original in gray")
        truth = gray8(truth[None])[0] if len(result) == 1 else truth.expand(3, -1, -1)
    mask = None if missing is None else torch.from_numpy(~missing[rows, columns]).float()[None, None]
    case = Case(truth[None], Degraded(seen[None], Identity(), mask), None)
    return score(case, Unknown(scale, mask is not None), result, applied.generator.model)


def _by_middle(shape: tuple[int, ...]) -> str:
    return f"more than {LARGEST / 1e6:.1f} megapixels: scored by its middle, {shape[1]}x{shape[0]} pixels"


def _compare(job: Job, given: Given, cells: list[tuple[str, NDArray[Any]]]) -> None:
    """Keep the middle of pictures, the second of which is the result, where a look at before and after is asked for."""
    if job.compared and given.index < ROWS:
        tall, wide = cells[1][1].shape[:2]
        row = [(label, cell(pixels, (tall, wide))) for label, pixels in cells]
        given.outcome.row = [(f"{given.outcome.file}: {row[0][0]}", row[0][1]), *row[1:]]


def _write(made: Picture, given: Given, quality: int | None) -> None:
    """Into its place, where it has one."""
    given.outcome.size = made.size
    if given.place is not None:
        given.place.parent.mkdir(parents=True, exist_ok=True)
        given.outcome.notes += save_picture(made, given.place, quality)
        given.outcome.written = given.place


def _result(picture: Picture, pixels: NDArray[Any], larger: bool, same: bool) -> Picture:
    """The picture with other pixels, in its own channels where it is the ``same`` picture; its transparency brought to their size."""
    alpha, scale = picture.alpha, pixels.shape[0] // picture.size[0] if larger else 1
    if same and pixels.shape[2] < picture.pixels.shape[2]:  # it was restored as the gray one that it is
        pixels = np.repeat(pixels, picture.pixels.shape[2], 2)
    if alpha is not None:
        alpha = _enlarged(alpha, scale)[: pixels.shape[0], : pixels.shape[1]]
    dpi = None if picture.dpi is None else (picture.dpi[0] * scale, picture.dpi[1] * scale)
    return replace(picture, pixels=pixels, alpha=alpha, dpi=dpi)


def _enlarged(alpha: NDArray[Any], scale: int) -> NDArray[Any]:
    """(H, W) uint8 or uint16, ``scale`` times larger by bicubic interpolation, a part at a time."""
    if scale == 1:
        return alpha
    out = np.empty((scale * alpha.shape[0], scale * alpha.shape[1]), alpha.dtype)

    def write(first: int, rows: Tensor) -> None:
        out[first : first + rows.shape[1]] = rows[0].clamp(0, np.iinfo(alpha.dtype).max).round_().numpy().astype(alpha.dtype)

    tiled(
        lambda part: resize(part, scale * part.shape[2], scale * part.shape[3]),
        lambda top, bottom, left, right: torch.from_numpy(alpha[top:bottom, left:right].astype(np.float32))[None, None],
        write,
        alpha.shape[0],
        alpha.shape[1],
        Plan(480, 16, 4),
        lambda share: None,
    )
    return out


def _to_tensor(pixels: NDArray[Any]) -> Tensor:
    """(H, W, C) uint8 or uint16 as (C, H, W) float32 in [-1, 1]."""
    half = np.iinfo(pixels.dtype).max / 2
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32, order="C")).sub_(half).mul_(1 / half)


def _to_pixels(image: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    """And back, clipped and rounded."""
    half = np.iinfo(kind).max / 2
    values: NDArray[Any] = image.clamp(-1, 1).mul_(half).add_(half).round_().permute(1, 2, 0).numpy()
    return values.astype(kind)


def _reason(error: Exception) -> str:
    """In one line, with its kind where its words were not written for users."""
    said = printable((str(error).splitlines() or [""])[0][:200])
    if isinstance(error, TooLargeError):
        return f"{said}, or allow more with `max_megapixels`"
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, (CalotypeError, UnusableError)):
        return said
    if out_of_memory(error):
        return "not enough memory: give a smaller `tile`"
    return unforeseen(error)
