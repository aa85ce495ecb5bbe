"""``calotype restore`` and ``calotype upscale``; `calotype.cli.translate` shares what they do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from calotype import degrade, pictures
from calotype.cli.parse import parse
from calotype.cli.sample import picture_name, require_place
from calotype.data.images import some
from calotype.engine.display import Terminal
from calotype.errors import UserError, printable
from calotype.settings import Count, Quality, Seed, Sigma, Width
from calotype.tasks.batch import Job, Outcome, read_mask, restore_files
from calotype.tasks.before_after import sheet
from calotype.tasks.inputs import open_inputs
from calotype.tasks.places import Existing, require_free, targets
from calotype.tasks.restore import Applied, Way, warning
from calotype.tasks.sample import load
from calotype.tasks.score import Scored, Scores, fits, mean, means, remarks
from calotype.tasks.tiles import SMALLEST

_MODEL = tyro.conf.arg(metavar="MODEL")
_IN = tyro.conf.arg(metavar="IN")
_OUT = tyro.conf.arg(metavar="OUT")


@dataclass(frozen=True)
class Common:
    """What all commands that make pictures of pictures have in common."""

    model: Annotated[Path, tyro.conf.Positional, _MODEL]  # a run, or a model/ folder
    # a picture, a folder with everything in it, a zip archive, or a data set such as photos, of which the held-out part is taken
    source: Annotated[str, tyro.conf.Positional, _IN]
    out: Annotated[str | None, tyro.conf.Positional, _OUT] = None  # the picture to write; a folder, for several
    tile: Width | None = None  # pixels a side of the tiles that large pictures are cut into; by memory where none is given
    quality: Quality | None = None  # 1 to 100, of JPEG, WebP and AVIF: 95 where none is given
    overwrite: bool = False  # replace results that exist; the pictures themselves are never overwritten
    compare: Path | None = None  # write a picture of before and after, side by side, of up to six files
    count: Count | None = None  # only the first so many pictures
    seed: Seed = 0  # of all that is random, together with the number of the picture
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class Restore(Common):
    """Mend pictures with a trained model: denoise, deblur, fill in, enhance, color or enlarge them, whatever it was trained for.

    Pictures may have any size; depth (8 or 16 bits), grey or color, transparency, EXIF data and color profile are kept. Results have
    the format that their name says, and in a folder the names of the pictures. OUT may be left out with --score.

    With --degrade the pictures are spoiled first, with noise keyed by --seed and the number of the picture, and with --score the
    results are compared with them: PSNR and SSIM beside what needs no training, in the convention that fits.

    With --json: {"files": [{"file", "height", "width", "written", "notes"}], "failed": [{"file", "error"}], "degrade", "seed", "compare"}.
    With --score each file has SCORES and "baselines": {NAME: SCORES} and "convention", and so has "mean", with "notes" on what does
    not count in it. SCORES are "psnr" (null where exact), "ssim", "ms_ssim" (null for small pictures) and "perceptual".

    --prior makes another command of it, which takes any diffusion or flow-matching model: calotype restore --prior MODEL --help.

    Examples:
    calotype restore runs/denoise-photos-0001 noisy.jpg clean.png --sigma 25
    calotype restore runs/denoise-photos-0001 photos/ clean/
    calotype restore runs/denoise-photos-0001 photos --degrade noise:25 --score --compare before-after.png
    """

    sigma: Sigma | None = None  # noise level of the pictures, on the scale of 0 to 255, for a model that takes one; else it is guessed
    mask: Path | None = None  # picture that is white where pixels are to be made up, for a model that fills in
    # spoil the pictures first: noise:25, blur:1.6, downsample:3, mask:half, jpeg:30, gray ..., joined by +
    degrade: str | None = None
    score: bool = False  # score the results against the pictures before they were spoiled
    blind: bool = False  # with --degrade: do not tell the model how noisy the pictures are


@dataclass(frozen=True)
class Upscale(Common):
    """Make pictures larger with a trained model, by the factor that it was trained for.

    Pictures may have any size; depth (8 or 16 bits), grey or color, transparency, EXIF data and color profile are kept. Results have
    the format that their name says, and in a folder the names of the pictures. OUT may be left out with --score.

    With --score the pictures are made smaller first (bicubic, as MATLAB does it, or as --degrade says), and the enlarged ones
    compared with them: calotype restore --help says how.

    Examples:
    calotype upscale runs/upscale-photos-0001 small.jpg large.png
    calotype upscale runs/upscale-photos-0001 photos/ large/
    calotype upscale runs/upscale-photos-0001 set5/ --score
    """

    degrade: str | None = None  # spoil the pictures first: downsample:3, blur:1.6+downsample:3, for example
    score: bool = False  # score the results against the pictures before they were made smaller


@dataclass(frozen=True)
class Extras:
    """What only some of the commands know."""

    verb: str  # what the progress says
    options: dict[str, float | str]
    degrade: str | None = None
    score: bool = False
    sigma: float | None = None
    mask: Path | None = None
    blind: bool = False


def run(words: list[str]) -> int:
    """Restore; prints where the results are, or how good they are."""
    if any(word == "--prior" or word.startswith("--prior=") for word in words):
        from calotype.cli import prior

        return prior.run(words)
    options = parse(Restore, words, "calotype restore")
    if options.blind and not options.degrade:
        raise UserError("--blind goes with --degrade: without it the model is told no more than --sigma says")
    if options.blind and options.sigma is not None:
        raise UserError("--blind tells the model no noise level, and --sigma tells it one: leave out one of them")
    extras = Extras("restoring", {}, options.degrade, options.score, options.sigma, options.mask, options.blind)
    return work(options, extras)


def run_upscale(words: list[str]) -> int:
    """Make larger; prints where the results are, or how good they are."""
    options = parse(Upscale, words, "calotype upscale")

    def check(applied: Applied) -> Extras:
        scale = applied.source.scale
        if scale == 1:
            raise UserError(
                f"{options.model} keeps the size of pictures: give it to calotype restore, or train with calotype train upscale"
            )
        asked = options.degrade or (f"downsample:{scale}" if options.score else None)
        return Extras("enlarging", {}, asked, options.score)

    return work(options, check)


def work(options: Common, extras: Extras | Callable[[Applied], Extras]) -> int:
    """Load the model, apply it to all pictures, tell what became of them; the exit code is 1 where some failed."""
    if options.tile is not None and options.tile < SMALLEST:
        raise UserError(f"--tile {options.tile} is too small: give {SMALLEST} or more")
    generator = load(options.model, options.device)
    if callable(extras):
        extras = extras(Applied(generator))
    if extras.score and not extras.degrade:
        raise UserError("--score compares with the pictures before they were spoiled: say how with --degrade, such as --degrade noise:25")
    if options.out is None and not extras.score:
        raise UserError("OUT is missing: say where the results are to go")
    applied = Applied(generator, Way(extras.options, options.tile, options.seed, extras.sigma))
    degradation = None if extras.degrade is None else degrade.parse(extras.degrade)
    if degradation is not None:
        fits(applied, degradation)
        if said := warning(applied.source, degradation.spec):
            print(f"calotype: {said}", file=sys.stderr)
    missing = None if extras.mask is None else read_mask(extras.mask)
    if missing is not None and degradation is not None:
        raise UserError("--mask is for pictures in which something is missing already: with --degrade, say mask:box or mask:half")
    compare = options.compare and picture_name(options.compare)
    if compare is not None:
        require_place(compare)
    job = Job(degradation, extras.score, extras.blind, missing, options.quality, compare is not None)
    out = None if options.out is None else Path(options.out)
    existing: Existing = "replace" if options.overwrite else "refuse"
    with open_inputs(options.source, out, options.count) as inputs, closing(Terminal()) as display:
        places = {} if options.out is None else targets(inputs, options.out, existing)
        if compare is not None:
            require_free(inputs, [compare], existing, "--compare")
            if compare.resolve() in {place.resolve() for place in places.values()}:
                raise UserError(f"{compare} is the place of a result: give another --compare")
        outcomes = restore_files(applied, inputs, places, job, display, extras.verb)
    rows = [outcome.row for outcome in outcomes if outcome.row]
    if compare is not None and rows:
        pictures.save(sheet(rows), compare)
    compare = compare if rows else None
    facts = _facts(outcomes, options, degradation.spec if degradation else None, compare)
    print(json.dumps(facts) if options.json else _told(outcomes, options, degradation.spec if degradation else None, compare))
    return ended(outcomes)


def _facts(outcomes: Sequence[Outcome], options: Common, spec: str | None, compare: Path | None) -> dict[str, Any]:
    """Everything, for a machine."""
    files = []
    for outcome in outcomes:
        if outcome.error:
            continue
        row: dict[str, Any] = {"file": outcome.file, "height": outcome.size[0], "width": outcome.size[1]}
        row |= {"written": str(outcome.written) if outcome.written else None, "notes": outcome.notes}
        files.append({**row, **outcome.scored.as_json()} if outcome.scored else row)
    scored = [outcome.scored for outcome in outcomes if outcome.scored]
    facts: dict[str, Any] = {"files": files}
    if scored:
        facts["mean"] = mean(scored)
    failed = [{"file": outcome.file, "error": outcome.error} for outcome in outcomes if outcome.error]
    return {**facts, "failed": failed, "degrade": spec, "seed": options.seed, "compare": str(compare) if compare else None}


def _told(outcomes: Sequence[Outcome], options: Common, spec: str | None, compare: Path | None) -> str:
    """The same for people."""
    lines = []
    scored = {outcome.file: outcome.scored for outcome in outcomes if outcome.scored}
    if scored:
        every = list(scored.values())
        lines += [*_table(scored), "", "PSNR in dB, SSIM, perceptual distance (less is better)"]
        lines.append(f"{spec}, seed {options.seed}; {means(every).convention}")
        lines += remarks(every) if len(every) > 1 else []
    lines += written(outcomes, None if options.out is None else Path(options.out))
    if compare is not None:
        lines.append(f"before and after in {compare}")
    return "\n".join(lines)


def written(outcomes: Sequence[Outcome], out: Path | None) -> list[str]:
    """Where the results are, in words."""
    done = [outcome for outcome in outcomes if outcome.written]
    if len(done) == 1:
        height, width = done[0].size
        return [f"{printable(str(done[0].written))}: {width}x{height}"]
    return [f"{some(len(done), 'picture')} in {printable(str(out))}"] if done else []


def _table(scored: dict[str, Scored]) -> list[str]:
    """Scores, a line for each file and one for the mean."""
    whole = means(list(scored.values()))
    names = list(whole.baselines)
    rows = [*scored.items(), *([("mean", whole)] if len(scored) > 1 else [])]
    table = [["", "result", *names]]
    table += [[label, *(_words(one) for one in (row.own, *(row.baselines[name] for name in names)))] for label, row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return ["  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]) for line in table]


def _words(scores: Scores) -> str:
    near = "" if scores.perceptual is None else f" {scores.perceptual:.3f}"
    return f"{scores.psnr:.2f} {scores.ssim:.4f}{near}".replace("inf", "exact").replace("nan", "-")


def ended(outcomes: Sequence[Outcome]) -> int:
    """Say what was lost and what failed; returns the exit code."""
    for outcome in outcomes:
        for note in outcome.notes:
            print(f"calotype: {outcome.file}: {note}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        print(f"calotype: {len(failed)} of {some(len(outcomes), 'picture')} failed:", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.file}: {outcome.error}", file=sys.stderr)
    return 1 if failed else 0
