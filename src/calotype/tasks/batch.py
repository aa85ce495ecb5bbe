"""Many files through one model: each by itself, so that one that fails neither stops the rest nor leaves anything of another behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.decode import UnusableError
from calotype.degrade import Degradation
from calotype.degrade.resize import resize
from calotype.engine.display import Display, Terminal
from calotype.errors import CalotypeError, UserError, printable
from calotype.tasks.before_after import ROWS, Row, cell
from calotype.tasks.files import Picture, open_picture, save_picture
from calotype.tasks.inputs import Inputs, open_inputs
from calotype.tasks.places import targets
from calotype.tasks.restore import Applied, Done, Way, known_maps
from calotype.tasks.sample import Generator, load
from calotype.tasks.score import LARGEST, Scored, Spoiled, cut_to, middle, score, spoil
from calotype.tasks.tiles import Plan, tiled
from calotype.types import Noise


@dataclass(frozen=True)
class Job:
    """What is done with every file."""

    degradation: Degradation | None = None  # spoil the pictures first
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
    row: Row = field(default_factory=list)  # before and after


Work = Callable[[Picture, Path | None, int, Outcome, Done], None]
"""What is done with a picture, given its place, its number, what is to be told of it, and whom to tell the share that is done."""


def restore(
    model: Generator | str | Path,
    source: str | Path,
    out: str | Path,
    *,
    mask: str | Path | None = None,
    sigma: float | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    seed: int = 0,
    display: Display | None = None,
    **options: float | str,
) -> list[Outcome]:
    """Pictures in files through a model that makes images from images: restored, enlarged or translated, whatever it was trained for.

    Args:
        model: What `calotype.load` returns, or the folder of a run.
        source: A picture, a folder with everything in it, a zip archive, or a data set.
        out: The picture to write; a folder, for several.
        mask: Picture that is white where pixels are to be made up, for a model that fills in.
        sigma: Noise level on the scale of 0 to 255, for a model that takes one; it is guessed where none is given.
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 where none is given.
        overwrite: Replace results that exist.
        seed: Of all that is random, together with the number of the picture.
        display: Told how far it has come; a bar or lines on stderr where none is given.
        options: Of the model's ``sample``.

    Raises:
        UserError: where the model does not fit what is asked, where results exist, and where the only picture cannot be used.
    """
    applied = Applied(model if isinstance(model, Generator) else load(model), Way(options, None, seed, sigma))
    job = Job(missing=None if mask is None else read_mask(Path(mask)), quality=quality)
    with open_inputs(str(source), Path(out)) as inputs, closing(display or Terminal()) as shown:
        places = targets(inputs, str(out), "replace" if overwrite else "refuse")
        return restore_files(applied, inputs, places, job, shown, "working")


def restore_files(applied: Applied, inputs: Inputs, places: dict[str, Path], job: Job, display: Display, verb: str) -> list[Outcome]:
    """Apply a model to all pictures of ``inputs``, each into its place where it has one, and tell what became of them.

    Every result is written whole or not at all. What is random depends on the seed and on the number of the picture.

    Raises:
        UserError: where the model does not fit what is asked, and where the only file that was named cannot be used.
    """
    if job.degradation is None:
        known_maps(applied.source, (1, 1), applied.way.sigma, None if job.missing is None else job.missing[:1, :1])

    def restore(picture: Picture, place: Path | None, index: int, outcome: Outcome, done: Done) -> None:
        _restore(applied, picture, place, job, index, outcome, done)

    return _each(inputs, places, restore, display, verb)


def degrade_files(
    degradation: Degradation, inputs: Inputs, places: dict[str, Path], seed: int, quality: int | None, display: Display
) -> list[Outcome]:
    """Spoil all pictures of ``inputs``, each into its place, and tell what became of them; otherwise as `restore_files`."""

    def spoil_one(picture: Picture, place: Path | None, index: int, outcome: Outcome, done: Done) -> None:
        spoiled = degradation(cut_to(_to_tensor(picture.pixels)[None], degradation.scale), Noise(1, seed, index)).image[0]
        pixels = _to_pixels(spoiled, picture.pixels.dtype)
        if picture.alpha is not None and pixels.shape[:2] != picture.size:
            outcome.notes.append("the transparency was left out, for the picture has become smaller")
            picture = replace(picture, alpha=None)
        _write(replace(picture, pixels=pixels), place, quality, outcome)

    return _each(inputs, places, spoil_one, display, "degrading")


def _each(inputs: Inputs, places: dict[str, Path], work: Work, display: Display, verb: str) -> list[Outcome]:
    """Work on each picture by itself, and tell what became of all."""
    outcomes = [Outcome(skipped.name, error=skipped.reason) for skipped in inputs.skipped]
    many = len(inputs.names) > 1
    for index, name in enumerate(inputs.names):
        outcome = Outcome(printable(name))
        done = (lambda share: None) if many else (lambda share: display.show(verb, min(99, int(100 * share)), 100, percent=True))
        try:
            picture = inputs.picture(name)
            outcome.notes += picture.notes
            work(picture, places.get(name), index, outcome, done)
        except Exception as error:  # a damaged file, a full memory, a format that cannot hold it: the others can still be done
            if inputs.single and isinstance(error, (UnusableError, UserError)):
                raise UserError(f"{name} cannot be used: {error}") from None
            outcome = Outcome(outcome.file, error=_reason(error))
        outcomes.append(outcome)
        display.show(verb, *((index + 1, len(inputs.names)) if many else (100, 100)), percent=not many)
    return outcomes


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Where the picture in a file is white, (H, W). Raises `UserError` for a file that is no picture."""
    try:
        pixels = open_picture(path.read_bytes(), path.name).pixels
    except UnusableError as error:
        raise UserError(f"the mask {path} cannot be used: {error}") from None
    except OSError as error:
        raise UserError(f"the mask {path} cannot be read: {error.strerror}") from None
    return np.asarray(pixels.mean(2) > np.iinfo(pixels.dtype).max / 2)


def _restore(applied: Applied, picture: Picture, place: Path | None, job: Job, index: int, outcome: Outcome, done: Done) -> None:
    """One picture, all the way."""
    if job.missing is not None and job.missing.shape != picture.size:
        (tall, wide), (high, broad) = job.missing.shape, picture.size
        raise UserError(f"the mask is {wide}x{tall} and the picture {broad}x{high}: they must be of one size")
    if job.degradation is None:
        pixels, note = applied.pixels(picture.pixels, job.missing, index, done)
        outcome.notes += [note] if note else []
        _compare(job, index, outcome, [("input", picture.pixels), ("result", pixels)])
    else:
        pixels = _undo(applied, picture.pixels, job, job.degradation, index, outcome, done, whole=place is not None)
    _write(_result(picture, pixels, job.degradation is None, applied.mends), place, job.quality, outcome)


def _undo(
    applied: Applied, truth: NDArray[Any], job: Job, degradation: Degradation, index: int, outcome: Outcome, done: Done, whole: bool
) -> NDArray[Any]:
    """A picture spoiled and restored; scored by its middle where it is large, and then restored as a ``whole`` only where that is asked."""

    def restored(part: NDArray[Any]) -> tuple[Spoiled, Tensor]:
        spoiled = spoil(applied, _to_tensor(part), degradation, index, job.blind)
        return spoiled, applied.tensor(spoiled.given, spoiled.known, index, done)

    part = middle(truth) if job.scored else truth
    spoiled, made = restored(part)
    pixels, label = _to_pixels(made, truth.dtype), "result"
    if job.scored:
        outcome.scored = score(spoiled, degradation, made, applied.generator.model)
        label = f"result  {outcome.scored.own.psnr:.2f} dB"
    if job.compared and index < ROWS:
        given, target = (_to_pixels(image, truth.dtype) for image in (spoiled.given, spoiled.truth[0]))
        _compare(job, index, outcome, [("input", given), (label, pixels), ("truth", target)])
    if part is truth:
        return pixels
    outcome.notes.append(f"more than {LARGEST / 1e6:.1f} megapixels: scored by its middle, {part.shape[1]}x{part.shape[0]} pixels")
    del spoiled, made
    return _to_pixels(restored(truth)[1], truth.dtype) if whole else pixels


def _compare(job: Job, index: int, outcome: Outcome, cells: list[tuple[str, NDArray[Any]]]) -> None:
    """Keep the middle of pictures, the second of which is the result, where a look at before and after is asked for."""
    if job.compared and index < ROWS:
        tall, wide = cells[1][1].shape[:2]
        outcome.row = [(label, cell(pixels, (tall, wide))) for label, pixels in cells]
        outcome.row[0] = (f"{outcome.file}: {outcome.row[0][0]}", outcome.row[0][1])


def _write(made: Picture, place: Path | None, quality: int | None, outcome: Outcome) -> None:
    """Into its place, where it has one."""
    outcome.size = made.size
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        outcome.notes += save_picture(made, place, quality)
        outcome.written = place


def _result(picture: Picture, pixels: NDArray[Any], larger: bool, same: bool) -> Picture:
    """The picture with other pixels, in its own channels where it is the ``same`` picture; its transparency brought to their size."""
    alpha, scale = picture.alpha, pixels.shape[0] // picture.size[0] if larger else 1
    if same and pixels.shape[2] < picture.pixels.shape[2]:  # it was mended as the grey one that it is
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
    said = (str(error).splitlines() or [""])[0][:200]
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (CalotypeError, UnusableError)):
        return said
    if isinstance(error, MemoryError):
        return "not enough memory: give a smaller --tile"
    return f"{type(error).__name__}: {said}"
