"""From a subject to a report: draw, measure, judge."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import calotype
from calotype.data import Images
from calotype.diagnose.verdict import Verdict, cannot_tell, conclude, fitting
from calotype.errors import UserError
from calotype.metrics.frechet import check_count
from calotype.models import stored
from calotype.report import card, cost, evidence, likelihoods
from calotype.report.ground import Ground, TooFewReals, drawn_in, enough
from calotype.report.scores import in_features, overfitting, published, score_all
from calotype.report.subject import Say, Subject, open_subject
from calotype.report.verdicts import OF_IMAGES, Findings, of_images, of_training

FULL, SHORT = 2_000, 400
"""Images that a report draws, and those of the short one at the end of a training."""


def evaluate(
    path: str | Path,
    *,
    data: str | None = None,
    holdout: str | None = None,
    count: int = FULL,
    features: str | None = None,
    seed: int = 0,
    device: str = "auto",
    short: bool = False,
    slow: bool | None = None,
    longest: float = cost.LONGEST,
    say: Say | None = None,
) -> card.Report:
    """Judge a run, a model or a folder of images.

    Args:
        path: A run, a ``model/`` folder, or a folder or zip of generated images.
        data: Source of the training images; a run knows its own.
        holdout: Source of real images that the generator never saw; a run knows its own.
        count: Images to draw, or to take from the folder.
        features: Feature space (`calotype.metrics.features.pick`).
        seed: Of the noise that images are drawn from, and of everything random in the evaluation.
        device: Where a model draws.
        short: Leave out the planted ladder and the extrapolation.
        slow: Ask for likelihoods that take long, and draw with several numbers of function evaluations; not in a short report.
        longest: Seconds that the latter may take.
        say: Called with (what, done, total) as the work goes on.

    Raises:
        UserError: where there is nothing to judge, and for too few images for the feature space.
    """
    if restores(Path(path)) is not None:
        return _of_restorer(path, data, holdout, count, features, seed, device, short, say)
    if count < 2:
        raise UserError(f"a judgement needs hundreds of images, not {count}: give a larger --count")
    lacking: list[TooFewReals] = []

    def look(train: Images | None, held: Images | None, n: int) -> None:
        try:
            if train is not None:
                enough(train, held, n, features)
        except TooFewReals as error:
            lacking.append(error)

    subject = open_subject(Path(path), count, seed, data=data, holdout=holdout, device=device, say=say, look=look)
    if lacking and subject.generator is None:
        raise lacking[0]
    number = None if short and count == SHORT else str(count)
    words = [("--data", data), ("--holdout", holdout), ("--features", features), ("--count", number), ("--seed", str(seed))]
    command = ["calotype", "evaluate", str(path), *(w for option in words if option[1] is not None for w in option if w)]
    slow = not short if slow is None else slow
    report, about_model = _by_itself(subject, seed, slow, say)
    report = replace(report, command=shlex.join(command), short=short)
    if subject.train is None or lacking:
        return _without_reals(report, subject, about_model, lacking)
    if say:
        say("extracting features", 0, 1)
    ground = Ground.of(subject, features, seed)
    report = _against(ground, subject, report, about_model, say)
    return replace(report, evaluations=cost.curve(subject, ground, seed, longest, say)) if slow else report


def restores(path: Path) -> str | None:
    """How the model of a run or folder was given images to make images from: then it is judged against the truth; None where it draws."""
    folder = next((f for f in (path / "model", path) if (f / "config.json").is_file() and (f / "model.safetensors").is_file()), None)
    if folder is None:
        return None
    source = stored.find(path).spec.source
    return None if source is None else source.how


def require_alike(paths: Sequence[Path]) -> None:
    """Raise `UserError` for subjects that no comparison can hold together, before any of them is judged."""
    how = [restores(path) for path in paths]
    for path, one in zip(paths, how, strict=True):
        if (one is None) != (how[0] is None):
            raise UserError(
                f"{path} and {paths[0]} are judged by different scores, for one of them makes images from images: compare alike"
            )
        if one is not None and one != how[0]:
            raise UserError(f"{path} was trained on {one}, {paths[0]} on {how[0]}: compare models that were trained for the same damage")


def _of_restorer(
    path: str | Path,
    data: str | None,
    holdout: str | None,
    count: int,
    features: str | None,
    seed: int,
    device: str,
    short: bool,
    say: Say | None,
) -> card.Report:
    """The report of a model that makes images from images."""
    if features is not None:
        raise UserError(f"{path} makes images from images, which are compared with the truth: leave out --features")
    if holdout is not None:
        raise UserError(f"{path} makes images from images: name pictures to judge it by with --data, and leave out --holdout")
    if count < 1:
        raise UserError(f"--count must be 1 or more, not {count}")
    wanted = None if count in (FULL, SHORT) else count
    from calotype.report import restoration

    report = restoration.judge(Path(path), data=data, count=wanted, seed=seed, device=device, short=short, say=say)
    words = [("--data", data), ("--count", None if wanted is None else str(wanted)), ("--seed", str(seed))]
    command = ["calotype", "evaluate", str(path), *(w for option in words if option[1] is not None for w in option if w)]
    return replace(report, command=shlex.join(command), versions=versions())


def _by_itself(subject: Subject, seed: int, slow: bool, say: Say | None) -> tuple[card.Report, Findings]:
    """What can be said without feature spaces, and the findings on the model and its training."""
    told = likelihoods.ask(subject, seed, slow=slow, say=say)
    report = card.Report(
        subject=subject.name,
        about=subject.about,
        versions=versions(),
        seed=seed,
        recipe=subject.recipe,
        settings=subject.settings,
        train_seed=subject.train_seed,
        scores=tuple(told.scores),
        notes=(*subject.notes, *told.notes),
        pictures=card.Pictures(samples=subject.images[: evidence.SHOWN]),
        curves=evidence.curves(subject.records),
        units=told.units,
        cost=cost.of(subject),
    )
    return report, [*of_training(subject), *told.findings]


def _without_reals(report: card.Report, subject: Subject, about_model: Findings, lacking: Sequence[TooFewReals]) -> card.Report:
    """The report where images cannot be compared with real ones."""
    none = "There are no training images to compare with: name them with --data."
    why = "There are too few real images to compare with." if lacking else none
    note = str(lacking[0]) if lacking else "without training images there are no scores of images"
    verdicts = _fitting(subject, conclude([*(cannot_tell(name, why) for name in OF_IMAGES), *about_model]))
    return replace(report, verdicts=tuple(verdicts), notes=(*report.notes, note))


def _against(ground: Ground, subject: Subject, report: card.Report, about_model: Findings, say: Say | None) -> card.Report:
    """The report with everything that real images tell."""
    pixels, seed = subject.images, report.seed
    drawn, confirm = drawn_in(ground, pixels)
    if say:
        say("comparing", 0, 1)
    even = ground.even(len(pixels))
    scored, reference, floor = [x[even] for x in drawn], ground.reference, ground.floor
    lines, of_floor = evidence.lines(scored, ground), evidence.lines(floor.features, ground)
    made, real = (
        [in_features(x, y, line[0]) for x, y, line in zip(z, reference.features, found, strict=True)]
        for z, found in ((scored, lines), (floor.features, of_floor))
    )
    scores = score_all(ground.spaces, made, real, (len(even), len(reference)), pixels[even], floor.images.pixels)
    space, train_in, held_in = ground.spaces[0], ground.train.features[0], ground.holdout.features[0]
    scores = [*published(space, drawn[0], train_in), *scores]
    scores += overfitting(scored[0], train_in, held_in, space.label)
    seen = of_images(pixels, drawn, confirm, ground, seed, made, real)
    train, held = ground.train.images, ground.holdout.images
    report = replace(
        report,
        scores=(*scores, *report.scores),
        verdicts=tuple(_fitting(subject, conclude([*seen.findings, *about_model]))),
        data=card.Data(train.name, len(train), len(held), train.fingerprint, held.fingerprint if len(held) else ""),
        protocol=_protocol(ground),
        notes=(*report.notes, *_notes(ground, len(pixels))),
        pictures=evidence.pictures(pixels, drawn[0], ground, seen.nearby),
        classes=evidence.classes(ground, drawn, confirm, seen.shares),
        spectrum=evidence.spectrum(pixels, ground.floor.images.pixels),
    )
    if report.short:
        return report
    if say:
        say("planting failures for scale", 0, 1)
    return replace(report, ladder=evidence.ladder(ground, seed), extrapolation=evidence.extrapolation(lines))


def _fitting(subject: Subject, verdicts: list[Verdict]) -> list[Verdict]:
    """Verdicts without remedies that the judged model has no setting for."""
    config = None if subject.generator is None else getattr(subject.generator.model, "config", None)
    return verdicts if config is None else [fitting(v, vars(config)) for v in verdicts]


def _notes(ground: Ground, n: int) -> list[str]:
    space = ground.spaces[0]
    floor = len(ground.floor)
    notes = [check_count(min(floor, len(ground.reference)), space.dimension)]
    if floor < n:
        notes.append(
            f"scores use {floor:,} of the {n:,} images, because only {floor:,} real images are left for the floor: give more with --holdout"
        )
    if space.accuracy is not None:
        notes.append(f"the network of the features is right in {100 * space.accuracy:.1f}% of images that it never saw")
    return [note for note in notes if note]


def _protocol(ground: Ground) -> dict[str, str]:
    return {
        "features": ", ".join(space.label for space in ground.spaces),
        "reference": f"{len(ground.reference):,} training images",
        "floor": f"{len(ground.floor):,} other real images",
        "reals": ground.train.images.fingerprint[:16],
    }


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    own = {"calotype": calotype.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return own | {"python": platform.python_version(), "platform": sys.platform}
