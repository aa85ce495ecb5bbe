"""``calotype restore`` and ``calotype upscale``; `calotype.cli.translate` shares what they do."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype import degrade
from calotype.cli.outcomes import About, ended, facts, stopped, told
from calotype.cli.outputs import picture_name, require_place
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.engine.model_card import command_for
from calotype.errors import UserError
from calotype.provenance.marker import Provenance
from calotype.settings import CompressionQuality, Count, Positive, Seed, Sigma, Width
from calotype.tasks.batch import Interrupted, read_mask
from calotype.tasks.places import existing_of
from calotype.tasks.restore import Applied, Way, source_spec
from calotype.tasks.restoring import Job, Places, most_of, restore_all
from calotype.tasks.sample import Generator, load
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
    quality: CompressionQuality | None = None  # 1 to 100, of JPEG, WebP and AVIF: 95 where none is given
    overwrite: bool = False  # replace results that exist; the pictures themselves are never overwritten
    skip_existing: bool = False  # leave pictures alone that have a result, and go on with the others: what continues a folder
    truth: str | None = None  # originals of the pictures, under their names: score the results against them; nothing is degraded
    compare: Path | None = None  # write a picture of before and after, side by side, of up to six files
    count: Count | None = None  # only the first so many pictures
    max_megapixels: Positive | None = None  # of a picture at most: 400 where none are given, 67 with --degrade
    seed: Seed = 0  # of all that is random, together with the number of the picture
    provenance: Provenance = "full"  # what results say of their making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class Restore(Common):
    """Restore pictures with a trained model: denoise, deblur, fill in, enhance or color them, whatever it was trained for.

    Pictures may have any size; depth (8 or 16 bits), gray or color, transparency, EXIF data and color profile are kept. Results have
    the format that their name says, and in a folder the names of the pictures. OUT may be left out with --score.

    With --degrade the pictures are degraded first, with noise keyed by --seed and the number of the picture, and with --score the
    results are compared with them: PSNR and SSIM beside what needs no training, in the convention that fits.

    With --json: {"files": [{"file", "height", "width", "written", "notes"}], "failed": [{"file", "error"}], "degrade", "seed", "compare"}.
    With --score each file has SCORES and "baselines": {NAME: SCORES} and "convention", and so has "mean", with "notes" on what does
    not count in it. SCORES are "psnr" (null where exact), "ssim", "ms_ssim" (null for small pictures) and "perceptual".

    --prior MODEL makes another command of it, which takes any model that draws images and says with --task what was done to them
    (inpaint, deblur, super-resolve ...), with --samples how many possible originals to draw, with --method how, and more: calotype restore
    --prior --help lists all.

    Examples:
    calotype restore runs/denoise-photos-0001 noisy.jpg clean.png --sigma 25
    calotype restore runs/denoise-photos-0001 photos/ clean/
    calotype restore runs/denoise-photos-0001 photos --degrade noise:25 --score --compare before-after.png
    """

    sigma: Sigma | None = None  # noise level of the pictures, on the scale of 0 to 255, for a model that takes one; else it is guessed
    mask: Path | None = None  # picture that is white where pixels are to be made up, for a model that fills in
    # degrade the pictures first: noise:25, blur:1.6, downsample:3, mask:half, jpeg:30, gray ..., joined by +
    degrade: str | None = None
    score: bool = False  # score the results against the pictures before they were degraded
    blind: bool = False  # with --degrade: do not tell the model how noisy the pictures are


@dataclass(frozen=True)
class Upscale(Common):
    """Make pictures larger with a trained model, by the factor that it was trained for.

    Pictures may have any size; depth (8 or 16 bits), gray or color, transparency, EXIF data and color profile are kept. Results have
    the format that their name says, and in a folder the names of the pictures. OUT may be left out with --score.

    With --score the pictures are made smaller first (bicubic, as MATLAB does it, or as --degrade says), and the enlarged ones
    compared with them: calotype restore --help says how.

    Examples:
    calotype upscale runs/upscale-photos-0001 small.jpg large.png
    calotype upscale runs/upscale-photos-0001 photos/ large/
    calotype upscale runs/upscale-photos-0001 set5/ --score
    """

    degrade: str | None = None  # degrade the pictures first: downsample:3, blur:1.6+downsample:3, for example
    score: bool = False  # score the results against the pictures before they were made smaller


_RECIPE = {"restore": "denoise", "upscale": "upscale", "translate": "cyclegan"}  # that trains a model for a command


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
    generator = opened("restore", options)
    applied = Applied(generator, Way(tile=options.tile, seed=options.seed, sigma=options.sigma))
    return work("restore", words, options, applied, options.degrade, options.score, mask=options.mask, blind=options.blind)


def run_upscale(words: list[str]) -> int:
    """Make larger; prints where the results are, or how good they are."""
    options = parse(Upscale, words, "calotype upscale")
    applied = Applied(opened("upscale", options), Way(tile=options.tile, seed=options.seed))
    smaller = f"downsample:{applied.source.scale}" if options.score and options.truth is None else None
    return work("upscale", words, options, applied, options.degrade or smaller, options.score)


def work(
    command: str,
    words: list[str],
    options: Common,
    applied: Applied,
    degraded: str | None,
    score: bool,
    *,
    mask: Path | None = None,
    blind: bool = False,
    said: tuple[str, ...] = (),
) -> int:
    """Apply a model to all pictures, tell what became of them; the exit code is 1 where some failed.

    ``degraded`` and what follows are the options that not all commands have; ``said`` is told before the work begins.
    """
    existing = existing_of(options.overwrite, options.skip_existing)
    degradation = None if degraded is None else degrade.parse(degraded)
    compare = options.compare and picture_name(options.compare)
    if compare is not None:
        require_place(compare)
    places = Places(options.source, options.out, options.truth, existing, options.count, compare, options.max_megapixels)
    missing = None if mask is None else read_mask(mask, most_of(places, degradation is not None))
    job = Job(degradation, score, blind, missing, options.quality, compare is not None, options.provenance)
    with closing(Shell()) as display:
        try:
            outcomes = restore_all(applied, places, job, display, said)
        except Interrupted as stop:
            goes_on = existing != "replace" and not job.scored and options.truth is None and compare is None
            raise KeyboardInterrupt(stopped(stop, ["calotype", command, *words], options.out, options.skip_existing, goes_on)) from None
    about = About(
        None if options.out is None else Path(options.out),
        degradation.spec if degradation else None,
        options.truth,
        options.seed,
        compare if any(outcome.row for outcome in outcomes) else None,
    )
    print(json.dumps(facts(outcomes, about)) if options.json else told(outcomes, about))
    return ended(outcomes)


def opened(command: str, options: Common) -> Generator:
    """The model that is named. Raises `UserError` for one that another command puts to work, and for tiles that are too small."""
    if options.tile is not None and options.tile < SMALLEST:
        raise UserError(f"--tile {options.tile} is too small: give {SMALLEST} or more")
    generator = load(options.model, options.device)
    source = source_spec(generator)
    right = command_for(generator.model, source)
    if right == command:
        return generator
    does = {
        "restore": "restores pictures in the size that they have",
        "upscale": f"makes pictures {source.scale} times larger",
        "translate": "translates pictures of one kind into another",
    }[right]
    raise UserError(
        f"{options.model} {does}: give it to calotype {right}, or train for calotype {command}: calotype train {_RECIPE[command]}"
    )
