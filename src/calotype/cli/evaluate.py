"""``calotype evaluate`` and ``calotype compare``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.fit import check_options
from calotype.engine.run import Run
from calotype.evaluation.evaluate import evaluate_alike, opened, require_alike
from calotype.evaluation.request import Request
from calotype.evaluation.result import to_json
from calotype.files import unused
from calotype.report.compare import told
from calotype.report.files import require_folder, require_page, save, save_comparison
from calotype.report.text import text
from calotype.settings import Count, ImageSize, Seed

Size = Annotated[ImageSize | None, tyro.conf.arg(metavar="PIXELS")]
FitOption = Literal["crop", "pad", "stretch"] | None


@dataclass(frozen=True)
class Options:
    """Judge a generator: scores with intervals and real-vs-real baselines, verdicts with remedies, one page.

    SUBJECT is a run, a model/ folder, or a folder or zip of generated images. A run knows its training images and its holdout; for
    anything else name them, and what needs the one that is missing says CANNOT TELL.

    A model that makes images from images is judged by the pictures that its run held out, or by those of --data in their own sizes: they
    are degraded, restored, and compared with the truth and with methods that need no training.

    A classifier is judged by the labelled images that its run held out, or by those of --holdout: accuracy with exact intervals, what is
    taken for what, how far its probabilities are true, and which labels are doubtful. A model that draws and classifies is judged as both.

    With --cas a model that can be asked for a class has its images teach a classifier, which is then asked for held-out real images.

    Examples:
    calotype evaluate runs/flow-matching-mnist5k-0001
    calotype evaluate runs/flow-matching-mnist5k-0001 --cas
    calotype evaluate samples/ --data train/ --holdout test/ --out report/
    calotype evaluate runs/denoise-photos-0001 --data set12.zip
    """

    subject: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SUBJECT")]
    data: str | None = None  # the images it was trained on: any source that calotype train takes
    holdout: str | None = None  # real images that it never saw; for a classifier, with a folder for each class
    count: Count | None = None  # images to draw, or to take from the folder; 2,000 where none is given, and up to 100 to restore
    features: str | None = None  # digits, photos, photos-full, random, inception, dinov2, or the run of a classifier; by the images without
    size: Size = None  # height and width at which images are compared; that of the generated ones where none is given
    fit: FitOption = None  # how images that are no squares become so; crop where none is given
    out: Path | None = None  # folder for report.html and report.json, replaced where they exist; else RUN/report, or a new folder report
    cas: bool = False  # of a model that draws classes: train a classifier on its images, and the same one on real images
    seed: Seed = 0  # of the noise that images are drawn from
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
    count: Count | None = None  # images of each; 2,000 where none is given, and up to 24 to restore
    features: str | None = None  # as for calotype evaluate
    size: Size = None  # as for calotype evaluate
    fit: FitOption = None  # as for calotype evaluate
    out: Path | None = None  # the page, replaced where it exists; else comparison.html, comparison-2.html ..., whichever is free
    seed: Seed = 0  # of the noise that images are drawn from
    device: str = "auto"  # auto, cpu, cuda, mps
    quick: bool = False  # leave out what takes long: tighter likelihoods, and quality by the number of function evaluations
    json: bool = False  # print the reports as a JSON list


def run(words: list[str]) -> int:
    """Evaluate; prints the verdicts and where the page is."""
    options = parse(Options, words, "calotype evaluate")
    is_run = (options.subject / "checkpoints").is_dir()
    folder = options.out or (options.subject / "report" if is_run else unused(Path("report")))
    require_folder(folder)
    with closing(Shell()) as display:
        report = opened(options.subject, _request(options, display))()
    page = save(report, folder)
    if is_run and options.out is None:
        Run(options.subject).tell_judgement(to_json(report))
    print(json.dumps(to_json(report), indent=2) if options.json else text(report, str(page)))
    return 0


def run_compare(words: list[str]) -> int:
    """Compare; prints what can be told apart."""
    options = parse(CompareOptions, words, "calotype compare")
    out = options.out or unused(Path("comparison.html"))
    require_page(out)
    require_alike(options.subjects, options.data)
    with closing(Shell()) as display:
        reports = evaluate_alike(options.subjects, replace(_request(options, display), slow=not options.quick))
    save_comparison(reports, out)
    if options.json:
        print(json.dumps([to_json(report) for report in reports], indent=2))
        return 0
    for report in reports:
        print(f"{report.subject}\n{text(report)}\n")
    print("\n".join([*told(reports), f"page: {out}"]))
    return 0


def _request(options: Options | CompareOptions, display: Shell) -> Request:
    check_options(options.size, None, options.fit or "crop")
    return Request(
        data=options.data,
        holdout=options.holdout,
        count=options.count,
        features=options.features,
        size=options.size,
        fit=options.fit,
        seed=options.seed,
        device=options.device,
        cas=isinstance(options, Options) and options.cas,
        say=display.show,
        tell=display.say,
    )
