"""``calotype evaluate`` and ``calotype compare``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.parse import parse
from calotype.engine.display import Terminal
from calotype.errors import UserError
from calotype.report.card import Report, to_json
from calotype.report.compare import told
from calotype.report.evaluate import FULL, evaluate, require_alike
from calotype.report.files import save, save_comparison
from calotype.report.words import text


@dataclass(frozen=True)
class Options:
    """Judge a generator: scores with intervals and floors, verdicts with remedies, one page.

    SUBJECT is a run, a model/ folder, or a folder or zip of generated images. A run knows its training images and its holdout; for
    anything else name them, and what needs the one that is missing says CANNOT TELL.

    A model that makes images from images is judged by the pictures that its run held out, or by those of --data in their own sizes: they
    are spoiled, restored, and compared with the truth and with methods that need no training.

    Examples:
    calotype evaluate runs/flow-matching-mnist5k-0001
    calotype evaluate samples/ --data train/ --holdout test/ --out report/
    calotype evaluate runs/denoise-photos-0001 --data set12.zip
    """

    subject: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SUBJECT")]
    data: str | None = None  # the images it was trained on: any source that calotype train takes
    holdout: str | None = None  # real images that it never saw
    count: int = FULL  # images to draw, or to take from the folder; up to 100 to restore where none is given
    features: str | None = None  # digits, random, inception, dinov2, or the run of a classifier; by the images where none is given
    out: Path | None = None  # folder for report.html and report.json; RUN/report, or report, where none is given
    seed: int = 0  # of the noise that images are drawn from
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print report.json


@dataclass(frozen=True)
class CompareOptions:
    """Judge several generators alike and put them on one page, ranked only where their intervals do not overlap.

    Runs of one recipe that differ in their training seed alone are taken together, so that the luck of a seed is not mistaken for a
    better recipe. Models of different families stand side by side with what they take: training, parameters, time and function
    evaluations for an image. Likelihoods of different kinds are not ranked against each other. Restorers that were trained for the
    same damage are compared image by image.

    Examples:
    calotype compare runs/dcgan-mnist5k-0001 runs/rpgan-mnist5k-0001
    calotype compare samples-a/ samples-b/ --data train/ --holdout test/ --out comparison.html
    """

    subjects: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SUBJECT")]
    data: str | None = None  # training images of subjects that are no runs, or to compare runs on other data than their own
    holdout: str | None = None  # real images that none of them saw
    count: int = FULL  # images of each
    features: str | None = None  # as for calotype evaluate
    out: Path = Path("comparison.html")  # the page
    seed: int = 0  # of the noise that images are drawn from
    device: str = "auto"  # auto, cpu, cuda, mps
    quick: bool = False  # leave out what takes long: tighter likelihoods, and quality by the number of function evaluations
    json: bool = False  # print the reports as a JSON list


def run(words: list[str]) -> int:
    """Evaluate; prints the verdicts and where the page is."""
    options = parse(Options, words, "calotype evaluate")
    is_run = (options.subject / "checkpoints").is_dir()
    folder = options.out or (options.subject / "report" if is_run else Path("report"))
    report = _judged(options, options.subject)
    page = save(report, folder)
    print(json.dumps(to_json(report), indent=2) if options.json else text(report, str(page)))
    return 0


def run_compare(words: list[str]) -> int:
    """Compare; prints what can be told apart."""
    options = parse(CompareOptions, words, "calotype compare")
    if len(options.subjects) < 2:
        raise UserError("a comparison needs two subjects or more: calotype compare A B")
    if not options.out.name or options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder: name the page, such as {options.out / 'comparison.html'}")
    require_alike(options.subjects)
    reports = [_judged(options, subject) for subject in options.subjects]
    save_comparison(reports, options.out)
    if options.json:
        print(json.dumps([to_json(report) for report in reports], indent=2))
        return 0
    for report in reports:
        print(f"{report.subject}\n{text(report)}\n")
    print("\n".join([*told(reports), f"page: {options.out}"]))
    return 0


def _judged(options: Options | CompareOptions, subject: Path) -> Report:
    with closing(Terminal()) as display:
        return evaluate(
            subject,
            data=options.data,
            holdout=options.holdout,
            count=options.count,
            features=options.features,
            seed=options.seed,
            device=options.device,
            short=isinstance(options, CompareOptions),
            slow=isinstance(options, Options) or not options.quick,
            say=display.show,
        )
