"""From a classifier to a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from calotype.data import Images, load
from calotype.data.images import RowIndex, holdout_order, some
from calotype.data.load import has_a_name, require_images
from calotype.diagnose.checks import answers
from calotype.diagnose.recognition import RecognitionEvidence
from calotype.diagnose.training import History
from calotype.engine.calibrating import looked_at
from calotype.engine.images import labelled, set_aside
from calotype.errors import UserError
from calotype.evaluation import evidence, result
from calotype.evaluation.beside import Beside, duplicates, fresh, gone, vanished, without_overlap
from calotype.evaluation.cost import training
from calotype.evaluation.recognized import ClassAccuracy, NamedImage, Recognition
from calotype.evaluation.request import Request
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.scores import scored
from calotype.evaluation.target import EvaluationResult, Subject
from calotype.files import name_of
from calotype.metrics.confidence import (
    Doubles,
    Labels,
    confusion,
    crossed_temperature,
    exact_interval,
    fit_temperature,
    halves,
    log_softmax,
    reliability,
    softmax,
)
from calotype.metrics.familiar import distance_limit
from calotype.metrics.inputs import Beliefs
from calotype.metrics.paired_accuracy import ComparedAccuracy, compared
from calotype.metrics.predictions import Predictions, labels_only
from calotype.metrics.recognition import FEWEST, Suspects, suspects
from calotype.tasks.classify import TrainedClassifier
from calotype.tasks.model_inputs import labels_for

FULL, SHORT = 10_000, 2_000
"""Held-out images that a report looks at, and training images at most half as many; those of a short one."""

SHOWN = 24  # mistakes and suspects
FEW = 100  # held-out images that a note calls few


@dataclass(frozen=True)
class RecognitionTarget:
    """A classifier, and the labelled images to judge it by."""

    path: Path
    trained: TrainedClassifier
    known: RunInfo
    held: Images
    training: Images | None  # some of those that it was trained on, as they are; None where they are not known
    own: bool  # whether it was calibrated by the held-out images, or by some of them
    notes: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return self.known.subject(self.path, self.trained.generator)

    def measure(self, request: Request) -> EvaluationResult:
        """Ask it what it takes the images for."""
        known, generator, classes = self.known, self.trained.generator, self.trained.spec.classes
        seen = _asked(self, self.held, request, "recognizing held-out images")
        labels = _labels(self.held)
        held = Beliefs(labels, self._calibrated(seen.logits, labels))
        train: Beliefs | None = None
        doubtful: Suspects | None = None
        if self.training is not None:
            taught = _asked(self, self.training, request, "recognizing training images")
            train = Beliefs(_labels(self.training), log_softmax(taught.logits, self._temperature(seen.logits, labels)))
            if len(self.training) >= FEWEST and len(np.unique(train.labels)) > 1:
                doubtful = suspects(taught.features, train.labels, len(classes), request.seed)
        wrong = _mistakes(held)
        views = {"views": "each image and its mirror image, whose logits are averaged"} if self.trained.mirrored else {}
        report = result.Report(
            name_of(self.path),
            scores=tuple(scored([held], [], f"images of {self.held.name}", len(held.labels), 0)),
            data=known.data,
            protocol={"held-out images": f"{len(held.labels):,} of {self.held.name}"} | views,
            notes=(*self.notes, *_notes(held)),
            pictures=_pictures(self, wrong, doubtful),
            curves=evidence.curves(known.records) if known.records else None,
            cost=result.Cost(
                parameters=sum(p.numel() for p in generator.model.parameters()),
                threads=torch.get_num_threads(),
                device=generator.device.type,
                train_threads=known.threads,
                **training(known.records, known.steps),
            ),
            recognition=replace(
                self._recognition(seen, held, train, wrong, doubtful),
                labels=None if known.config is None else known.config.data.labels,
                labels_only=self._beside_labels_only(held),
            ),
        )
        findings = answers(RecognitionEvidence(held, classes, train, doubtful, request.seed))
        alone = known.records and not generator.model.draws  # else its log is asked what that of a generator is
        return EvaluationResult(report, [*findings, *(answers(History(known.records, of="classifier")) if alone else ())])

    def _beside_labels_only(self, held: Beliefs) -> ComparedAccuracy | None:
        named = labels_only(self.trained.generator.model, self.held.pixels, self.trained.generator.device)
        return None if named is None else compared("labels only", held.right, named == held.labels)

    def _temperature(self, logits: Doubles, labels: Labels) -> float:
        stored = self.trained.temperature
        return fit_temperature(logits, labels) if stored is None else stored

    def _calibrated(self, logits: Doubles, labels: Labels) -> Doubles:
        """Log-probabilities at a temperature without a part of the image: each half of them at that of the other, or the stored one."""
        stored = self.trained.temperature
        return crossed_temperature(logits, labels) if self.own or stored is None else log_softmax(logits, stored)

    def _recognition(
        self, seen: Predictions, held: Beliefs, train: Beliefs | None, wrong: Labels, doubtful: Suspects | None
    ) -> Recognition:
        logits = seen.logits
        classes, right = self.trained.spec.classes, int(held.right.sum())
        table = confusion(held.labels, held.named, len(classes))
        return Recognition(
            classes=tuple(_class(name, table, k) for k, name in enumerate(classes)),
            confusion=tuple(tuple(row) for row in table.tolist()),
            right=right,
            n=len(held.labels),
            interval=exact_interval(right, len(held.labels)),
            train_right=None if train is None else int(train.right.sum()),
            train_n=0 if train is None else len(train.labels),
            temperature=self._temperature(logits, held.labels),
            own_temperature=self.own or self.trained.calibration is None,
            before=reliability(softmax(logits), held.labels),
            after=reliability(held.probabilities, held.labels),
            unlike=self._unlike(seen),
            mistakes=tuple(
                NamedImage(
                    self.held.name_of(int(row)),
                    classes[held.labels[row]],
                    classes[held.named[row]],
                    float(held.probabilities[row].max()),
                )
                for row in wrong[:SHOWN]
            ),
            suspects=_named(self.training, doubtful, classes),
            suspected=0 if doubtful is None else len(doubtful.place),
            checked=0 if doubtful is None else doubtful.checked,
        )

    def _unlike(self, seen: Predictions) -> float | None:
        """The share of held-out images that are called unlike: each half by the limit of the other, or all by the stored one."""
        stored = self.trained.calibration
        if stored is None or stored.known is None:
            return None
        if not self.own and (unlike := stored.unlike(seen)) is not None:
            return float(unlike.mean())
        alarms, distances = 0, stored.known.distances(seen.features)
        one, two = halves(len(distances))
        for half, other in ((one, two), (two, one)):
            limit = distance_limit(distances[other])
            if limit is None:
                return None
            alarms += int((distances[half] > limit).sum())
        return alarms / len(distances)


def open_target(path: Path, trained: TrainedClassifier, request: Request) -> RecognitionTarget:
    """The classifier at ``path``, with what its run held out, or the labelled images of ``holdout``.

    Raises:
        UserError: where there is nothing to judge it by, and for images without classes or of others than it knows.
    """
    known, spec = RunInfo.of(path, request), trained.spec
    split = known.split
    most = request.count if request.count is not None else (SHORT if request.short else FULL)
    notes: list[str] = []
    if request.data is not None and split is None:
        notes.append("`data` is where the training images of a run are once they have moved: leave it out, and nothing is left out here")
    if request.holdout is not None:
        held = _named_images(request.holdout, trained)
        if split is not None:
            beside = without_overlap(Beside(split.train, held))
            assert beside.holdout is not None
            held = beside.holdout
            notes += beside.notes
        elif known.learned_from(request.holdout):
            notes.append(f"the run was trained on images of {request.holdout}: leave out `holdout` to judge it by those that it held out")
    elif split is not None and len(split.holdout):
        held = split.holdout
        notes += duplicates(split.train, held)
    else:
        raise UserError(f"{_unknown(path, known, request)} name labelled images to judge it by with `holdout`")
    numbers = labels_for(held, spec)
    if numbers is None:
        _refuse(held, trained)
    train = None
    if split is not None and known.config is not None:
        train = _some(labelled(known.config, set_aside(known.config.data, split.train)[0]), max(1, most // 2))
    own = request.holdout is None
    if not own and split is not None and trained.calibration is not None:
        same = int((~fresh(looked_at(split.holdout), held)).sum())
        if same:
            own = True
            known_ones = f"{same} of {some(len(held), 'image')} of {held.name}"
            notes.append(f"the model was calibrated by {known_ones}: its temperature is not used on them")
    return RecognitionTarget(path, trained, known, _some(held, most, numbers), train, own, tuple(notes))


def _unknown(path: Path, known: RunInfo, request: Request) -> str:
    """Why there are no images to judge a classifier by, up to the mark before what to do."""
    if known.config is None:
        return f"{path} is a model by itself:"
    if known.split is not None:
        return "the run held no images out:"
    if request.data is None:
        return f"{gone(known.config.data)}, or"
    if vanished(known.config.data.source):
        return f"the images of {request.data} are not those that the run was trained on: say with `data` where these are now, or"
    return f"{path} knows where its images are: leave out `data`, or"


def _named_images(source: str, trained: TrainedClassifier) -> Images:
    """Labelled images of a source in the shape of a classifier: those that the source holds out, where it does, else all of them."""
    require_images(source)
    own, spec = has_a_name(source), trained.spec
    split = load(source, size=spec.size, channels=spec.channels, fit=trained.fit, holdout=0.1 if own else 0)
    return split.holdout if len(split.holdout) else split.train


def _refuse(images: Images, trained: TrainedClassifier) -> None:
    """Raise `UserError` for images whose classes are not those of the model."""
    if images.labels is None:
        raise UserError(f"{images.name} has no classes to judge a classifier by: give images in class subfolders")
    strange = [name for name in images.classes if name not in trained.spec.classes]
    raise UserError(
        f"{images.name} has classes that {trained.name} does not know ({', '.join(strange[:5])}): it knows "
        f"{', '.join(trained.spec.classes[:10])}{', ...' * (len(trained.spec.classes) > 10)}; leave the others out"
    )


def _some(images: Images, most: int, labels: Labels | None = None) -> Images:
    """At most so many of them, in an order in which every class is found everywhere, with the labels as the model numbers them."""
    own = images.labels if labels is None else labels
    rows: RowIndex = holdout_order(len(images), own)[:most]
    taken = images.take(rows)
    return taken if labels is None else replace(taken, labels=labels[rows])


def _labels(images: Images) -> Labels:
    assert images.labels is not None
    return images.labels


def _asked(target: RecognitionTarget, images: Images, request: Request, what: str) -> Predictions:
    return target.trained.predictions(images.pixels, request.progress(what))


def _mistakes(held: Beliefs) -> Labels:
    """Images that were taken for something else, the firmest first, (M,)."""
    (wrong,) = np.nonzero(~held.right)
    return wrong[np.argsort(-held.probabilities[wrong].max(1), kind="stable")]


def _class(name: str, table: Labels, k: int) -> ClassAccuracy:
    n, named, right = int(table[k].sum()), int(table[:, k].sum()), int(table[k, k])
    return ClassAccuracy(
        name,
        n,
        named,
        right / named if named else None,
        exact_interval(right, named) if named else None,
        right / n if n else None,
        exact_interval(right, n) if n else None,
    )


def _named(images: Images | None, found: Suspects | None, classes: tuple[str, ...]) -> tuple[NamedImage, ...]:
    if images is None or found is None:
        return ()
    labels = _labels(images)
    rows = zip(found.place[:SHOWN].tolist(), found.named.tolist(), found.belief.tolist(), strict=False)
    return tuple(NamedImage(images.name_of(row), classes[labels[row]], classes[named], belief) for row, named, belief in rows)


def _pictures(target: RecognitionTarget, wrong: Labels, doubtful: Suspects | None) -> result.ReportImages:
    mistakes = np.asarray(target.held.pixels[wrong[:SHOWN]]) if len(wrong) else None
    shown = None if target.training is None or doubtful is None else np.asarray(target.training.pixels[doubtful.place[:SHOWN]])
    return result.ReportImages(mistakes=mistakes, suspects=shown if shown is not None and len(shown) else None)


def _notes(held: Beliefs) -> tuple[str, ...]:
    n = len(held.labels)
    return (f"{n} held-out images are few: their intervals are wide",) if n < FEW else ()
