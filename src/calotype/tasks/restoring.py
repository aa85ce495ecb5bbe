"""Pictures that a user names through a model that makes images from images: what the command line and Python share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from calotype import degrade, pictures
from calotype.data.decode import MAX_PIXELS
from calotype.engine.display import Display, Terminal
from calotype.errors import UserError
from calotype.tasks.batch import Job, Outcome, read_mask, restore_files
from calotype.tasks.before_after import sheet
from calotype.tasks.inputs import open_inputs
from calotype.tasks.originals import Originals
from calotype.tasks.places import Existing, existing_of, require_free, targets
from calotype.tasks.restore import Applied, Way, warning
from calotype.tasks.sample import Generator, load
from calotype.tasks.score import fits

MEGAPIXELS = 400.0  # of a picture at most, where none are given: tiles bound what the network takes, not the picture and its result


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


def restore(
    model: Generator | str | Path,
    source: str | Path,
    out: str | Path | None = None,
    *,
    mask: str | Path | None = None,
    sigma: float | None = None,
    truth: str | Path | None = None,
    degraded: str | None = None,
    score: bool = False,
    quality: int | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    count: int | None = None,
    tile: int | None = None,
    max_megapixels: float | None = None,
    seed: int = 0,
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
        degraded: How the pictures are degraded first, such as ``noise:25``.
        score: Whether results are scored against the pictures before they were degraded.
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 where none is given.
        overwrite: Replace results that exist.
        skip_existing: Leave pictures alone that have a result, and go on with the others.
        count: Only the first so many pictures.
        tile: Pixels a side of the tiles that large pictures are cut into; by memory where none is given.
        max_megapixels: Of a picture at most: 400 where none are given, and 67 for pictures that are degraded first.
        seed: Of all that is random, together with the number of the picture.
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
    missing = None if mask is None else read_mask(Path(mask), most_of(places, degraded is not None))
    job = Job(None if degraded is None else degrade.parse(degraded), score, missing=missing, quality=quality)
    with closing(display or Terminal()) as shown:
        return restore_all(applied, places, job, shown)


def restore_all(
    applied: Applied, places: Places, job: Job, display: Display, verb: str = "working", said: Sequence[str] = ()
) -> list[Outcome]:
    """Do a job with all the pictures that are named, after everything that could be wrong has been looked at.

    ``verb`` is what the progress says, and ``said`` what there is to say before it.

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
        outcomes = restore_files(applied, inputs, named, job, display, verb, originals=originals, keeps=places.existing == "keep")
    rows = [outcome.row for outcome in outcomes if outcome.row]
    if places.compare is not None and rows:
        pictures.save(sheet(rows), places.compare)
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
