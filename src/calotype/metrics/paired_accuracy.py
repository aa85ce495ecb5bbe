"""Two judges of the same images: whose accuracy is higher, and whether that is chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.confidence import exact_interval
from calotype.metrics.score import Interval

Rights = NDArray[np.bool_]


@dataclass(frozen=True)
class ComparedAccuracy:
    """How often another judge is right about the same images, and by how much the one in question is better."""

    name: str  # of the other judge
    right: int  # images that it names rightly
    n: int  # of so many
    interval: Interval  # of the share, exact (Clopper & Pearson 1934), 95%
    difference: float  # accuracy of the one in question minus that of the other
    difference_interval: Interval  # 95%, paired (Agresti & Min 2005)
    p: float  # that both are right as often: McNemar's test, exact

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return self.right / self.n


def compared(name: str, own: Rights, other: Rights) -> ComparedAccuracy:
    """The accuracy of ``other`` beside ``own``: whether each of the same images (N,) was named rightly by either.

    Raises:
        ValueError: for no images, or not the same number of both.
    """
    if len(own) != len(other) or not len(own):
        raise ValueError("both judges need the same images, and at least one")
    right, n = int(other.sum()), len(own)
    better, worse = int((own & ~other).sum()), int((~own & other).sum())
    return ComparedAccuracy(
        name, right, n, exact_interval(right, n), (better - worse) / n, paired_interval(better, worse, n), mcnemar(better, worse)
    )


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947), of the images about which only one of two judges is right.

    Where both are right as often, who is right about such an image is a coin's toss.

    >>> mcnemar(0, 0), mcnemar(5, 0)
    (1.0, 0.0625)
    """
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(better, worse), better + worse, 0.5)))


def paired_interval(better: int, worse: int, n: int) -> Interval:
    """Where the difference of two accuracies on the same ``n`` images lies with 95% certainty (Agresti & Min 2005, section 5).

    Half an image is added to each of the four cells of the table, without which no disagreement would mean certainty.

    >>> tuple(round(end, 3) for end in paired_interval(20, 5, 100))
    (0.053, 0.241)
    """
    b, c, total = better + 0.5, worse + 0.5, n + 2.0
    middle = (b - c) / total
    half = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / total) / total
    return max(-1.0, middle - half), min(1.0, middle + half)


def said(own: ComparedAccuracy) -> str:
    """The difference in words.

    >>> said(ComparedAccuracy("pixels", 80, 100, (0.71, 0.87), 0.1, (0.02, 0.18), 0.01))
    '+10.0 points [+2.0, +18.0], p = 0.01'
    """
    low, high = own.difference_interval
    p = f"p = {own.p:.1g}" if own.p >= 1e-4 else "p < 0.0001"
    return f"{100 * own.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], {p}"
