"""All scores of a set of images against real ones, in one or several feature spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.copying import auth_pct, feature_likelihood
from calotype.metrics.diversity import birthday, different_bins, inception_score, ms_ssim_diversity
from calotype.metrics.features import Extracted, FeatureSpace
from calotype.metrics.frechet import Moments, bias, frechet, frechet_estimate
from calotype.metrics.kid import kid
from calotype.metrics.manifold import prdc, wilson
from calotype.metrics.score import Estimate, Interval, Score

LIKELIHOOD = "bits/dim"
"""The name of the score that a model gives of itself; its ``features`` are the kind of likelihood."""

GIVEN = ", given the class"
"""What is added to a kind of likelihood that was told the class of each image."""

GAIN = "PSNR gain"
"""The name of the score that says by how much a restorer is better than the best method that needs no training: its ``features``."""

RESTORED = (GAIN, "PSNR", "SSIM")
"""Scores of images against the truth; their ``features`` are the convention."""

KINDS = {
    "FID": "lower",
    "FD": "lower",
    "FD, bias removed": "lower",
    "FD at infinite N": "lower",
    "KID": "lower",
    "precision": "match",
    "recall": "match",
    "density": "match",
    "coverage": "higher",
    "recognized": "match",
    "class score": "match",
    "MS-SSIM": "match",
    "different bins": "lower",
    "repeated pairs": "match",
    "FLD": "lower",
    "FLD gap": "match",
    "AuthPct": "match",
    LIKELIHOOD: "lower",
}
"""Every score of a report, in its order, and what is good."""

NEIGHBORS = 5  # at most, that an image is asked for
SURE = 0.9  # belief in a class from which on an image counts as recognized
PROTOCOL = 50_000  # images behind an FID
SHARES = ("precision", "recall", "coverage", "recognized", "different bins")
LIMITS: Mapping[str, Interval] = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    **dict.fromkeys(("FID", "FD", "density", "repeated pairs", LIKELIHOOD), (0.0, math.inf)),
    **dict.fromkeys(("MS-SSIM", "SSIM"), (-1.0, 1.0)),
    "class score": (1.0, math.inf),
    "AuthPct": (0.0, 100.0),
}
"""Where scores lie by definition. What an unbiased estimate takes off may lead below zero by chance: KID, FD without its bias."""


def bounded(name: str, interval: Interval | None) -> Interval | None:
    """An interval as far as the score of that name can be there: "SSIM, a2b" is one of "SSIM".

    >>> bounded("coverage", (0.9, 1.1)), bounded("KID", (-0.1, 0.1))
    ((0.9, 1.0), (-0.1, 0.1))
    """
    least, most = LIMITS.get(name, LIMITS.get(name.partition(",")[0] if name not in KINDS else name, (-math.inf, math.inf)))
    return None if interval is None else (min(max(least, interval[0]), most), max(min(most, interval[1]), least))


def in_features(
    drawn: Extracted, reference: Extracted, infinite: float, different: tuple[Extracted, Extracted] | None = None
) -> dict[str, Estimate]:
    """The scores that one feature space gives.

    Args:
        drawn: Images to score.
        reference: Real images.
        infinite: The extrapolated distance, which costs most and is shown elsewhere too.
        different: What stands for both in `by_neighbors`; they themselves where nothing is given.
    """
    x, y = drawn.features, reference.features
    fd = frechet_estimate(x, y)
    extra = bias(Moments.of(x), Moments.of(y))
    found = {
        "FD": fd,
        "FD, bias removed": _shifted(fd, -extra),
        "FD at infinite N": Estimate(infinite),
        "KID": kid(x, y),
        **by_neighbors(*(different or (drawn, reference))),
    }
    if drawn.probabilities is not None:
        sure = int((drawn.probabilities.max(1) > SURE).sum())
        found["recognized"] = Estimate(sure / len(drawn), wilson(sure, len(drawn)))
        found["class score"] = inception_score(drawn.probabilities)
    bins = different_bins(x, y)
    found["different bins"] = Estimate(bins.different / bins.bins)
    found["repeated pairs"] = Estimate(float(birthday(x, y).collisions))
    return found


def by_neighbors(drawn: Extracted, reference: Extracted) -> dict[str, Estimate]:
    """Precision, recall, density and coverage; nothing where there are too few images to have neighbors.

    Real images are to be different ones: among images that are there again and again the nearest neighbors are at no distance at all,
    and nothing is within it.
    """
    return prdc(drawn.features, reference.features) if min(len(drawn), len(reference)) > NEIGHBORS else {}


def mean_of(name: str, values: NDArray[np.float64]) -> Estimate:
    """The mean of a score over images, with an interval that stays where the score can be."""
    found = Estimate.mean(values)
    return Estimate(found.value, bounded(name, found.interval))


def score_all(
    spaces: Sequence[FeatureSpace],
    made: Sequence[dict[str, Estimate]],
    real: Sequence[dict[str, Estimate]],
    counts: tuple[int, int],
    pixels: NDArray[np.uint8],
    baseline_pixels: NDArray[np.uint8],
) -> list[Score]:
    """Every score of generated images with that of the baseline beside it, averaged over several spaces.

    ``made`` and ``real`` are the scores of both in each space (`in_features`), from ``counts`` generated and reference images.
    """
    values, baselines = mean_over(made), mean_over(real)
    label = spaces[0].label if len(spaces) == 1 else f"mean of {', '.join(s.label for s in spaces)}"
    n, m = counts
    found = {name: (estimate, baselines.get(name), label) for name, estimate in values.items()}
    diversity = ms_ssim_diversity(pixels)
    if diversity is not None:
        found["MS-SSIM"] = (diversity, ms_ssim_diversity(baseline_pixels), "pixels")
    return [
        Score(name, e.value, bounded(name, e.interval), None if baseline is None else baseline.value, n, m, features, KINDS[name])
        for name in KINDS
        if name in found
        for e, baseline, features in (found[name],)
    ]


def published(space: FeatureSpace, drawn: Extracted, train: Extracted) -> list[Score]:
    """FID as publications give it: Inception features of 50,000 images or more against all training images, and nothing else."""
    if space.name != "inception" or len(drawn) < PROTOCOL:
        return []
    value = frechet(Moments.of(drawn.features), Moments.of(train.features))
    return [Score("FID", value, None, None, len(drawn), len(train), space.label, KINDS["FID"])]


def overfitting(drawn: Extracted, train: Extracted, holdout: Extracted, label: str) -> list[Score]:
    """The scores that need training and held-out images apart; none where there are too few.

    Real images have 0 of a feature likelihood by construction, and of ``AuthPct`` what the held-out ones have.
    """
    try:
        found = feature_likelihood(drawn.features, train.features, holdout.features)
    except UserError:
        return []
    n, m = len(drawn), len(holdout)
    authentic, baseline = (auth_pct(z.features, train.features) for z in (drawn, holdout))
    rows = (("FLD", found.score, 0.0), ("FLD gap", found.gap, 0.0), ("AuthPct", authentic, baseline.value))
    return [Score(name, e.value, e.interval, real, n, m, label, KINDS[name]) for name, e, real in rows]


def mean_over(parts: Sequence[dict[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of each score over several spaces; its interval holds the error of each and the spread among them (Student's t)."""
    from scipy.stats import t

    if len(parts) == 1:
        return parts[0]
    wide = float(t.ppf(0.975, len(parts) - 1))
    found = {}
    for name in parts[0]:
        several = [part[name] for part in parts]
        value = float(np.mean([e.value for e in several]))
        halves = [(e.interval[1] - e.interval[0]) / 2 for e in several if e.interval is not None]
        if len(halves) < len(several):
            found[name] = Estimate(value)
            continue
        spread = wide * float(np.std([e.value for e in several], ddof=1)) / np.sqrt(len(several))
        half = float(np.hypot(np.mean(halves), spread))
        found[name] = Estimate(value, bounded(name, (value - half, value + half)))
    return found


def _shifted(estimate: Estimate, by: float) -> Estimate:
    interval = estimate.interval
    return Estimate(estimate.value + by, None if interval is None else (interval[0] + by, interval[1] + by))
