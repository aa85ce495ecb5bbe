"""Scores of classifiers, and the images whose labels a cross-checked judge contradicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.losses.logistic import logistic
from calotype.metrics.confidence import Doubles, Labels, exact_interval, fit_temperature, reliability, softmax
from calotype.metrics.inputs import Beliefs
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

FOLDS = 5
DECAY = 1e-2  # of the linear judge
SURE, DENIED = 0.9, 0.02  # what the judge must believe of another class at least, and of the label at most
FEWEST = 100  # images that are checked at least


def share_right(beliefs: Beliefs) -> Estimate:
    """The share of images whose class is named rightly, with its exact interval."""
    hits, n = int(beliefs.right.sum()), len(beliefs.labels)
    return Estimate(hits / n, exact_interval(hits, n))


def log_loss(beliefs: Beliefs) -> Estimate:
    """The mean of -log p of the true class, in nats: of log-probabilities, so that no belief is too small to count."""
    return Estimate.mean(-beliefs.log_probabilities[np.arange(len(beliefs.labels)), beliefs.labels])


@dataclass(frozen=True)
class Suspects:
    """Images whose labels are doubtful."""

    place: Labels  # (S,) among the images that were checked, the most doubtful first
    named: Labels  # (S,) the class that the judge believes in
    belief: Doubles  # (S,) how firmly
    checked: int  # images


def suspects(features: NDArray[np.float32], labels: Labels, classes: int, seed: int = 0) -> Suspects:
    """The images whose label a linear judge contradicts firmly that never saw this label (after confident learning, Northcutt et al. 2021).

    The images are divided into five parts; of each the judge is a logistic regression on the features (N, d) of the others, at the
    temperature that fits the labels (N,) of all. A network that has memorized a wrong label has bent the features of the image towards it:
    then the label is not noticed.
    """
    order = np.random.default_rng([seed, 29]).permutation(len(labels))
    x, y, logits = torch.from_numpy(features), torch.from_numpy(labels), np.zeros((len(labels), classes))
    for fold in range(FOLDS):
        asked = order[fold::FOLDS]
        others = np.setdiff1d(order, asked)
        weight, bias = logistic(x[others], y[others], classes, DECAY)
        logits[asked] = torch.nn.functional.linear(x[asked], weight, bias).double().numpy()
    p = softmax(logits, min(1.0, fit_temperature(logits, labels)))  # wrong labels make the temperature rise, and doubt with it
    own, named = p[np.arange(len(labels)), labels], p.argmax(1)
    (found,) = np.nonzero((p.max(1) >= SURE) & (own <= DENIED) & (named != labels))
    found = found[np.argsort(own[found], kind="stable")]
    return Suspects(found, named[found], p[found].max(1), len(labels))


ACCURACY = Metric(
    "accuracy",
    "The share of held-out images whose class the model names rightly.",
    "higher",
    Beliefs,
    share_right,
    bounds=(0.0, 1.0),
    first=11,
)
CALIBRATION_ERROR = Metric(
    "calibration error",
    "How far the probability that the model states is from how often it is right, on average (ECE, 15 bins).",
    "lower",
    Beliefs,
    lambda beliefs: Estimate(reliability(beliefs.probabilities, beliefs.labels).error),
    bounds=(0.0, 1.0),
    first=12,
)
LOG_LOSS = Metric(
    "log loss",
    "The surprise at the true class in nats: it asks for the right class and for the right certainty at once.",
    "lower",
    Beliefs,
    log_loss,
    bounds=(0.0, 1e9),
    first=13,
)
