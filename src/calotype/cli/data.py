"""``calotype data check`` and ``calotype data prepare``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from calotype.cli.check_text import describe
from calotype.cli.parse import parse, run_subcommand
from calotype.cli.shell import Shell
from calotype.data import check, prepare, toy
from calotype.data.check import DataCheck
from calotype.data.images import some
from calotype.data.prepared import prepared_path
from calotype.engine.display import progress
from calotype.engine.expected import minutes
from calotype.recipes.choice import Advice, RecognitionAdvice, configured, of_check, recognition_of_check
from calotype.settings import ImageSize
from calotype.spelling import spelled

USAGE = """usage: calotype data check SOURCE | calotype data prepare SOURCE OUT

  check    look at every image: sizes, modes, classes, duplicates, unusable files, and what to train on it
  prepare  write one file that loads at once, however many images it holds

calotype data check photos/
calotype data prepare photos.zip photos.calotype --size 64

calotype data check --help and calotype data prepare --help show the options."""

_ABOUT = (
    "a folder, a zip, an embedded name (mnist5k, clothing, photos), mnist, fashion-mnist, cifar10, a testbed (ring, grid, stacked5k), or a "
    "prepared file"
)
SourceArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE", help=_ABOUT)]


@dataclass(frozen=True)
class CheckOptions:
    """Look at every image of a source before training on it.

    Reports sizes, modes, classes, exact and near duplicates and files that cannot be used, and recommends size, recipe and batch; where
    there are classes, what learns to tell them apart, too.

    Example:
    calotype data check photos/
    """

    source: SourceArgument
    json: bool = False  # print as JSON


@dataclass(frozen=True)
class PrepareOptions:
    """Decode all images of a source once, into one memory-mapped file that --data takes.

    Example:
    calotype data prepare photos.zip photos.calotype --size 64
    """

    source: SourceArgument
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]  # the file to write; its name ends in .calotype, or will
    size: ImageSize | None = None  # height and width in pixels; the source's own where none is given
    channels: Literal[1, 3] | None = None  # the source's own where none is given
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how an image that is not square becomes so
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Run one of the two."""
    return run_subcommand(words, "data", USAGE, COMMANDS)


def _check(words: list[str]) -> int:
    options = parse(CheckOptions, words, "calotype data check")
    if options.source in toy.POINTS:
        about = toy.PointSource(toy.POINTS[options.source]).about
        facts = {"source": options.source, "kind": "points", "about": about}
        print(json.dumps(facts) if options.json else f"{about}; nothing to check: calotype train points --data {options.source}")
        return 0
    with closing(Shell()) as display:
        found = check(options.source, progress=progress(display.show, "looking"), compared=partial(display.show, "comparing"))
        advice, recognition = of_check(found), recognition_of_check(found)
        display.say("timing the recipe that is advised ...")
        expected = minutes(configured(advice), len(found.classes))
    if options.json:
        print(json.dumps(_as_json(found, advice, expected, recognition)))
    else:
        print("\n".join(describe(found, advice, expected, recognition)))
    return 0


def _as_json(found: DataCheck, advice: Advice, expected: float | None, recognition: RecognitionAdvice | None) -> dict[str, Any]:
    advised = asdict(advice) | {"reasons": spelled(advice.reasons), "minutes": None if expected is None else round(expected, 1)}
    return (
        found.to_dict()
        | {"notes": spelled(found.notes), "advice": advised}
        | ({} if recognition is None else {"recognition": asdict(recognition)})
    )


def _prepare(words: list[str]) -> int:
    options = parse(PrepareOptions, words, "calotype data prepare")
    with closing(Shell()) as display:
        images = prepare(
            options.source,
            options.out,
            size=options.size,
            channels=options.channels,
            fit=options.fit,
            progress=progress(display.show, "preparing"),
        )
    out = prepared_path(options.out)
    facts = {"out": str(out), "images": len(images), "fingerprint": images.fingerprint, "skipped": len(images.skipped)}
    if options.json:
        print(json.dumps(facts))
    else:
        shape = f"{images.spec.size}x{images.spec.size}x{images.spec.channels}"
        print(f"{some(len(images), 'image')} of {shape} in {out}, {some(len(images.skipped), 'file')} skipped")
    return 0


COMMANDS = {"check": _check, "prepare": _prepare}
