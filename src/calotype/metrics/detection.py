"""How well a number for each image tells two kinds of images apart: ROC, AUC with its interval, Platt's calibration, limits by rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calotype.metrics.confidence import Doubles, exact_interval
from calotype.metrics.manifold import Z95
from calotype.metrics.score import Estimate


def auc(negative: Doubles, positive: Doubles) -> Estimate:
    """The area under the ROC curve, P(negative < positive) + P(equal) / 2, with the 95% interval of DeLong et al. 1988.

    The variance is that of the structural components, V10 of each positive and V01 of each negative, which midranks give in
    O(n log n) (Sun & Xu 2014). The interval is symmetric for log(A / (1 - A)), where the estimate is nearer to normal (Pepe 2003,
    section 5.2.4). Where every pair is in order the variance is zero and says nothing: the end is then that of as many pairs without a
    common image, all of them in order (Clopper & Pearson 1934), which is cautious.

    Args:
        negative: (M,) numbers of images of the first kind.
        positive: (N,) numbers of the second, which are to be larger.
    """
    m, n = len(negative), len(positive)
    if not m or not n:
        raise ValueError("an area under a curve needs images of both kinds")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([negative, positive]))
    below = (ranks[m:] - rankdata(positive)) / m  # of each positive: the share of negatives below it
    above = 1 - (ranks[:m] - rankdata(negative)) / n
    area = float(below.mean())
    if min(m, n) < 2:
        return Estimate(area)
    error = math.sqrt(below.var(ddof=1) / n + above.var(ddof=1) / m)
    if area in (0.0, 1.0) or error == 0:
        ends = exact_interval(round(area * min(m, n)), min(m, n))
        return Estimate(area, ends)
    center, half = math.log(area / (1 - area)), Z95 * error / (area * (1 - area))
    return Estimate(area, (_sigmoid(center - half), _sigmoid(center + half)))


def roc(negative: Doubles, positive: Doubles) -> tuple[Doubles, Doubles]:
    """False positive and true positive rate at every threshold, from (0, 0) to (1, 1): two arrays (T,)."""
    values = np.unique(np.concatenate([negative, positive]))[::-1]
    ordered = np.sort(negative), np.sort(positive)
    false, true = (1 - np.searchsorted(kind, values, side="left") / len(kind) for kind in ordered)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


@dataclass(frozen=True)
class Platt:
    """How a number becomes a probability: 1 / (1 + exp(-(slope x + offset))) (Platt 1999)."""

    slope: float
    offset: float

    def probability(self, numbers: Doubles) -> Doubles:
        """Of the second kind, (N,), where both kinds are equally frequent."""
        return _sigmoids(self.slope * numbers + self.offset)


def platt(negative: Doubles, positive: Doubles, weight: Doubles | None = None) -> Platt:
    """The slope, not negative, and offset with the largest likelihood, both kinds weighing the same, by Newton's method.

    Targets are (n + 1) / (n + 2) and 1 / (m + 2) in place of 1 and 0, which keeps the slope finite where the kinds do not overlap.

    Args:
        negative: (M,) numbers of images that had no part in what made the numbers.
        positive: (N,) of the second kind.
        weight: (N,) of the positives; equal where none are given.
    """
    m, n = len(negative), len(positive)
    x = np.concatenate([negative, positive])
    scale = float(np.std(x)) or 1.0
    x = x / scale
    target = np.concatenate([np.full(m, 1 / (m + 2)), np.full(n, (n + 1) / (n + 2))])
    shares = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    w = 0.5 * np.concatenate([np.full(m, 1 / m), shares])
    slope = offset = 0.0

    def loss(a: float, b: float) -> float:
        z = a * x + b
        return float((w * (np.logaddexp(0, z) - target * z)).sum())

    for _ in range(100):
        p = _sigmoids(slope * x + offset)
        gradient = np.array([(w * (p - target) * x).sum(), (w * (p - target)).sum()])
        v = w * p * (1 - p)
        curve = np.array([[(v * x * x).sum(), (v * x).sum()], [(v * x).sum(), v.sum()]]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        share, before = 1.0, loss(slope, offset)
        while loss(slope - share * step[0], offset - share * step[1]) > before and share > 1e-6:
            share /= 2
        slope, offset = slope - share * step[0], offset - share * step[1]
        if float(np.abs(gradient).max()) < 1e-9:
            break
    if slope < 0:  # what is larger for the first kind says nothing of images to come
        return Platt(0.0, 0.0)
    return Platt(float(slope / scale), float(offset))


def upper_limit(numbers: Doubles, rate: float) -> float:
    """The number above which ``rate`` of images like these lie at most, on average (split conformal prediction, Vovk et al. 2005).

    The k-th largest of N with k = floor(rate (N + 1)), whatever the distribution; infinity where N is too small for that.
    """
    place = math.floor(rate * (len(numbers) + 1))
    return math.inf if place < 1 else float(np.sort(numbers)[-place])


def _sigmoid(x: float) -> float:
    return float(_sigmoids(np.array([x]))[0])


def _sigmoids(x: Doubles) -> Doubles:
    found: Doubles = np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))
    return found
