"""Whether samples of what is not known are as uncertain as they should be, where the truth is at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

LEVEL = 0.9  # of the intervals
ROUNDING = 1 / 12  # variance of rounding to whole levels
LEAST = 10  # images of which something can be told; on each side of the split on which a factor is fitted and tried
AWAY = 0.05  # a coverage this far from its level is still called calibrated


@dataclass(frozen=True)
class Calibration:
    """Intervals and standard deviations of samples against the truth, over the pixels that were not known. Pixels are 8-bit levels."""

    level: float  # share of true values that the intervals are made to hold
    images: int  # of which something is judged
    pixels: int  # sub-pixels judged; where there are none, nothing that follows has a value
    interval: str  # how the intervals were made
    coverage: float | None  # share of true values within the intervals, ends included
    coverage_even: float | None  # the same where a tie counts for its share only: ``level`` for samples that are like the truth
    error: float | None  # standard error of that, from image to image
    coverage_varied: float | None  # the same over pixels where samples and truth are not all of one value
    varied: float | None  # share of such pixels
    width: float | None  # mean width of the intervals in levels
    correlation: float | None  # Spearman's, of standard deviation and absolute error of the mean; None where one of them is constant
    factor: float | None  # what to multiply standard deviations by so that +- 1.645 of them hold ``level``; None for too few images
    coverage_scaled: float | None  # what they hold then, in images on which the factor was not fitted

    @property
    def verdict(self) -> str:
        """In words, by ``coverage_even``: within `AWAY` of the level is calibrated; of few images nothing can be told."""
        if self.images < LEAST or self.coverage_even is None:
            return "too few images to tell"
        off = self.coverage_even - self.level
        return "calibrated" if abs(off) <= AWAY else "too sure" if off < 0 else "too unsure"


def calibration(samples: Array, truth: Array, judged: NDArray[np.bool_] | None = None, level: float = LEVEL) -> Calibration:
    """Judge samples (N, S, D), S at least 2, of the truth (N, D), both rounded to 8-bit levels 0 to 255 here.

    Args:
        samples: posterior samples.
        truth: what they are samples of.
        judged: the pixels to judge, (N, D); all where none are given.
        level: of the intervals.

    Pixels are whole numbers, and many of them certain: where samples and truth agree on one value, as in a black border, an interval of
    no width holds it, and so good samples hold more than ``level`` of the true values. ``coverage_even`` draws the rank of the truth
    among equal values by lot (in expectation, without drawing), which makes it ``level`` exactly for good samples, and is what the
    verdict goes by. Certain pixels still count for ``level`` each and hide what is wrong with others. ``coverage_varied`` leaves out
    those where samples and truth all have one value; the choice treats the truth as one more sample, so that ``level`` is again exact
    for good samples, which it would not be if the samples alone chose. With Student's intervals all three are approximate.

    Images of which no pixel is judged are none.
    """
    samples, truth = np.rint(samples).clip(0, 255), np.rint(truth).clip(0, 255)
    judged = np.ones(truth.shape, bool) if judged is None else judged
    told = judged.any(1)
    if not told.any():
        return Calibration(level, 0, 0, "none", None, None, None, None, None, None, None, None, None)
    samples, truth, judged = samples[told], truth[told], judged[told]
    low, high, interval = intervals(samples, level)
    within = (truth >= low) & (truth <= high)
    mean, deviation = samples.mean(1), predictive_std(samples)
    error = np.abs(truth - mean)
    factor, scaled = _factor(error, deviation, judged, level)
    even = _even(samples, truth, low, high, level)
    varied = judged & (samples != truth[:, None]).any(1)
    return Calibration(
        level=level,
        images=len(truth),
        pixels=int(judged.sum()),
        interval=interval,
        coverage=float(within[judged].mean()),
        coverage_even=float(even[judged].mean()),
        error=_error(even, judged),
        coverage_varied=float(even[varied].mean()) if varied.any() else None,
        varied=float(varied.sum() / judged.sum()),
        width=float((high - low)[judged].mean()),
        correlation=_spearman(samples.std(1)[judged], error[judged]),
        factor=factor,
        coverage_scaled=scaled,
    )


def intervals(samples: Array, level: float = LEVEL) -> tuple[Array, Array, str]:
    """Intervals (N, D) that hold one more draw like the samples (N, S, D) with probability ``level``: low, high, and how.

    One more draw is at each of the S + 1 ranks with equal probability, so that the bounds are the order statistics at the ranks
    (S + 1) (1 -+ level) / 2, interpolated between neighbors: no assumption, and no bias for few samples, which plain quantiles have.
    Where that would need more extreme samples than there are (fewer than 19 for 0.9), the interval is Student's for one more
    normal draw, mean +- t s sqrt(1 + 1 / S).
    """
    from scipy import stats

    count = samples.shape[1]
    if _by_rank(count, level):
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=1, method="weibull")
        return low, high, f"order statistics of {count} samples"
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * predictive_std(samples)
    return samples.mean(1) - reach, samples.mean(1) + reach, f"Student's t of {count} samples"


def predictive_std(samples: Array) -> Array:
    """The standard deviation (N, D) of one more draw like the samples (N, S, D) about their mean, with that of rounding."""
    found: Array = np.sqrt((samples.var(1, ddof=1) + ROUNDING) * (1 + 1 / samples.shape[1]))
    return found


def _by_rank(count: int, level: float) -> bool:
    return (count + 1) * (1 - level) / 2 >= 1 - 1e-9


def _even(samples: Array, truth: Array, low: Array, high: Array, level: float) -> Array:
    """The probability (N, D) that a truth is within, where its place among equal values, or within its level, is drawn by lot."""
    if not _by_rank(samples.shape[1], level):
        overlap: Array = (np.minimum(high, truth + 0.5) - np.maximum(low, truth - 0.5)).clip(0, 1)
        return overlap
    ranks = samples.shape[1] + 1
    first = (samples < truth[:, None]).sum(1) / ranks
    last = first + ((samples == truth[:, None]).sum(1) + 1) / ranks
    inside = np.minimum(last, (1 + level) / 2) - np.maximum(first, (1 - level) / 2)
    shares: Array = inside.clip(0) / (last - first)
    return shares


def _error(held: Array, judged: NDArray[np.bool_]) -> float | None:
    """The standard error of the share held of all judged pixels, images being independent and the pixels of one not."""
    images = len(held)
    if images < 2:
        return None
    counts = judged.sum(1)
    shares = np.where(judged, held, 0).sum(1)
    rest = shares - counts * shares.sum() / counts.sum()
    return float(np.sqrt((rest**2).sum() * images / (images - 1)) / counts.sum())


def _factor(error: Array, deviation: Array, judged: NDArray[np.bool_], level: float) -> tuple[float | None, float | None]:
    """Fitted on every other image, tried on the rest."""
    from scipy import stats

    if len(error) < 2 * LEAST:
        return None, None
    ratio = error / (deviation * stats.norm.ppf((1 + level) / 2))
    factor = float(np.quantile(ratio[::2][judged[::2]], level))
    return factor, float((ratio[1::2][judged[1::2]] <= factor).mean())


def _spearman(a: Array, b: Array) -> float | None:
    from scipy.stats import rankdata

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    found = float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    return found if math.isfinite(found) else None
