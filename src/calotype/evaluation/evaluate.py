"""From a subject to a report: draw, measure, judge."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import calotype
from calotype.data.fit import Fit
from calotype.diagnose.sharpness import together
from calotype.diagnose.verdict import Verdict, cannot_tell, conclude, fitting, of_files
from calotype.engine.display import Say, Terminal, progress
from calotype.errors import UserError
from calotype.evaluation import cost, evidence, likelihoods, result
from calotype.evaluation.checks import OF_IMAGES, Findings, of_images, of_training
from calotype.evaluation.reference_set import RealImages, ReferenceSet, TooFewReals, drawn_in, enough
from calotype.evaluation.request import LONGEST, Request
from calotype.evaluation.scores import in_features, overfitting, published, score_all
from calotype.evaluation.target import Subject, draw, open_subject, run_of
from calotype.evaluation.wording import space_in_words
from calotype.metrics.frechet import check_count
from calotype.models import MODELS, stored
from calotype.types import Source

WORTH = 0.01  # share of training images that repeat others from which on a reader is told


def evaluate(
    path: str | Path,
    *,
    data: str | None = None,
    holdout: str | None = None,
    count: int | None = None,
    features: str | None = None,
    size: int | None = None,
    fit: Fit | None = None,
    seed: int = 0,
    device: str = "auto",
    short: bool = False,
    slow: bool | None = None,
    longest: float = LONGEST,
    say: Say | None = None,
) -> result.Report:
    """Judge a run, a model or a folder of images.

    Args:
        path: A run, a ``model/`` folder, or a folder or zip of generated images.
        data: Source of the training images; a run knows its own.
        holdout: Source of real images that the generator never saw; a run knows its own.
        count: Images to draw, or to take from the folder: 2,000 where none is given, 400 in a short report.
        features: Feature space (`calotype.metrics.features.pick`).
        size: Pixels a side at which images are compared: that of the generated ones where none is given.
        fit: How images that are no squares become so: ``crop`` where none is given.
        seed: Of the noise that images are drawn from, and of everything random in the evaluation.
        device: Where a model draws.
        short: Leave out the planted ladder and the extrapolation.
        slow: Ask for likelihoods that take long, and draw with several numbers of function evaluations; not in a short report.
        longest: Seconds that the latter may take.
        say: Called with (what, done, total) as the work goes on; a bar or lines on stderr where none is given.

    Raises:
        UserError: where there is nothing to judge, and for too few images for the feature space.
    """
    slow = not short if slow is None else slow
    with closing(Terminal()) as display:
        wanted = Request(data, holdout, count, features, size, fit, True, seed, device, short, slow, longest, say or display.show)
        return opened(path, wanted)()


def opened(path: str | Path, request: Request) -> Callable[[], result.Report]:
    """The work of `evaluate`, after everything that may be wrong with what it is given has been looked at.

    Raises:
        UserError: as `evaluate` does, but before anything is drawn.
    """
    if source_of(Path(path)) is not None:
        from calotype.evaluation import restoration

        work = restoration.opened(Path(path), request)
        return lambda: replace(work(), command=_command(path, request), versions=versions())
    subject = open_subject(Path(path), request)
    lacking: list[TooFewReals] = []
    try:
        if subject.train is not None:
            enough(subject.train, subject.holdout, subject.count, request.features)
    except TooFewReals as error:
        if subject.generator is None:
            raise
        lacking.append(error)
    return lambda: _judged(path, subject, request, lacking)


def _judged(path: str | Path, subject: Subject, request: Request, lacking: Sequence[TooFewReals]) -> result.Report:
    seed, say = request.seed, request.say
    subject = draw(subject, seed, say)
    report, about_model = _by_itself(subject, seed, request.slow, say)
    report = replace(report, command=_command(path, request), short=request.short)
    if subject.train is None or lacking:
        return _without_reals(report, subject, about_model, lacking)
    against = ReferenceSet.of(subject, request.features, seed, say)
    report = _against(against, subject, report, about_model, say)
    return replace(report, evaluations=cost.curve(subject, against, seed, request.longest, say)) if request.slow else report


def _command(path: str | Path, request: Request) -> str:
    """What repeats the evaluation, and makes the full report of a short one."""
    named = ("data", "holdout", "features", "count", "size", "fit", "seed")
    asked = [(f"--{name}", str(value)) for name in named if (value := getattr(request, name)) is not None]
    return shlex.join(["calotype", "evaluate", str(path), *(word for option in asked for word in option)])


def source_of(path: Path) -> Source | None:
    """What the model of a run or folder makes images from: then it is judged against the truth; None where it draws."""
    if stored.folder_of(path) is None:
        return None
    return stored.find(path).starts_from


def require_alike(paths: Sequence[Path], data: str | None = None) -> None:
    """Raise `UserError` for subjects that no comparison can hold together, before any of them is judged. ``data`` is named for all."""
    if len(paths) < 2:
        raise UserError("a comparison needs two subjects or more: calotype compare A B")
    places = [path.resolve() for path in paths]
    if twice := next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None):
        raise UserError(f"{twice} is named twice: a comparison is of different models")
    first, how, trained = paths[0], [source_of(path) for path in paths], [_trained(path) for path in paths]
    for path, one, run in zip(paths, how, trained, strict=True):
        if (one is None) != (how[0] is None):
            raise UserError(f"{path} and {first} are judged by different scores, for one of them makes images from images: compare alike")
        if one is not None and str(one) != str(how[0]):
            raise UserError(f"{path} was trained on {one}, {first} on {how[0]}: compare models that were trained for the same damage")
        if one is not None and data is None and run and trained[0] and run.mark != trained[0].mark and not run.translates:
            raise UserError(f"{path} and {first} hold out different images: name pictures for both with --data")


def apart(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """Two subjects that were not trained on the same images, as far as runs tell; None where all are runs that were."""
    marks = [None if run is None else run.mark for run in map(_trained, paths)]
    other = next((path for path, mark in zip(paths, marks, strict=True) if mark is None or mark != marks[0]), None)
    return None if other is None else (paths[0], other)


@dataclass(frozen=True)
class _Trained:
    """What a run says of itself."""

    mark: str  # the fingerprint of its images
    translates: bool


def _trained(path: Path) -> _Trained | None:
    """The run at a path, or around the weights there; None where there is none."""
    run = run_of(path)
    if run is None:
        return None
    config, facts = run.read_config()
    return _Trained(str(facts["data"]["fingerprint"]), MODELS[type(config.model)].translates)


def _by_itself(subject: Subject, seed: int, slow: bool, say: Say | None) -> tuple[result.Report, Findings]:
    """What can be said without feature spaces, and the findings on the model and its training."""
    told = likelihoods.ask(subject, seed, slow=slow, say=say)
    report = result.Report(
        subject=subject.name,
        about=subject.about,
        versions=versions(),
        seed=seed,
        recipe=subject.recipe,
        settings=subject.settings,
        train_seed=subject.train_seed,
        scores=tuple(told.scores),
        notes=(*subject.notes, *told.notes),
        pictures=result.ReportImages(samples=subject.images[: evidence.SHOWN]),
        curves=evidence.curves(subject.records),
        units=told.units,
        cost=cost.of(subject),
    )
    return report, [*of_training(subject), *told.findings]


def _without_reals(report: result.Report, subject: Subject, about_model: Findings, lacking: Sequence[TooFewReals]) -> result.Report:
    """The report where images cannot be compared with real ones."""
    none = "There are no training images to compare with: name them with --data."
    why = "There are too few real images to compare with." if lacking else none
    note = str(lacking[0]) if lacking else "without training images there are no scores of images"
    verdicts = _fitting(subject, conclude([*(cannot_tell(name, why) for name in OF_IMAGES), *about_model]))
    return replace(report, verdicts=tuple(verdicts), notes=(*report.notes, note))


def _against(against: ReferenceSet, subject: Subject, report: result.Report, about_model: Findings, say: Say | None) -> result.Report:
    """The report with everything that real images tell."""
    pixels, seed = subject.images, report.seed
    drawn, confirm = drawn_in(against, pixels, progress(say, "features of the images"))
    compared = progress(say, "comparing") or (lambda done, total: None)
    even = against.even(len(pixels))
    scored, reference, baseline = [x[even] for x in drawn], against.reference, against.baseline
    lines, of_baseline = evidence.lines(scored, against), evidence.lines(baseline.features, against)
    made, real = (
        [in_features(x, y, line[0], (x[rows], y[reference.once])) for x, y, line in zip(z, reference.features, found, strict=True)]
        for z, found, rows in ((scored, lines, slice(None)), (baseline.features, of_baseline, baseline.once))
    )
    compared(1, 4)
    scores = score_all(against.spaces, made, real, (len(even), len(reference)), pixels[even], baseline.images.pixels)
    space, train_in, held_in = against.spaces[0], against.train.features[0], against.holdout.features[0]
    scores = [*published(space, drawn[0], train_in), *scores]
    scores += overfitting(scored[0], train_in, held_in, space.label)
    compared(2, 4)
    seen = of_images(pixels, drawn, confirm, against, seed, made, real)
    compared(3, 4)
    train, held = against.train.images, against.holdout.images
    report = replace(
        report,
        scores=(*scores, *report.scores),
        verdicts=tuple(together(_fitting(subject, conclude([*seen.findings, *about_model])))),
        data=result.Data(train.name, len(train), len(held), train.fingerprint, held.fingerprint if len(held) else ""),
        protocol=_protocol(against),
        notes=(*report.notes, *_notes(against, len(pixels))),
        pictures=evidence.pictures(pixels, drawn, confirm, against, seen.nearby),
        classes=evidence.classes(against, drawn, confirm, seen.shares),
        spectrum=evidence.spectrum(pixels, against.baseline.images.pixels),
    )
    compared(4, 4)
    if report.short:
        return report
    ladder = evidence.ladder(against, seed, progress(say, "planting failures for scale"))
    return replace(report, ladder=ladder, extrapolation=evidence.extrapolation(lines))


def _fitting(subject: Subject, verdicts: list[Verdict]) -> list[Verdict]:
    """Verdicts with remedies that what is judged can take."""
    if subject.generator is None:
        return [of_files(v) for v in verdicts]
    model, recipe = subject.generator.model, subject.recipe or ""
    config = getattr(model, "config", None)
    labels = bool(subject.generator.spec.classes)
    return verdicts if config is None else [fitting(v, vars(config), recipe=recipe, run=subject.taken, labels=labels) for v in verdicts]


def _notes(against: ReferenceSet, n: int) -> list[str]:
    space = against.spaces[0]
    baseline = len(against.baseline)
    notes = [_repeats(against.train), check_count(min(baseline, len(against.reference)), space.dimension)]
    if baseline < n:
        notes.append(
            f"scores use {baseline:,} of the {n:,} images, because only {baseline:,} real images are left for the real-vs-real baseline: "
            "give more with --holdout"
        )
    if space.accuracy is not None:
        notes.append(f"{space_in_words(space.label)}, which judges, is right for {100 * space.accuracy:.1f}% of images that it never saw")
    return [note for note in notes if note]


def _repeats(train: RealImages) -> str | None:
    again = len(train) - len(train.once)
    said = f"{again:,} of the {len(train):,} training images repeat others pixel by pixel"
    return f"{said}: each different image counts once for precision, recall, density and coverage" if again >= WORTH * len(train) else None


def _protocol(against: ReferenceSet) -> dict[str, str]:
    return {
        "features": ", ".join(space.label for space in against.spaces),
        "reference": f"{len(against.reference):,} training images",
        "real-vs-real baseline": f"{len(against.baseline):,} other real images",
        "reals": against.train.images.fingerprint[:16],
    }


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    own = {"calotype": calotype.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return own | {"python": platform.python_version(), "platform": sys.platform}
