"""From a target to a report: open, measure, conclude."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import calotype
from calotype.capabilities import Classifies
from calotype.data.fit import Fit
from calotype.diagnose.checks import of_files
from calotype.diagnose.sharpness import together
from calotype.diagnose.verdict import Verdict, conclude, fitting
from calotype.engine.display import Say, Terminal
from calotype.errors import DamagedError, UserError
from calotype.evaluation import evidence, generation, points, recognition, restoration, result, translation
from calotype.evaluation.both import DrawingClassifierTarget
from calotype.evaluation.generator import FULL
from calotype.evaluation.next_step import agreeing, next_step
from calotype.evaluation.request import LONGEST, Request
from calotype.evaluation.target import EvaluationTarget, Subject, run_of
from calotype.models import MODELS, stored
from calotype.modes import PointModes
from calotype.spelling import option
from calotype.tasks.classify import open_classifier
from calotype.tasks.sample import Generator, load
from calotype.types import Source


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
    cas: bool = False,
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
        cas: Train a classifier on images that the model draws by class, and the same one on real images, and test both on held-out ones.
        say: Called with (what, done, total) as the work goes on; a bar or lines on stderr where none is given.

    Raises:
        UserError: where there is nothing to judge, and for too few images for the feature space.
    """
    slow = not short if slow is None else slow
    with closing(Terminal()) as display:
        wanted = Request(data, holdout, count, features, size, fit, True, seed, device, short, slow, cas, longest, say or display.show)
        return opened(path, wanted)()


def opened(path: str | Path, request: Request) -> Callable[[], result.Report]:
    """The work of `evaluate`, after everything that may be wrong with what it is given has been looked at.

    Raises:
        UserError: as `evaluate` does, but before anything is drawn.
    """
    target = _target(Path(path), request)
    return lambda: _with_next(replace(judge(target, request), command=_command(path, request)), Path(path), target.subject)


def _with_next(report: result.Report, path: Path, subject: Subject) -> result.Report:
    """The report with what to do next."""
    minutes = None if report.cost is None else report.cost.minutes
    return replace(report, next=next_step(path, subject, report.verdicts, report.scores, minutes))


def _target(path: Path, request: Request) -> EvaluationTarget:
    """What is at a path, by what its model makes, and from what."""
    modes = modes_of(path)
    if request.cas and (modes is not None or not draws(path) or starts_from(path) is not None):
        raise UserError(f"{path} draws no images of classes, from which a classifier could learn: leave out `cas`")
    if modes is not None:
        return points.open_target(path, load(path, request.device), modes, request)
    if classifies(path):
        return _recognizing(path, request) if not draws(path) else _both(path, request)
    if starts_from(path) is None:
        return generation.open_target(path, request)
    generator = _restoring(path, request)
    if generator.model.translates:
        return translation.open_target(path, generator, request)
    return restoration.open_target(path, generator, request)


def _restoring(path: Path, request: Request) -> Generator:
    """The model at ``path``, which makes images from images.

    Raises:
        UserError: where it is no model, and for what such models cannot be asked with.
    """
    unfit = [name for name in ("features", "holdout", "size", "fit") if getattr(request, name) is not None]
    if unfit:
        raise UserError(
            f"{path} makes images from images, which are compared with the truth in their own sizes: leave out `{unfit[0]}`, and name "
            "pictures to judge it by with `data`"
        )
    if request.count is not None and request.count < 1:
        raise UserError(f"`count` must be 1 or more, not {request.count}")
    return load(path, request.device)


def _recognizing(path: Path, request: Request) -> EvaluationTarget:
    """The classifier at ``path``. Raises `UserError` for what such models cannot be asked with."""
    unfit = [name for name in ("features", "size", "fit") if getattr(request, name) is not None]
    if unfit:
        raise UserError(f"{path} is a classifier, which sees images in its own size: leave out `{unfit[0]}`")
    if request.count is not None and request.count < 1:
        raise UserError(f"`count` must be 1 or more, not {request.count}")
    return recognition.open_target(path, open_classifier(path, request.device), request)


def _both(path: Path, request: Request) -> EvaluationTarget:
    """The model at ``path``, which draws images and tells classes apart; judged as a generator alone where no held-out labels are known."""
    drawing = generation.open_target(path, request)
    try:
        naming = recognition.open_target(path, open_classifier(path, request.device), request)
    except DamagedError:
        raise
    except UserError as error:
        notes = (*drawing.candidate.notes, f"It was not judged as a classifier: {error}.")
        return replace(drawing, candidate=replace(drawing.candidate, notes=notes))
    return DrawingClassifierTarget(drawing, naming)


def judge(target: EvaluationTarget, request: Request) -> result.Report:
    """The report on a target, with the verdicts that all findings come to together."""
    subject, outcome = target.subject, target.measure(request)
    part = outcome.report
    return replace(
        part,
        subject=subject.name,
        verdicts=tuple(together(agreeing([_fitting(verdict, subject) for verdict in conclude(outcome.findings)]))),
        about={**subject.about, **part.about},
        versions=versions(),
        seed=request.seed,
        short=request.short,
        recipe=subject.recipe,
        settings=subject.settings,
        train_seed=subject.train_seed,
        notes=(*subject.notes, *part.notes),
        curves=evidence.curves(subject.records),
    )


def _fitting(verdict: Verdict, subject: Subject) -> Verdict:
    """The verdict with remedies that what is judged can take."""
    if subject.files:
        return of_files(verdict)
    return verdict if subject.judged is None else fitting(verdict, subject.judged)


def _command(path: str | Path, request: Request) -> str:
    """What repeats the evaluation, and makes the full report of a short one."""
    named = ("data", "holdout", "features", "count", "size", "fit", "seed")
    asked = [(option(name), str(value)) for name in named if (value := getattr(request, name)) is not None]
    more = [option("cas")] * request.cas
    return shlex.join(["calotype", "evaluate", str(path), *(word for pair in asked for word in pair), *more])


def starts_from(path: Path) -> Source | None:
    """What the model of a run or folder makes images from: then it is judged against the truth; None where it draws."""
    if stored.folder_of(path) is None:
        return None
    return stored.find(path).starts_from


def modes_of(path: Path) -> PointModes | None:
    """The testbed whose points the model of a run or folder makes; None where it makes images, or something else is there."""
    return None if stored.folder_of(path) is None else stored.find(path).spec.points


def classifies(path: Path) -> bool:
    """Whether the model of a run or folder tells classes apart: then it is judged by images whose classes are known."""
    if stored.folder_of(path) is None:
        return False
    kind: Any = MODELS[type(stored.find(path).config)]
    return issubclass(kind, Classifies)


def draws(path: Path) -> bool:
    """Whether what is at a path makes images: all but classifiers do."""
    return stored.folder_of(path) is None or MODELS[type(stored.find(path).config)].draws


def require_alike(paths: Sequence[Path], data: str | None = None) -> None:
    """Raise `UserError` for subjects that no comparison can hold together, before any of them is judged. ``data`` is named for all."""
    if len(paths) < 2:
        raise UserError("a comparison needs two subjects or more: calotype compare A B")
    places = [path.resolve() for path in paths]
    if twice := next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None):
        raise UserError(f"{twice} is named twice: a comparison is of different models")
    if recognizer := next((path for path in paths if not draws(path)), None):
        raise UserError(f"{recognizer} is a classifier, and comparisons are of models that make images: judge it by calotype evaluate")
    modes = [modes_of(path) for path in paths]
    if other := next((path for path, one in zip(paths, modes, strict=True) if (one is None) != (modes[0] is None)), None):
        points, images = (paths[0], other) if modes[0] else (other, paths[0])
        raise UserError(f"{points} makes points and {images} images, which are judged by different scores: compare alike")
    first, how, trained = paths[0], [starts_from(path) for path in paths], [_trained(path) for path in paths]
    for path, one, run in zip(paths, how, trained, strict=True):
        if (one is None) != (how[0] is None):
            raise UserError(f"{path} and {first} are judged by different scores, for one of them makes images from images: compare alike")
        if one is not None and str(one) != str(how[0]):
            raise UserError(f"{path} was trained on {one}, {first} on {how[0]}: compare models that were trained for the same damage")
        if one is not None and data is None and run and trained[0] and run.mark != trained[0].mark and not run.translates:
            raise UserError(f"{path} and {first} hold out different images: name pictures for both with `data`")


def evaluate_alike(paths: Sequence[Path], request: Request) -> list[result.Report]:
    """The reports of several subjects judged alike, in their order: what ``calotype compare`` puts on one page.

    As many images are drawn of each as for a full report, though the reports are short; what takes long is left out without
    ``request.slow``.

    Raises:
        UserError: as `require_alike` and `opened` do, before the first of them is judged.
    """
    require_alike(paths, request.data)
    pair = apart(paths)
    if request.data is None and pair is not None and request.tell is not None:
        both = f"{pair[0]} and {pair[1]}"
        request.tell(f"no images are known that both {both} were trained on: they will not be ranked; name images for all with `data`")
    request = replace(request, short=True, divided=pair is None)
    wanted = [(path, _of_each(path, request)) for path in paths]
    for path, one in wanted:  # all that is wrong with any of them, before the first is judged
        opened(path, one)
    return [opened(path, replace(one, tell=None))() for path, one in wanted]


def _of_each(path: Path, request: Request) -> Request:
    """As many images as a full report has; of restorers fewer pictures do."""
    return request if request.count is not None or starts_from(path) is not None else replace(request, count=FULL)


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


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    own = {"calotype": calotype.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return own | {"python": platform.python_version(), "platform": sys.platform}
