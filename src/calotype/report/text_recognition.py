"""What a report says in words of a classifier."""

from __future__ import annotations

from calotype.evaluation.recognized import ClassAccuracy, ClassificationAccuracyScore, Recognition
from calotype.metrics.paired_accuracy import ComparedAccuracy, said
from calotype.metrics.score import Interval

WORST = 5  # classes that the short form names


def percent(share: float) -> str:
    """A share for people.

    >>> percent(0.9876), percent(1.0)
    ('98.8%', '100.0%')
    """
    return f"{100 * share:.1f}%"


def accuracy_in_words(found: Recognition) -> str:
    """How often it is right, in a sentence."""
    low, high = found.interval
    return (
        f"It names the right class for {percent(found.right / found.n)} of {found.n:,} images that it never saw ({percent(low)} to "
        f"{percent(high)} with 95% certainty)."
    )


def share_in_words(right: int, n: int, interval: Interval) -> str:
    """A share with its interval.

    >>> share_in_words(9, 10, (0.555, 0.9975))
    '90.0% [55.5, 99.8]'
    """
    return f"{percent(right / n)} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if n else "none"


def cas_in_words(found: ClassificationAccuracyScore) -> str:
    """Which classes its images teach worse than real ones, in a sentence."""
    lost = [one.name for one in found.classes if one.lost]
    if not lost:
        return "Of no class do its images teach less beyond doubt."
    return f"Its images teach less, beyond doubt, of {', '.join(lost[:8])}{' and others' * (len(lost) > 8)}."


def cas_lines(found: ClassificationAccuracyScore) -> list[str]:
    """The classification accuracy score, a line each."""
    own = share_in_words(found.right, found.n, found.interval)
    return [
        f"classification accuracy score  {own} after {found.images:,} generated images, on {found.n:,} held-out real ones",
        f"          {share_in_words(found.real.right, found.n, found.real.interval)} after as many real images: {said(found.real)}",
        f"          {cas_in_words(found)[0].lower()}{cas_in_words(found)[1:-1]}",
    ]


def beside_in_words(other: ComparedAccuracy) -> str:
    """Another judge of the same images, and the difference."""
    low, high = other.interval
    return f"{percent(other.accuracy)} [{percent(low)}, {percent(high)}]; {said(other)}"


def calibration_in_words(found: Recognition) -> str:
    """What the temperature does, in a sentence."""
    how = "learned from the other half of these images for each" if found.own_temperature else "of the model"
    return (
        f"Calibration error {found.before.error:.3f} as it learned, {found.after.error:.3f} at temperature {found.temperature:.2f} ({how})."
    )


def known_labels(found: Recognition) -> str:
    """What was known of the training images."""
    return "all labels" if found.labels is None else f"the {found.labels:,} labels"


def worst_classes(found: Recognition) -> list[ClassAccuracy]:
    """The classes whose images are recognized least."""
    known = [one for one in found.classes if one.recall is not None]
    return sorted(known, key=lambda one: (one.recall or 0.0, one.name))[:WORST]


def recognized(found: Recognition) -> list[str]:
    """The main numbers, a line each."""
    low, high = found.interval
    lines = [f"accuracy  {percent(found.right / found.n)} [{percent(low)}, {percent(high)}] on {found.n:,} held-out images"]
    if found.labels_only is not None:
        lines.append(f"          {beside_in_words(found.labels_only)}: the same network trained on {known_labels(found)} only")
    if found.train_right is not None:
        lines.append(f"          {percent(found.train_right / found.train_n)} on {found.train_n:,} training images")
    lines.append(f"calibration error  {found.before.error:.3f}, {found.after.error:.3f} at temperature {found.temperature:.2f}")
    if found.unlike is not None:
        lines.append(f"held-out images called unlike the training images  {percent(found.unlike)}")
    weakest = "; ".join(f"{one.name} {percent(one.recall or 0.0)} of {one.n:,}" for one in worst_classes(found))
    lines.append(f"least recognized  {weakest}")
    if found.checked:
        lines.append(f"doubtful labels  {found.suspected:,} of {found.checked:,} training images")
    return lines
