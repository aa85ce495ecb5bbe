"""How far a classifier's beliefs can be trusted: temperature, calibration error, exact intervals. Functions of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.score import Interval

Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]

COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are searched: where every image is right, none is cold enough
BINS = 15  # of beliefs, as Guo et al. 2017 count
DRAWS = 300  # of labels from the beliefs themselves
_HALVES_SEED = 5  # constant forever: it decides which images judge each other


def log_softmax(logits: Doubles, temperature: float = 1.0) -> Doubles:
    """Log-probabilities (N, K) of logits (N, K) at a temperature."""
    shifted = (logits - logits.max(1, keepdims=True)) / temperature
    found: Doubles = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found


def softmax(logits: Doubles, temperature: float = 1.0) -> Doubles:
    """Probabilities (N, K) of logits (N, K) at a temperature."""
    return np.exp(log_softmax(logits, temperature))


def fit_temperature(logits: Doubles, labels: Labels) -> float:
    """The temperature at which held-out images have the largest likelihood (Guo et al. 2017, section 4.2).

    In b = 1 / T the negative log-likelihood is convex, and its derivative the mean of sum_k p_k z_k - z_label, which grows with b: its
    zero is found by bisection. No class that an image is taken for changes.

    Args:
        logits: (N, K) of images that the model never saw.
        labels: (N,) in [0, K).
    """
    own = logits[np.arange(len(labels)), labels]
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(60):
        middle = (low + high) / 2
        p = softmax(logits, math.exp(-middle))
        if float(((p * logits).sum(1) - own).mean()) < 0:
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


def halves(count: int) -> tuple[Labels, Labels]:
    """Which of ``count`` images are in either half, drawn by lot, always the same: classes may take turns in their order."""
    order = np.random.RandomState(_HALVES_SEED).permutation(count).astype(np.int64)  # its streams are frozen across releases of numpy
    return order[::2], order[1::2]


def crossed_temperature(logits: Doubles, labels: Labels) -> Doubles:
    """Log-probabilities (N, K), those of each half at the temperature that the other gives: none has been fitted to its own label."""
    found = np.empty_like(logits)
    one, two = halves(len(labels))
    for half, other in ((one, two), (two, one)):
        found[half] = log_softmax(logits[half], fit_temperature(logits[other], labels[other]) if len(labels) > 1 else 1.0)
    return found


@dataclass(frozen=True)
class Reliability:
    """How often a classifier is right, by how sure it is: bins of equal width, of which empty ones are left out."""

    low: tuple[float, ...]  # where each bin begins and ends, of the belief in the class that is named
    high: tuple[float, ...]
    count: tuple[int, ...]  # images
    belief: tuple[float, ...]  # mean
    right: tuple[float, ...]  # share
    error: float  # the expected calibration error: the mean distance of both, weighted by the images


def reliability(probabilities: Doubles, labels: Labels, bins: int = BINS) -> Reliability:
    """The reliability diagram and the expected calibration error of probabilities (N, K) (Naeini et al. 2015; Guo et al. 2017)."""
    belief, right = probabilities.max(1), probabilities.argmax(1) == labels
    place = _bin(belief, bins)
    rows = []
    for index in range(bins):
        inside = place == index
        if n := int(inside.sum()):
            rows.append((index / bins, (index + 1) / bins, n, float(belief[inside].mean()), float(right[inside].mean())))
    low, high, count, mean, share = zip(*rows, strict=True)
    error = sum(n * abs(a - b) for _, _, n, a, b in rows) / len(labels)
    return Reliability(low, high, count, mean, share, error)


def expected_errors(probabilities: Doubles, seed: int, bins: int = BINS) -> Doubles:
    """Calibration errors that chance alone gives beliefs which are true, (`DRAWS`,): labels are drawn from them (Bröcker & Smith 2007)."""
    rng, belief = np.random.default_rng([seed, 23]), probabilities.max(1)
    place, found = _bin(belief, bins), np.empty(DRAWS)
    total = np.bincount(place, belief, bins)
    for draw in range(DRAWS):
        right = np.bincount(place, rng.random(len(belief)) < belief, bins)
        found[draw] = np.abs(total - right).sum() / len(belief)
    return found


def confusion(labels: Labels, named: Labels, classes: int) -> Labels:
    """How many images of each class (rows) were taken for each (columns), (K, K)."""
    return np.bincount(labels * classes + named, minlength=classes * classes).reshape(classes, classes)


def exact_interval(hits: int, of: int, certainty: float = 0.95) -> Interval:
    """Where a share lies of which ``hits`` of ``of`` were seen (Clopper & Pearson 1934).

    >>> exact_interval(0, 0), tuple(round(end, 4) for end in exact_interval(9, 10))
    ((0.0, 1.0), (0.555, 0.9975))
    """
    from scipy.stats import beta

    tail = (1 - certainty) / 2
    low = float(beta.ppf(tail, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def _bin(belief: Doubles, bins: int) -> Labels:
    return np.clip(np.ceil(belief * bins).astype(np.int64) - 1, 0, bins - 1)
