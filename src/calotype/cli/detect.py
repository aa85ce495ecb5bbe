"""``calotype detect``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from calotype.cli.outcomes import printable_lines
from calotype.cli.outputs import csv_text, require_place, with_suffix
from calotype.cli.parse import parse, run_subcommand
from calotype.cli.shell import Shell
from calotype.data.images import some
from calotype.detect.detector import Detector, load, require_folder
from calotype.detect.score import Judgement, facts, score, table
from calotype.detect.train import COUNT, FALSE_ALARMS, FEWEST, Rate05, train
from calotype.errors import UserError, printable
from calotype.evaluation.result import plain
from calotype.files import unused, write_text
from calotype.report.detector import save_page, told
from calotype.settings import Count, ImageSize, Seed
from calotype.spelling import as_options

USAGE = """usage: calotype detect train REAL GENERATED... | calotype detect score DETECTOR IN...

  train  learn to tell generated images from real ones, and test it on images and generators that it never saw
  score  say of images whether they are generated: REAL, GENERATED or CANNOT TELL

calotype detect train photos/ runs/hinge-photos-0001 runs/vae-photos-0001 others.zip
calotype detect score detector new.jpg more/ --out answers.csv

calotype detect COMMAND --help shows the options."""


@dataclass(frozen=True)
class TrainOptions:
    """Learn to tell generated images from real ones, and test it on images and generators that it never saw.

    All images are made equal first: one size by one resampling, the same compressions. A detector otherwise learns the files and not the
    images. Images are divided in three: training, calibration of probabilities and limits, test; near duplicates go together. With
    two generators or more each is left out once, which says what to expect of generators that nobody knows.

    DETECTOR gets config.json with all results, detector.safetensors and a page, detector.html.

    With --json the content of config.json and "written".

    Examples:
    calotype detect train mnist5k runs/hinge-mnist5k-0001
    calotype detect train photos/ runs/hinge-photos-0001 runs/vae-photos-0001 others.zip --out detector
    """

    real: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]  # any source of images that calotype train takes
    # folders or zips of generated images, and runs or model/ folders, which are drawn from
    generated: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="GENERATED")]
    out: Path | None = None  # folder of the detector, replaced where it is one; else detector, detector-2 ..., whichever is free
    count: Annotated[Count, Field(ge=FEWEST)] = COUNT  # images of each at most; of a model so many are drawn
    # height and width that all are brought to; their own where all images have one, else three quarters of the smallest
    size: Annotated[ImageSize | None, tyro.conf.arg(metavar="PIXELS")] = None
    false_alarms: Rate05 = FALSE_ALARMS  # the share of real images that may be called GENERATED, and of generated ones REAL
    seed: Seed = 0  # of drawn images, of the choice of images and of their parts
    device: str = "auto"  # auto, cpu, cuda, mps: where models draw
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class ScoreOptions:
    """Say of images whether they are generated: REAL, GENERATED or CANNOT TELL.

    CANNOT TELL is the answer between the limits that training chose, and wherever nothing was tested: to images unlike all of training, to
    sizes and compressions beyond the tested ones. REAL means unlike the generators that the detector knows. A file that
    carries Calotype's marker says itself what made it (calotype trace tells all of it); this is told first.

    With --model a model of Calotype is asked, too: how likely an image is to it, and how well it reconstructs it, among its own samples
    and the real images that --real names. It needs a likelihood or an encoder, as VAEs, flows, autoregressive and diffusion models have.

    With --out FILE.csv a line for each image: file, answer, probability, unlike, reason, marker, evidence, error. With --json, and in --out
    FILE.json: {"files": [{"file", "answer", "probability", "unlike", "reason", "marker", "evidence"}], "failed": [{"file", "error"}],
    "trust", "doubt"}. The exit code is 1 where some files could not be read.

    Examples:
    calotype detect score detector new.jpg
    calotype detect score detector more/ --out answers.csv --model runs/vae-photos-0001 --real unseen/
    """

    detector: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DETECTOR")]  # folder, made by calotype detect train
    # pictures, folders with everything in them, zip archives, or data sets such as mnist5k, of which the held-out part is taken
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    out: Path | None = None  # table to write, replaced where it exists: .csv or .json
    count: Count | None = None  # only the first so many images of each IN
    model: Path | None = None  # a run, or a model/ folder, that may have made them
    real: str | None = None  # real images for comparison, with --model, which it did not train on
    device: str = "auto"  # auto, cpu, cuda, mps: where the model computes
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Run one of the two."""
    return run_subcommand(words, "detect", USAGE, COMMANDS)


def _train(words: list[str]) -> int:
    """Train; prints what the test says and where the detector is."""
    options = parse(TrainOptions, words, "calotype detect train")
    out = options.out or unused(Path("detector"))
    require_folder(out)
    with closing(Shell()) as display:
        made = train(
            options.real,
            *options.generated,
            count=options.count,
            size=options.size,
            false_alarms=options.false_alarms,
            seed=options.seed,
            device=options.device,
            display=display,
        )
    made.save(out)
    page = save_page(made.facts, out)
    if options.json:
        print(json.dumps(plain(asdict(made.facts) | {"written": str(out)}), allow_nan=False))
    else:
        print(printable_lines([*told(made.facts), "", f"detector in {out}, page: {page}"]))
    return 0


def _score(words: list[str]) -> int:
    """Score; prints a line for each image, or where the table is."""
    options = parse(ScoreOptions, words, "calotype detect score")
    out = None if options.out is None else with_suffix(options.out, ".csv", (".csv", ".json"))
    if out is not None:
        require_place(out)
    if not options.sources:
        raise UserError("IN is missing: name a picture, a folder, a zip archive or a data set")
    detector = load(options.detector)
    with closing(Shell()) as display:
        found = score(
            detector, *options.sources, model=options.model, real=options.real, count=options.count, device=options.device, display=display
        )
    if out is not None:
        write_text(
            out,
            json.dumps(_tree(found, detector), indent=2, allow_nan=False) + "\n"
            if out.suffix.lower() == ".json"
            else csv_text(table(found)),
        )
    if options.json:
        print(json.dumps(_tree(found, detector), allow_nan=False))
    else:
        print(printable_lines(_said(found, detector, out)))
    return _ended(found)


COMMANDS: dict[str, Callable[[list[str]], int]] = {"train": _train, "score": _score}


def _tree(found: Sequence[Judgement], detector: Detector) -> dict[str, Any]:
    rows = facts(found)
    parts = {"files": [row for row in rows if "error" not in row], "failed": [row for row in rows if "error" in row]}
    tree: dict[str, Any] = plain(parts | {"trust": detector.facts.trust, "doubt": detector.facts.doubt})
    return tree


def _said(found: Sequence[Judgement], detector: Detector, out: Path | None) -> list[str]:
    """The result for people."""
    done = [one for one in found if not one.error]
    width = max((len(one.file) for one in done), default=0)
    lines = []
    if out is None:
        for one in done:
            lines += [f"{one.file:<{width}}  {one.marker}"] if one.marker else []
            belief = "" if one.probability is None else f"  {100 * one.probability:.1f}% generated"
            lines.append(f"{one.file:<{width}}  {one.answer or '':<11}{belief}" + (f"  ({one.reason})" if one.reason else ""))
            lines += [f"{'':<{width}}  {evidence}" for evidence in one.evidence]
    else:
        lines.append(f"{some(len(done), 'image')} in {out}")
    if done:
        counts = [(which, sum(one.answer == which for one in done)) for which in ("REAL", "GENERATED", "CANNOT TELL")]
        lines += ["", ", ".join(f"{which} {count:,}" for which, count in counts) + f" of {some(len(done), 'image')}"]
        rate = 100 * detector.facts.limits.false_alarms
        lines.append(
            "percentages are for as many generated as real images; limits were chosen so that on average "
            f"at most {rate:.3g}% of images like its own get the wrong answer"
        )
        lines += filter(None, [detector.facts.trust, detector.facts.doubt])
    return lines


def _ended(found: Sequence[Judgement]) -> int:
    """Say what failed; returns the exit code."""
    failed = [one for one in found if one.error]
    if failed:
        print(f"calotype: {len(failed)} of {some(len(found), 'image')} failed:", file=sys.stderr)
        for one in failed:
            print(f"  {printable(one.file)}: {as_options(one.error)}", file=sys.stderr)
    return 1 if failed else 0
