"""The Frechet distance between two sets of features: its value, its bias, its limit and its error.

FD = |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2 (Dowson & Landau 1982; for images Heusel et al. 2017), in float64 with
unbiased covariances. A matrix square root is never taken: the last trace is that of the roots of eigenvalues.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.inputs import InSpace, Published
from calotype.metrics.manifold import check_features
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
BLOCK = 4096  # rows turned into float64 at a time
SIZES = 10  # subset sizes of the extrapolation
ENOUGH = 5  # samples per dimension below which the bias is worth a warning


@dataclass(frozen=True)
class Moments:
    """Mean (d,), unbiased covariance (d, d) and number of samples of a set of features, in float64."""

    mean: Doubles
    cov: Doubles
    n: int

    @staticmethod
    def of(features: Floats) -> Moments:
        """The moments of (N, d) features.

        Raises:
            UserError: for fewer than two rows, NaN or infinity.
        """
        check_features(features)
        return _Sums.of(features, features.mean(0, dtype=np.float64)).moments()


def frechet(a: Moments, b: Moments) -> float:
    """The squared Frechet distance of two normal distributions."""
    return float(_offset(a, b) + np.trace(a.cov) + np.trace(b.cov) - 2 * _roots(a.cov, b.cov).sum())


def bias(a: Moments, b: Moments) -> float:
    """How much larger than the true distance the measured one is expected to be, to first order in 1/n, for normal features.

    With s the roots of the eigenvalues of S1 S2 (the common eigenvalues where S1 = S2), the delta method to second order under the
    Wishart law of both covariances gives

        tr S1 / n + tr S2 / m + (1/n + 1/m) [sum_i s_i / 4 + sum_ij s_i s_j / (2 (s_i + s_j))].

    The covariances stand for the true ones. Where n is not much larger than d, terms of higher order add to this.
    """
    s = _roots(a.cov, b.cov)
    s = s[s > s.max(initial=0.0) * 1e-9]
    curvature = s.sum() / 4 + (np.outer(s, s) / (2 * (s[:, None] + s))).sum()
    return float(np.trace(a.cov) / a.n + np.trace(b.cov) / b.n + (1 / a.n + 1 / b.n) * curvature)


def extrapolated(x: Floats, y: Floats, seed: int = 0) -> tuple[float, list[tuple[int, float]]]:
    """The distance at infinitely many samples: the intercept of a line in 1/N (Chong & Forsyth 2020).

    Both sets shrink together, so that the line leads to infinitely many real images as well. The ten sizes lie evenly in 1/N between
    all samples and an eighth of them, yet not below four per dimension while a half is not (below, the bias is no line). At each size
    the distance is averaged over as many disjoint subsets as there are, which makes the line a great deal steadier than single ones do.

    Returns:
        The intercept, and the points (number of generated images, distance), fewest first.
    """
    check_features(x, y)
    rng = np.random.default_rng(seed)
    origin, fewest = y.mean(0, dtype=np.float64), min(len(x), len(y))
    most = min(8.0, max(2.0, fewest / (4 * x.shape[1])))
    mixed = [z[rng.permutation(len(z))] for z in (x, y)]
    points = []
    for parts in np.linspace(most, 1, SIZES):
        sizes = [int(len(z) / parts) for z in mixed]
        subsets = (
            [_Sums.of(z[i * k : (i + 1) * k], origin).moments() for z, k in zip(mixed, sizes, strict=True)] for i in range(int(parts))
        )
        points.append((sizes[0], float(np.mean([frechet(a, b) for a, b in subsets]))))
    line = np.polynomial.Polynomial.fit([1 / n for n, _ in points], [value for _, value in points], 1).convert()
    return float(line(0.0)), points


def frechet_estimate(x: Floats, y: Floats, groups: int = 20) -> Estimate:
    """The distance with a 95% interval for its expectation at these sample sizes, by a delete-group jackknife of both sets.

    The interval does not correct the bias: see `bias` and `extrapolated`. (A percentile bootstrap would be of no use, because
    resampling adds the bias a second time.) Moments are downdated, not recomputed; the cost is that of 2 ``groups`` distances.
    """
    check_features(x, y)
    origin = y.mean(0, dtype=np.float64)
    whole = [_Sums.of(z, origin) for z in (x, y)]
    a, b = (sums.moments() for sums in whole)
    rng = np.random.default_rng(0)
    variance, degrees = 0.0, 0
    for side, z in enumerate((x, y)):
        parts = np.array_split(rng.permutation(len(z)), min(groups, len(z)))
        left = (whole[side].less(_Sums.of(z[part], origin)).moments() for part in parts)
        values = np.array([frechet(rest, b) if side == 0 else frechet(a, rest) for rest in left])
        degrees += len(parts) - 1
        variance += (len(parts) - 1) / len(parts) * float(((values - values.mean()) ** 2).sum())
    value, margin = frechet(a, b), _t95(degrees) * math.sqrt(variance)
    return Estimate(value, (max(0.0, value - margin), value + margin))


def check_count(n: int, d: int) -> str | None:
    """A warning where ``n`` samples are few for ``d`` dimensions, nothing where they are enough.

    Raises:
        UserError: for n <= d, where the covariance is singular and the distance mostly bias.
    """
    if n <= d:
        raise UserError(f"{n} images are too few for features of {d} dimensions: give at least {d + 1}, better {ENOUGH * d}")
    if n < ENOUGH * d:
        return f"{n} images are few for features of {d} dimensions: the distance is biased upwards; {ENOUGH * d} would do"
    return None


@dataclass(frozen=True)
class _Sums:
    """Sums of features and of their products, relative to an origin near their mean: what can be added and taken away."""

    n: int
    first: Doubles  # (d,)
    second: Doubles  # (d, d)
    origin: Doubles  # (d,)

    @staticmethod
    def of(features: Floats, origin: Doubles) -> _Sums:
        first, second = np.zeros_like(origin), np.zeros((len(origin), len(origin)))
        for start in range(0, len(features), BLOCK):
            block = features[start : start + BLOCK] - origin
            first += block.sum(0)
            second += block.T @ block  # numpy computes one triangle of a product with its own transpose
        return _Sums(len(features), first, second, origin)

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.n - other.n, self.first - other.first, self.second - other.second, self.origin)

    def moments(self) -> Moments:
        if self.n < 2:
            raise UserError("a covariance needs at least two images")
        shift = self.first / self.n
        return Moments(self.origin + shift, (self.second - self.n * np.outer(shift, shift)) / (self.n - 1), self.n)


def _offset(a: Moments, b: Moments) -> float:
    if a.mean.shape != b.mean.shape:
        raise UserError(f"features of {len(a.mean)} and {len(b.mean)} dimensions cannot be compared")
    return float(((a.mean - b.mean) ** 2).sum())


def _roots(a: Doubles, b: Doubles) -> Doubles:
    """The roots of the eigenvalues of ``a b``: those of R' b R for any root a = R R', triangular where ``a`` has full rank."""
    one, two = torch.from_numpy(a), torch.from_numpy(b)
    root, failed = torch.linalg.cholesky_ex(one)
    if failed:
        values, vectors = torch.linalg.eigh(one)
        root = vectors * values.clamp(min=0).sqrt()
    product = root.T @ two @ root
    roots: Doubles = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().numpy()
    return roots


def _t95(degrees: int) -> float:
    """The 97.5% quantile of Student's t (Cornish-Fisher expansion; within .002 from 8 degrees of freedom on)."""
    z = 1.959963984540054
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


PROTOCOL = 50_000  # images behind an FID
Line = tuple[float, list[tuple[int, float]]]
"""A distance at infinitely many images, and the points that it comes from."""


def line(pair: InSpace) -> Line:
    """The distance of infinitely many images, and at several numbers of them: what costs most."""
    return extrapolated(pair.drawn.features, pair.reference.features)


def _distance(pair: InSpace) -> Estimate:
    return frechet_estimate(pair.drawn.features, pair.reference.features)


def _unbiased(pair: InSpace) -> Estimate:
    extra, found = bias(Moments.of(pair.drawn.features), Moments.of(pair.reference.features)), pair.once(_distance)
    span = found.interval
    return Estimate(found.value - extra, None if span is None else (span[0] - extra, span[1] - extra))


def _published(found: Published) -> Estimate | None:
    """As publications give it: Inception features of 50,000 images or more against all training images, and nothing else."""
    if found.space.name != "inception" or len(found.drawn) < PROTOCOL:
        return None
    return Estimate(frechet(Moments.of(found.drawn.features), Moments.of(found.train.features)))


FID = Metric(
    "FID",
    "Frechet Inception distance, the usual yardstick of publications: how far the generated images as a whole lie from real ones.",
    "lower",
    Published,
    _published,
    bounds=(0.0, math.inf),
    first=4,
    prose=True,
)
FD = Metric(
    "FD",
    "Frechet distance: how far the generated images as a whole lie from the real ones, in average look and in variety together.",
    "lower",
    InSpace,
    lambda pair: pair.once(_distance),
    bounds=(0.0, math.inf),
    first=5,
    prose=True,
)
UNBIASED = Metric(
    "FD, bias removed",
    "The Frechet distance less what it would show for a perfect generator, only because the samples are small; by chance a little below "
    "zero.",
    "lower",
    InSpace,
    _unbiased,
)
INFINITE = Metric(
    "FD at infinite N",
    "The Frechet distance that infinitely many images would have: free of the error that comes from a small sample; by chance a little "
    "below zero.",
    "lower",
    InSpace,
    lambda pair: Estimate(pair.once(line)[0]),
)
