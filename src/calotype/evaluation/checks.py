"""All verdicts of a report: what the images show, and what the training tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose import copies, modes, sharpness, training
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, not_applicable
from calotype.errors import UserError
from calotype.evaluation.reference_set import ReferenceSet
from calotype.evaluation.target import Pixels, Subject
from calotype.evaluation.wording import space_in_words
from calotype.metrics import spectrum
from calotype.metrics.classes import Shares, class_shares
from calotype.metrics.copying import copying
from calotype.metrics.diversity import different_bins
from calotype.metrics.features import Extracted, pick
from calotype.metrics.repeats import Twins, first_of_each, twins
from calotype.metrics.score import Estimate

Findings = list[Finding | Verdict]
CLUSTERS = 10  # stand for classes where no network tells them apart
ASKED = 2_000  # training images of which it is asked how often real images are the same
UNLIKE = "Its classes cannot be told: no mixture of the real classes looks like the generated images."
OF_IMAGES = ("mode-collapse", "copying", "blur", "noise")
"""The verdicts that need real images."""

OF_TRAINING = ("oscillation", "vanishing-gradient", "overfitting-discriminator", "divergence")
"""The verdicts that need the log of a training or its checkpoints."""


@dataclass(frozen=True)
class Nearby:
    """Generated images whose nearest real image is a training image, closest first."""

    generated: NDArray[np.int64]
    train: NDArray[np.int64]
    distance: NDArray[np.float64]
    features: str  # the space in which they are close


@dataclass(frozen=True)
class Seen:
    """What can be found in the images themselves."""

    findings: Findings
    nearby: Nearby | None = None
    shares: Shares | None = None  # of the classes, where labels let them be estimated and no network tells them apart


def of_images(
    pixels: Pixels,
    drawn: Sequence[Extracted],
    confirm: Extracted,
    against: ReferenceSet,
    seed: int,
    made: Sequence[Mapping[str, Estimate]],
    real: Sequence[Mapping[str, Estimate]],
) -> Seen:
    """Modes, copies, blur and noise.

    ``made`` and ``real`` hold coverage, density, precision and recall of `ReferenceSet.even` of the images, and of the baseline, by space.
    """
    shares = None if classes_known(against, drawn) else estimated_shares(against, drawn, confirm)
    findings: Findings = [_covered(made, real), *_repeated(pixels, against, seed), _dropped(against, drawn, shares, seed)]
    found, nearby = _copying(pixels, drawn[0], confirm, against, seed)
    findings += found
    # an image that is there again and again says no more than once
    pixels, reference = pixels[first_of_each(pixels)], against.reference.images.pixels[against.reference.once]
    if min(pixels.shape[1:3]) >= spectrum.SMALLEST:
        top, usual, other = (spectrum.top_octave(p) for p in (pixels, reference, against.baseline.images.pixels))
        findings += [sharpness.blur(top, usual, other), sharpness.excess(top, usual)]
        board, real_board = (spectrum.checkerboard(p).max(1) for p in (pixels, reference))
        findings.append(sharpness.checkerboard(board, real_board))
    findings.append(sharpness.grain(spectrum.grain(pixels), spectrum.grain(reference)))
    return Seen(findings, nearby, shares if shares is not None and shares.possible else None)


def of_training(subject: Subject) -> Findings:
    """What the log and the checkpoints tell; a folder of images has neither."""
    if subject.generator is None:
        return [not_applicable(name, "A folder of images tells nothing of a training.") for name in OF_TRAINING]
    lines = [r for r in subject.records if "event" not in r]
    return [
        _oscillation(subject),
        training.vanishing_gradient(lines),
        training.overfitting_discriminator(lines),
        training.divergence(subject.records),
    ]


def typical(parts: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of each score over several spaces with the mean of its intervals: for comparing two sets in the same spaces."""
    found = {}
    for name in parts[0]:
        several = [part[name] for part in parts]
        ends = np.mean([e.interval or (e.value, e.value) for e in several], axis=0)
        found[name] = Estimate(float(np.mean([e.value for e in several])), (float(ends[0]), float(ends[1])))
    return found


def _oscillation(subject: Subject) -> Finding | Verdict:
    if not subject.grids or subject.generator is None:
        return cannot_tell("oscillation", "There are no samples of earlier checkpoints.")
    space = pick(None, subject.generator.spec)[0]
    found = [space.of(pixels) for _, pixels in subject.grids]
    return training.oscillation(
        [e.features if e.probabilities is None else e.probabilities for e in found], [step for step, _ in subject.grids]
    )


def estimated_shares(against: ReferenceSet, drawn: Sequence[Extracted], confirm: Extracted) -> Shares | None:
    """Shares of the classes among generated images by all features together; None without labels, or with too few of them."""
    train = against.train
    if train.images.labels is None or len(train.images.classes) < 2:
        return None
    x, y = (np.concatenate([e.features for e in parts], 1) for parts in ((*drawn, confirm), (*train.features, train.confirm)))
    try:
        return class_shares(x, y, train.images.labels, len(train.images.classes))
    except UserError:
        return None


def _covered(made: Sequence[Mapping[str, Estimate]], real: Sequence[Mapping[str, Estimate]]) -> Finding | Verdict:
    if not all("coverage" in part for part in (*made, *real)):
        return cannot_tell(modes.NAME, "There are too few different real images to say how much of them it reaches.")
    return modes.coverage(typical(made), typical(real))


def _repeated(pixels: Pixels, against: ReferenceSet, seed: int) -> list[Finding]:
    """Whether generated images repeat each other, beside as many real ones: the more there are, the more repeat others.

    Nothing where they do not: that they differ says little of how much.
    """
    real, rng = against.train.images.pixels, np.random.default_rng([seed, 5])
    n = min(len(pixels), len(real))
    made, beside = (x[np.sort(rng.permutation(len(x))[:n])] for x in (pixels, real))
    found = modes.repeated(n, len(first_of_each(made)), len(first_of_each(beside)))
    return [found] if found.effect > 0 else []


def _copying(pixels: Pixels, drawn: Extracted, confirm: Extracted, against: ReferenceSet, seed: int) -> tuple[Findings, Nearby | None]:
    """The findings, and what is most like a copy: where images are the same as training images, these."""
    train, held = against.train, against.holdout
    found = twins(pixels, confirm.features, train.images.pixels, train.confirm.features)
    asked = np.sort(np.random.default_rng([seed, 6]).permutation(len(train))[:ASKED])
    pool = (train.images.pixels, train.confirm.features)
    real = [_count(twins(pool[0][asked], pool[1][asked], *pool, own=asked))]
    if len(held):
        of_held, more = _count(twins(held.images.pixels, held.confirm.features, *pool)), against.overlap
        real.append(copies.Count(of_held.twins + more, of_held.images + more))
    # a holdout that was freed of such images would show all of them as copies
    rows = np.flatnonzero(~found.found) if against.overlap else np.arange(len(pixels))
    closer, nearby = _closer(drawn[rows], confirm[rows], against, seed)
    findings: Findings = [copies.same(_count(found), max(real, key=lambda count: count.share), closer)]
    if found.found.any():
        rows = np.flatnonzero(found.found)
        far = np.linalg.norm(confirm.features[rows] - train.confirm.features[found.index[rows]], axis=1)
        order = np.argsort(~found.exact[rows], kind="stable")
        nearby = Nearby(rows[order], found.index[rows][order], far[order], against.confirm.label)
    return [*findings, *([closer] if isinstance(closer, Finding) else [])], nearby


def _count(found: Twins) -> copies.Count:
    return copies.Count(int(found.found.sum()), len(found.index), int(found.exact.sum()), len(np.unique(found.index[found.found])))


def _closer(drawn: Extracted, confirm: Extracted, against: ReferenceSet, seed: int) -> tuple[Finding | Verdict, Nearby | None]:
    """Whether training images are nearer than held-out ones, and the nearest of them."""
    if not len(against.holdout):
        return cannot_tell("copying", "There are no held-out images to compare with: name some with --holdout."), None
    train, held = against.train, against.holdout
    try:
        first = copying(drawn.features, train.features[0].features, held.features[0].features, seed)
        again = copying(confirm.features, train.confirm.features, held.confirm.features, seed)
    except UserError as error:
        return cannot_tell("copying", str(error)), None
    nearby = Nearby(again.generated, again.train, again.distances, against.confirm.label)
    return copies.copying(first, again, (space_in_words(against.spaces[0].label), space_in_words(against.confirm.label))), nearby


def classes_known(against: ReferenceSet, drawn: Sequence[Extracted]) -> bool:
    """Whether the network of the features tells the classes apart."""
    told = drawn[0].probabilities is not None and against.train.features[0].probabilities is not None
    return told and bool(against.spaces[0].classes)


def _dropped(against: ReferenceSet, drawn: Sequence[Extracted], shares: Shares | None, seed: int) -> Finding | Verdict:
    """Missing classes where a network tells them apart or labels let one learn to, else missing clusters of the real images."""
    classes, beliefs = against.spaces[0].classes, against.train.features[0].probabilities
    if drawn[0].probabilities is not None and beliefs is not None and classes:
        generated, real = (np.bincount(p.argmax(1), minlength=len(classes)) for p in (drawn[0].probabilities, beliefs))
        return modes.dropped(classes, generated, real)
    if shares is not None and not shares.possible:
        return cannot_tell(modes.NAME, UNLIKE)
    if shares is not None:
        labels, names = against.train.images.labels, against.train.images.classes
        counts = np.bincount(labels, minlength=len(names)) if labels is not None else np.zeros(len(names), np.int64)
        return modes.thinned(names, shares, counts, len(drawn[0]))
    if len(against.reference.once) < 4 * CLUSTERS:
        return cannot_tell(modes.NAME, "There are too few different real images to divide them into kinds.")
    bins = different_bins(drawn[0].features, against.reference.features[0].features, bins=CLUSTERS, seed=seed)
    return modes.dropped([f"cluster {i + 1}" for i in range(bins.bins)], bins.generated, bins.real)
