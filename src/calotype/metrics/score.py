"""What every score carries besides its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
CLASS_GIVEN = ", given the class"


@dataclass(frozen=True)
class Estimate:
    """A number and how far it can be trusted."""

    value: float
    interval: Interval | None = None  # of 95%, where a way to compute it is known

    @staticmethod
    def mean(values: NDArray[np.float64]) -> Estimate:
        """The mean of independent values with Student's t interval; a single value has none."""
        value, n = float(values.mean()), len(values)
        if n < 2:
            return Estimate(value)
        from scipy.stats import t

        half = float(t.ppf(0.975, n - 1) * values.std(ddof=1)) / n**0.5
        return Estimate(value, (value - half, value + half))


@dataclass(frozen=True)
class LikelihoodKind:
    """What a model's likelihood of images is. Numbers of different kinds are never ranked against each other."""

    name: str  # "ELBO"
    accuracy: Literal["exact", "lower bound", "estimate"]
    class_given: bool = False  # whether it was told the class of each image

    def __str__(self) -> str:
        """In words: "ELBO, given the class"."""
        return self.name + (CLASS_GIVEN if self.class_given else "")


@dataclass(frozen=True)
class Score:
    """One number of a report. Numbers of different ``features``, ``n`` or ``protocol`` cannot be compared."""

    name: str  # "FD", "KID", "precision" ...
    value: float
    interval: Interval | None  # of 95%
    baseline: float | None  # the same score of held-out real images: what a perfect generator would get
    n: int  # generated images
    m: int  # real images
    features: str  # the space it was computed in, as "digits@1a2b3c4d, penultimate, 64"; "pixels" where none is needed
    kind: str  # "lower" or "higher" is better, or "match" where the real value is the best
    likelihood: LikelihoodKind | None = None  # of bits per dimension: what ``features`` says in words
