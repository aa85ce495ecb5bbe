"""Pictures that a user names through a model that makes images from images: what the command line and Python share.

The way of a picture: `restore_all` opens what is named, `each` takes the files one by one, `restore_one` reads, restores, scores and writes
one of them, and `Applied` brings its pixels through the model by tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.data.decode import MAX_PIXELS
from calotype.degrade import Degradation, Degraded, parse
from calotype.degrade.base import Identity
from calotype.degrade.color import gray8
from calotype.degrade.resize import resize
from calotype.engine.display import Display, Terminal
from calotype.engine.model_card import command_for
from calotype.errors import UserError
from calotype.provenance.marker import Making, Marker, Provenance
from calotype.settings import value
from calotype.tasks.batch import Outcome, PictureTask, each, picture_tensor, read_mask, tell_unmarked, to_pixels, write
from calotype.tasks.before_after import ROWS, cell, sheet
from calotype.tasks.files import Picture
from calotype.tasks.inputs import open_inputs
from calotype.tasks.originals import Originals, Unknown
from calotype.tasks.places import Existing, existing_of, require_free, targets
from calotype.tasks.restore import Applied, Way, conditioning_channels, is_gray, warning
from calotype.tasks.sample import Generator, load
from calotype.tasks.score import LARGEST, Case, Scored, degraded_case, fits, middle, score
from calotype.tasks.tiles import Plan, tiled

MEGAPIXELS = 400.0  # of a picture at most, where none are given: tiles bound what the network takes, not the picture and its result
_DOING = {"restore": "restoring", "upscale": "enlarging", "translate": "translating"}  # what the progress says


@dataclass(frozen=True)
class Places:
    """Where pictures come from, and where results go."""

    source: str  # a picture, a folder, a zip archive or a data set
    out: str | None = None  # the picture to write; a folder, for several
    truth: str | None = None  # where the originals are that results are scored against
    existing: Existing = "refuse"
    count: int | None = None  # only the first so many pictures
    compare: Path | None = None  # of before and after, side by side
    megapixels: float | None = None  # of a picture at most; by what is done with it where none are given


@dataclass(frozen=True)
class Job:
    """What is done with every file."""

    degradation: Degradation | None = None  # degrade the pictures first
    scored: bool = False  # and score the results
    blind: bool = False  # without telling the model how noisy they are
    missing: NDArray[np.bool_] | None = None  # (H, W), true where pixels are to be made up
    quality: int | None = None  # of JPEG, WebP and AVIF
    compared: bool = False  # keep the middle of the first pictures for a look at before and after
    provenance: Provenance = "full"  # what results say of their making


def restore(
    model: Generator | str | Path,
    source: str | Path,
    out: str | Path | None = None,
    *,
    mask: str | Path | None = None,
    sigma: float | None = None,
    truth: str | Path | None = None,
    degrade: str | None = None,
    score: bool = False,
    quality: int | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    count: int | None = None,
    tile: int | None = None,
    max_megapixels: float | None = None,
    seed: int = 0,
    provenance: Provenance = "full",
    display: Display | None = None,
    **options: float | str,
) -> list[Outcome]:
    """Pictures in files through a model that makes images from images: restored, enlarged or translated, whatever it was trained for.

    Args:
        model: What `calotype.load` returns, or the folder of a run.
        source: A picture, a folder with everything in it, a zip archive, or a data set.
        out: The picture to write; a folder, for several. None where results are scored alone.
        mask: Picture that is white where pixels are to be made up, for a model that fills in.
        sigma: Noise level on the scale of 0 to 255, for a model that takes one; it is guessed where none is given.
        truth: Where the originals are, under the names of the pictures: results are scored against them.
        degrade: How the pictures are degraded first, such as ``noise:25``.
        score: Whether results are scored against the pictures before they were degraded.
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 where none is given.
        overwrite: Replace results that exist.
        skip_existing: Leave pictures alone that have a result, and go on with the others.
        count: Only the first so many pictures.
        tile: Pixels a side of the tiles that large pictures are cut into; by memory where none is given.
        max_megapixels: Of a picture at most: 400 where none are given, and 67 for pictures that are degraded first.
        seed: Of all that is random, together with the number of the picture.
        provenance: What results say of their making: all, that a model had a part in it but not how (``minimal``), or nothing (``none``).
        display: Told how far it has come; a bar or lines on stderr where none is given.
        options: Sampling options of the model.

    Raises:
        UserError: where the model does not fit what is asked, where results exist, and where the only picture cannot be used.
        Interrupted: where the user stops it.
    """
    existing = existing_of(overwrite, skip_existing)
    applied = Applied(model if isinstance(model, Generator) else load(model), Way(options, tile, seed, sigma))
    said = None if truth is None else str(truth)
    places = Places(str(source), None if out is None else str(out), said, existing, count, megapixels=max_megapixels)
    missing = None if mask is None else read_mask(Path(mask), most_of(places, degrade is not None))
    given = value("provenance", provenance, Provenance)
    job = Job(None if degrade is None else parse(degrade), score, missing=missing, quality=quality, provenance=given)
    with closing(display or Terminal()) as shown:
        return restore_all(applied, places, job, shown)


def restore_all(applied: Applied, places: Places, job: Job, display: Display, said: Sequence[str] = ()) -> list[Outcome]:
    """Do a job with all the pictures that are named, after everything that could be wrong has been looked at.

    What is random depends on the seed and on the number of the picture. ``said`` is what there is to say before the work.

    Raises:
        UserError: where what is asked does not go together, where results exist, and where the only picture cannot be used.
        Interrupted: where the user stops it.
    """
    _require(applied, places, job)
    most = most_of(places, job.degradation is not None)
    with ExitStack() as stack:
        out = None if places.out is None else Path(places.out)
        inputs = stack.enter_context(open_inputs(places.source, out, places.count, most))
        named = {} if places.out is None else targets(inputs, places.out, places.existing)
        if places.compare is not None:
            require_free(inputs, [places.compare], places.existing, "`compare`")
            if places.compare.resolve() in {place.resolve() for place in named.values()}:
                raise UserError(f"{places.compare} is the place of a result: give another `compare`")
        originals = None
        if places.truth is not None:
            truths = stack.enter_context(open_inputs(places.truth, out, None, applied.source.scale**2 * most))
            originals = Originals(inputs, truths, applied.source.scale, places.truth)
        doubt = None if job.degradation is None else warning(applied.source, job.degradation.spec)
        for line in (*said, *([doubt] if doubt else [])):
            display.say(f"calotype: {line}")
        verb = _DOING[command_for(applied.generator.model, applied.source)]
        work = partial(restore_one, applied, job, originals)
        outcomes = each(inputs, named, work, display, verb, places.existing == "keep", saves="give a smaller `tile`")
    rows = [outcome.row for outcome in outcomes if outcome.row]
    if places.compare is not None and rows:
        pictures.save(sheet(rows), places.compare, applied.generator.made("overview").at(job.provenance))
    tell_unmarked(outcomes, job.provenance, display)
    return outcomes


def most_of(places: Places, degraded: bool) -> int:
    """Pixels of a picture at most: fewer where it is degraded first, which is done with the whole picture in floating point."""
    if places.megapixels is not None:
        return round(places.megapixels * 1e6)
    return MAX_PIXELS if degraded else round(MEGAPIXELS * 1e6)


def _require(applied: Applied, places: Places, job: Job) -> None:
    """Raise `UserError` where what is asked does not go together."""
    scored = job.scored or places.truth is not None
    if places.truth is not None and job.degradation is not None:
        raise UserError("`truth` compares with originals that there are, and `degrade` degrades the pictures first: leave out one of them")
    if job.scored and job.degradation is None and places.truth is None:
        raise UserError(
            "`score` compares with the pictures before they were degraded: say how with `degrade`, such as `degrade=noise:25`, or where "
            "their originals are with `truth`"
        )
    if places.out is None and not scored:
        raise UserError("OUT is missing: say where the results are to go")
    if places.existing == "keep" and places.out is None:
        raise UserError("`skip_existing` goes with OUT, where results may be: without it nothing is there")
    if places.existing == "keep" and (scored or places.compare is not None):
        raise UserError("`skip_existing` does not restore again what has a result: leave it out with `score`, `truth` and `compare`")
    if job.missing is not None and job.degradation is not None:
        raise UserError("`mask` is for pictures in which something is missing already: with `degrade`, say mask:box or mask:half")
    if job.degradation is not None:
        fits(applied, job.degradation)
    else:
        conditioning_channels(applied.source, (1, 1), applied.way.sigma, None if job.missing is None else job.missing[:1, :1])


def restore_one(applied: Applied, job: Job, originals: Originals | None, given: PictureTask) -> None:
    """One picture, all the way: restored, scored where its original is known, and written where it has a place."""
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
    result = _result(picture, pixels, job.degradation is None, applied.restores)
    write(replace(result, marker=_marker(applied, job, given.index).at(job.provenance)), given, job.quality)


_MAKING: dict[str, Making] = {"restore": "restoration", "upscale": "enlargement", "translate": "translation"}  # by command


def _marker(applied: Applied, job: Job, index: int) -> Marker:
    """What a result says of its making."""
    way, fills = applied.way, "mask" in applied.source.conditioning
    asked = {**way.options, "tile": way.tile, "sigma": way.sigma, "degrade": job.degradation and job.degradation.spec}
    options = {name: given for name, given in asked.items() if given is not None}
    making = "inpainting" if fills else _MAKING[command_for(applied.generator.model, applied.source)]
    return applied.generator.made(making, seed=way.seed, index=index, options=options)


def _undo(applied: Applied, given: PictureTask, job: Job, degradation: Degradation) -> NDArray[Any]:
    """A picture degraded and restored; scored by its middle where it is large, and then restored as a whole only where that is written."""
    truth, outcome = given.picture.pixels, given.outcome

    def restored(part: NDArray[Any]) -> tuple[Case, Tensor]:
        case = degraded_case(applied, picture_tensor(part), degradation, given.index, job.blind)
        return case, applied.tensor(case.given, case.conditioning, given.index, given.done)

    part = truth[middle(given.picture.size)] if job.scored else truth
    case, made = restored(part)
    pixels, label = to_pixels(made, truth.dtype), "result"
    if job.scored:
        outcome.scored = score(case, degradation, made, applied.generator.model)
        label = f"result  {outcome.scored.own.psnr:.2f} dB"
    if job.compared and given.index < ROWS:
        before, target = (to_pixels(image, truth.dtype) for image in (case.given, case.truth[0]))
        _compare(job, given, [("input", before), (label, pixels), ("truth", target)])
    if part.shape == truth.shape:
        return pixels
    outcome.notes.append(_by_middle(part.shape))
    del case, made
    return to_pixels(restored(truth)[1], truth.dtype) if given.place is not None else pixels


def _against(applied: Applied, given: PictureTask, made: NDArray[Any], original: Picture, missing: NDArray[np.bool_] | None) -> Scored:
    """A result scored against the original, by its middle where it is large, in the channels that it has."""
    scale, before = applied.source.scale, given.picture.pixels
    rows, columns = middle(given.picture.size, scale)
    larger = tuple(slice(scale * part.start, scale * part.stop) for part in (rows, columns))
    if (part := made[larger]).shape != made.shape:
        given.outcome.notes.append(_by_middle(part.shape))
    result, seen, truth = (picture_tensor(pixels) for pixels in (part, before[rows, columns], original.pixels[larger]))
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


def _compare(job: Job, given: PictureTask, cells: list[tuple[str, NDArray[Any]]]) -> None:
    """Keep the middle of pictures, the second of which is the result, where a look at before and after is asked for."""
    if job.compared and given.index < ROWS:
        tall, wide = cells[1][1].shape[:2]
        row = [(label, cell(pixels, (tall, wide))) for label, pixels in cells]
        given.outcome.row = [(f"{given.outcome.file}: {row[0][0]}", row[0][1]), *row[1:]]


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
