"""Modes that are known: how many of them samples reach, and how evenly. For testbeds, in which nobody has to guess what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.manifold import wilson
from calotype.metrics.metric import Metric
from calotype.metrics.once import Once
from calotype.metrics.score import Estimate
from calotype.modes import PointModes

NEAR = 3.0  # standard deviations around a mode within which a point is of high quality: 98.9% of the real ones are


@dataclass(frozen=True)
class ModeCounts(Once):
    """How many of N samples belong to each of K modes, which are equally likely among real ones."""

    counts: NDArray[np.int64]  # (K,)
    n: int  # all samples, those that belong to none included
    astray: bool = True  # whether samples can belong to none

    @property
    def hit(self) -> int:
        """The modes that one sample at least belongs to.

        One is what published numbers count. With hundreds of samples for each mode it is generous: a mode with one of them is all but
        missing, which is for the verdict on mode collapse to say.
        """
        return int((self.counts > 0).sum())

    @property
    def divergence(self) -> float:
        """KL(frequencies of the modes || uniform) in nats, of the samples that belong to one; infinite where none does.

        As many samples that were drawn uniformly have about (K - 1) / 2N: what few samples make of it.
        """
        whole = int(self.counts.sum())
        if not whole:
            return math.inf
        share = self.counts[self.counts > 0] / whole
        return float((share * np.log(share * len(self.counts))).sum())


def of_points(places: NDArray[np.floating], modes: PointModes) -> ModeCounts:
    """Points (N, 2), in units of the testbed, each counted for the nearest mode where that is within 3 standard deviations.

    The convention of VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018), whose high-quality samples are these.

    Raises:
        UserError: for no points, and for arrays of another shape.
    """
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise UserError(f"modes are counted of points (N, 2), not of {places.shape}")
    centers = np.asarray(modes.centers)
    squared = ((places[:, None] - centers) ** 2).sum(2)
    nearest = squared.argmin(1)
    good = squared.min(1) <= (NEAR * modes.std) ** 2
    return ModeCounts(np.bincount(nearest[good], minlength=len(centers)).astype(np.int64), len(places))


def of_digits(digits: NDArray[np.int64]) -> ModeCounts:
    """Stacks of three digits (N, 3), each one of the 1,000 modes (Metz et al. 2017).

    Raises:
        UserError: for no stacks, and for arrays of another shape or other numbers.
    """
    if digits.ndim != 2 or digits.shape[1] != 3 or not len(digits) or digits.min() < 0 or digits.max() > 9:
        raise UserError(f"modes are counted of stacks of three digits (N, 3), not of {digits.shape}")
    return ModeCounts(np.bincount(digits @ np.array([100, 10, 1]), minlength=1000).astype(np.int64), len(digits), astray=False)


def digits_in(pixels: NDArray[np.uint8], recognize: Callable[[NDArray[np.uint8]], NDArray[np.int64]]) -> NDArray[np.int64]:
    """The digit in each channel of color images (N, 28, 28, 3) uint8, (N, 3), by what ``recognize`` takes gray ones (N, 28, 28, 1) for."""
    return np.stack([recognize(np.ascontiguousarray(pixels[..., channel : channel + 1])) for channel in range(3)], 1)


HIT = Metric(
    "modes hit",
    "How many of the modes of a testbed come out at all: those that at least one sample belongs to.",
    "higher",
    ModeCounts,
    lambda found: Estimate(float(found.hit)),
    bounds=(0.0, math.inf),
    first=1,
)
QUALITY = Metric(
    "high-quality share",
    "The share of points that lie within 3 standard deviations of a mode; of real points 98.9% do.",
    "higher",
    ModeCounts,
    lambda found: Estimate(float(found.counts.sum() / found.n), wilson(int(found.counts.sum()), found.n)) if found.astray else None,
    bounds=(0.0, 1.0),
    first=2,
)
DIVERGENCE = Metric(
    "KL to uniform",
    "How unevenly the modes of a testbed come out, in nats: the divergence of their frequencies from equal ones. Chance alone gives a few "
    "samples more than 0, real ones too.",
    "lower",
    ModeCounts,
    lambda found: Estimate(found.divergence) if math.isfinite(found.divergence) else None,
    bounds=(0.0, math.inf),
    first=3,
)
