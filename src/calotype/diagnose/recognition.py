"""What can be wrong with a classifier: findings of what it takes known images for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calotype.diagnose.check import Check
from calotype.diagnose.remedy import LONGER, SHORTER, Remedy, changes, sets
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, tail
from calotype.metrics.confidence import expected_errors, reliability
from calotype.metrics.inputs import Beliefs
from calotype.metrics.recognition import FEWEST, Suspects

GAP, MISCALIBRATED, UNNAMED, MISLABELED = "accuracy-gap", "miscalibration", "unpredicted-class", "label-noise"
LEAST = 50  # images behind a comparison

OF_GAP = (
    changes("more images with", "data.source"),
    sets({"model.shift": 0.15}, " (training images that vary more)"),
    sets({"optimizer.weight_decay": 0.1}),
    SHORTER,
)
OF_CALIBRATION = (
    changes("more held-out images with", "data.holdout", ", by which it is calibrated"),
    changes("a smaller", "model.smooth", ", for label smoothing bends beliefs"),
)
OF_UNNAMED = (LONGER, changes("more images of that class with", "data.source"))
OF_NOISE = (Remedy("look at the images that are shown, and put those into the right folder that lie in a wrong one"),)


@dataclass(frozen=True)
class RecognitionEvidence:
    """What recognizing images came to: the evidence of all verdicts on classifiers."""

    held: Beliefs  # of unseen images, calibrated without their own labels
    classes: tuple[str, ...]
    training: Beliefs | None = None  # of training images, as they are
    suspects: Suspects | None = None  # among these
    seed: int = 0


def overfitting(training: Beliefs, held: Beliefs) -> Finding | Verdict:
    """Whether training images are recognized much better than unseen ones: the difference of two shares, with its normal error."""
    if min(len(training.labels), len(held.labels)) < LEAST:
        return cannot_tell(GAP, "There are too few images to compare training images with unseen ones.")
    a, b = float(training.right.mean()), float(held.right.mean())
    # a share of 0 or 1 has no variance by itself: two of each are added (Agresti & Caffo 2000)
    error = math.sqrt(sum((p := (x.right.sum() + 1) / (n := len(x.labels) + 2)) * (1 - p) / n for x in (training, held)))
    return Finding(
        GAP,
        effect=a - b,
        warn=0.05,
        fail=0.15,
        p=tail((a - b) / error),
        error=error,
        says={
            "PASS": "It recognizes unseen images about as well as those it was trained on.",
            "FAIL": "It recognizes its training images better than images that it never saw.",
            "CANNOT TELL": "Too few images to compare training images with unseen ones.",
        },
        evidence=f"It is right for {100 * a:.1f}% of {len(training.labels):,} training images and {100 * b:.1f}% of {len(held.labels):,} "
        "held-out images.",
        measure="share by which it is right more often",
        remedies=OF_GAP,
    )


def miscalibration(held: Beliefs, seed: int) -> Finding | Verdict:
    """Whether its probabilities, at their temperature, are true.

    The effect is the expected calibration error less what chance gives true beliefs, which few images make large (Bröcker & Smith 2007);
    the p-value is the share of such chances that err as much.
    """
    if len(held.labels) < LEAST:
        return cannot_tell(MISCALIBRATED, "There are too few held-out images to say whether its probabilities are true.")
    error, by_chance = reliability(held.probabilities, held.labels).error, expected_errors(held.probabilities, seed)
    p = (1 + float((by_chance >= error).sum())) / (1 + len(by_chance))
    belief, right = float(held.probabilities.max(1).mean()), float(held.right.mean())
    how = "surer than it should be" if belief > right else "less sure than it could be"
    return Finding(
        MISCALIBRATED,
        effect=error - float(by_chance.mean()),
        warn=0.03,
        fail=0.1,
        p=p,
        error=max(float(by_chance.std(ddof=1)), 1e-6),
        says={
            "PASS": "Its probabilities say about how often it is right.",
            "FAIL": f"Its probabilities are not true: on the whole it is {how}.",
            "CANNOT TELL": "Too few held-out images to say whether its probabilities are true.",
        },
        evidence=f"Calibration error {error:.3f} at its temperature, where true beliefs would show {by_chance.mean():.3f} by chance; mean "
        f"belief {100 * belief:.1f}%, right {100 * right:.1f}%.",
        measure="calibration error beyond that of chance",
        remedies=OF_CALIBRATION,
    )


def unpredicted(held: Beliefs, classes: tuple[str, ...]) -> Finding:
    """Whether a class is never named: the effect is the number of held-out images of the largest such class."""
    counts, named = (np.bincount(x, minlength=len(classes)) for x in (held.labels, held.named))
    silent = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k] and not named[k]]
    listed = ", ".join(f"{classes[k]} ({counts[k]} images)" for k in silent[:5]) + (
        f" and {len(silent) - 5} more" if len(silent) > 5 else ""
    )
    return Finding(
        UNNAMED,
        effect=float(counts[silent[0]]) if silent else 0.0,
        warn=5,
        fail=20,
        says={"PASS": "It names every class that there are images enough of.", "FAIL": "There are classes that it never names."},
        evidence=f"Never named: {listed}." if silent else f"All {int((counts > 0).sum())} classes of the held-out images are named.",
        measure="held-out images of the largest class that it never names",
        remedies=OF_UNNAMED,
        data={"classes": [classes[k] for k in silent]},
    )


def label_noise(found: Suspects) -> Finding | Verdict:
    """Whether training images seem to have wrong labels: the share that a linear judge contradicts firmly, each by what others taught it.

    Hard images are among them, which is why this is never more than a warning.
    """
    if found.checked < FEWEST:
        return cannot_tell(MISLABELED, "There are too few training images to check their labels.")
    return Finding(
        MISLABELED,
        effect=len(found.place) / found.checked,
        warn=0.01,
        fail=math.inf,
        says={
            "PASS": "Hardly a training image looks as if its label were wrong.",
            "FAIL": "Training images look as if their labels were wrong.",
        },
        evidence=f"{len(found.place):,} of {found.checked:,} training images have a label that a judge firmly denies which learned from "
        "the others.",
        measure="share of the training images",
        remedies=OF_NOISE,
        blind=math.inf,
    )


OVERFITTING = Check(
    GAP,
    question="Does it recognize unseen images as well as those it was trained on?",
    about="A classifier that recognizes its training images better than images that it never saw.",
    of=RecognitionEvidence,
    run=lambda r: [] if r.training is None else [overfitting(r.training, r.held)],
    applies=lambda r: r.training is not None,
    measures="accuracy on training images minus that on held-out ones",
    limits=".05 / .15",
    remedies=OF_GAP,
    shows="log",
    curves=("accuracy",),
)
MISCALIBRATION = Check(
    MISCALIBRATED,
    question="Are its probabilities true?",
    about="A classifier that is surer, or less sure, than it is right.",
    of=RecognitionEvidence,
    run=lambda r: [miscalibration(r.held, r.seed)],
    measures="calibration error at the temperature that other held-out images give, less that of chance",
    limits=".03 / .1",
    remedies=OF_CALIBRATION,
    shows="reliability",
)
UNPREDICTED = Check(
    UNNAMED,
    question="Does it name every class?",
    about="A class that a classifier takes no image for.",
    of=RecognitionEvidence,
    run=lambda r: [unpredicted(r.held, r.classes)],
    measures="held-out images of the largest class that is never named",
    limits="5 / 20",
    remedies=OF_UNNAMED,
    shows="confusion",
)
LABEL_NOISE = Check(
    MISLABELED,
    question="Are the labels right?",
    about="Training images that a judge takes firmly for another class than their label says: wrong labels, or hard images.",
    of=RecognitionEvidence,
    run=lambda r: [] if r.suspects is None else [label_noise(r.suspects)],
    applies=lambda r: r.suspects is not None,
    measures="share of the training images whose label a linear judge of the features denies (five-fold cross-checked)",
    limits=".01 / never",
    remedies=OF_NOISE,
    shows="suspects",
)
