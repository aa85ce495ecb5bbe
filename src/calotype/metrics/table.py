"""The table of metrics: all scores that reports give, in their order.

A new metric is its function, its `Metric` beside it, and its line here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from calotype.metrics import copying, diversity, frechet, kid, known_modes, likelihood, manifold, pairs, quality, recognition
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate, Interval

METRICS: tuple[Metric[Any], ...] = (
    frechet.FID,
    frechet.FD,
    frechet.UNBIASED,
    frechet.INFINITE,
    kid.KID,
    manifold.PRECISION,
    manifold.RECALL,
    manifold.DENSITY,
    manifold.COVERAGE,
    diversity.RECOGNIZED,
    diversity.CLASS_SCORE,
    diversity.MS_SSIM,
    diversity.DIFFERENT_BINS,
    diversity.REPEATED_PAIRS,
    copying.FLD,
    copying.FLD_GAP,
    copying.AUTH_PCT,
    likelihood.BITS,
    known_modes.HIT,
    known_modes.QUALITY,
    known_modes.DIVERGENCE,
    pairs.PIXELS,
    pairs.KINDS,
    quality.GAIN,
    quality.PSNR,
    quality.SSIM,
    recognition.ACCURACY,
    recognition.CALIBRATION_ERROR,
    recognition.LOG_LOSS,
)


def by_name() -> Mapping[str, Metric[Any]]:
    """The metrics under their names, in their order."""
    return {metric.name: metric for metric in METRICS}


def metric_of(name: str) -> Metric[Any] | None:
    """The metric of a score, which may say of what it is: "SSIM, a2b" is one of "SSIM"."""
    known = by_name()
    return known.get(name) or known.get(name.partition(",")[0])


def computed(inputs: object) -> dict[str, Estimate]:
    """All that is computed of such inputs, by name."""
    asked = (metric for metric in METRICS if isinstance(inputs, metric.of))
    return {metric.name: found for metric in asked if (found := metric.compute(inputs)) is not None}


def clamped(name: str, interval: Interval | None) -> Interval | None:
    """An interval as far as the score of that name can be there.

    >>> clamped("coverage", (0.9, 1.1)), clamped("KID", (-0.1, 0.1))
    ((0.9, 1.0), (-0.1, 0.1))
    """
    metric = metric_of(name)
    least, most = (-math.inf, math.inf) if metric is None else metric.bounds
    return None if interval is None else (min(max(least, interval[0]), most), max(min(most, interval[1]), least))
