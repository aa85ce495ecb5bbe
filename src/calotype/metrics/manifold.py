"""Nearest neighbors and what they say about two sets of features: precision, recall, density and coverage.

Everything is computed in square tiles of the distance matrix, so that memory does not grow with the product of the two counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import UserError
from calotype.metrics.inputs import InSpace
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate, Interval

Floats = NDArray[np.floating]
BLOCK = 2000  # side of a tile: 16 MB of float32, large enough for the matrix product to run at full speed; a power of two transposes slowly
Z95 = 1.959963984540054


def nearest(
    x: Floats, y: Floats, block: int = BLOCK, own: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest row of ``y`` for each row of ``x``: its index (N,) and its Euclidean distance (N,), 0 for an exact copy.

    ``own`` (N,) are the rows of ``y`` that ``x`` itself is: none is its own neighbor, unless there is no other.

    Raises:
        UserError: for arrays that are not (N, d) and (M, d), or that hold NaN or infinity.
    """
    a, b = _centered(x, y)
    best = torch.full((len(a),), math.inf)
    index = torch.zeros(len(a), dtype=torch.int64)
    for rows in _spans(len(a), block):
        for columns in _spans(len(b), block):
            tile = squared_distances(a[rows], b[columns])
            if own is not None:
                tile[torch.from_numpy(own[rows])[:, None] == torch.arange(columns.start, columns.stop)] = math.inf
            low, where = tile.min(1)
            closer = low < best[rows]
            best[rows] = torch.where(closer, low, best[rows])
            index[rows] = torch.where(closer, where + columns.start, index[rows])
    distance = torch.cat([torch.linalg.vector_norm((a[r] - b[index[r]]).double(), dim=1) for r in _spans(len(a), block)])
    return index.numpy(), distance.numpy()


def radii(y: Floats, k: int, block: int = BLOCK, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Distances of the ``rows`` of ``y`` (of all of them where none are given) to their ``k`` nearest others in rising order, (rows, k).

    Raises:
        UserError: where there are not more than ``k`` rows in ``y``.
    """
    (points,) = _centered(y)
    if rows is None:
        return _squared_radii(points, k, block).double().sqrt().numpy()
    _check_neighbors(len(points), k)
    which = torch.from_numpy(rows)
    best = torch.full((len(which), k), math.inf)
    for part in _spans(len(which), block):
        for columns in _spans(len(points), block):
            tile = squared_distances(points[which[part]], points[columns])
            tile[which[part, None] == torch.arange(columns.start, columns.stop)] = math.inf
            best[part] = _smallest(best[part], tile, k)
    return best.double().sqrt().numpy()


def prdc(x: Floats, y: Floats, k_pr: int = 3, k_dc: int = 5, block: int = BLOCK) -> dict[str, Estimate]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of generated ``x`` against real ``y``.

    The ball of a point reaches to its k-th nearest neighbor within its own set; what lies on its border is outside, as in the package of
    Naeem et al. (to Kynkaanniemi et al. it is inside). Precision: the share of generated images in the ball of some real image. Recall:
    the share of real images in the ball of some generated image. Density: in how many real balls a generated image lies, divided by k.
    Coverage: the share of real balls that hold a generated image. For two equally large samples of one distribution the expected density
    is 1, the expected coverage is `expected_coverage`, and precision and recall are not 1.

    The 95% intervals are for new draws of both sets. The images that are counted vary as independent ones do; to this is added how much
    the images of the other set decide (for a share, half the delete-one jackknife's variance of what hangs on one image alone; half,
    because it counts what hangs on pairs twice). In simulations they held 93 to 99% of the expected values, but 83% where a few
    outliers with large balls decide. They leave out that a missing image makes the balls of its neighbors larger.

    Args:
        x: Features of generated images, (N, d).
        y: Features of real images, (M, d).
        k_pr: Neighbors for precision and recall.
        k_dc: Neighbors for density and coverage.
        block: Side of a tile. Memory is a copy of both inputs and a few tiles.

    Raises:
        UserError: where a set has no more than k images, or the arrays do not fit each other or hold NaN or infinity.
    """
    a, b = _centered(x, y)
    own_a = _squared_radii(a, k_pr, block)[:, -1:]
    own_b = _squared_radii(b, max(k_pr, k_dc), block)
    ball_pr, ball_dc = own_b[:, k_pr - 1], own_b[:, k_dc - 1]
    precision, recall, coverage = _Counter(len(a)), _Counter(len(b)), _Counter(len(b))
    density = _Counter(len(a))
    for rows in _spans(len(a), block):
        for columns in _spans(len(b), block):
            squared = squared_distances(a[rows], b[columns])
            within = (squared < ball_dc[columns]).float()
            density.add(rows, within, columns)
            coverage.add(columns, within.T, rows)
            precision.add(rows, (squared < ball_pr[columns]).float(), columns)
            recall.add(columns, (squared < own_a[rows]).float().T, rows)
    return {
        PRECISION.name: precision.share(len(b)),
        RECALL.name: recall.share(len(a)),
        DENSITY.name: _density(density.count / k_dc, coverage.count * (len(b) / len(a) / k_dc)),
        COVERAGE.name: coverage.share(len(a)),
    }


def expected_coverage(n: int, m: int, k: int = 5) -> float:
    """Expected coverage of ``m`` real images by ``n`` generated ones of the same distribution (Naeem et al. 2020, eq. 9).

    A ball stays empty when the k nearest of all other images are real: 1 - prod_{i=1..k} (m - i) / (n + m - i).

    >>> round(expected_coverage(10_000, 10_000), 4)
    0.9688
    """
    return 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))


def wilson(hits: float, n: float) -> Interval:
    """The 95% interval of a share of ``hits`` among ``n`` independent draws (Wilson 1927)."""
    share, z2 = hits / n, Z95 * Z95 / n
    center, half = (share + z2 / 2) / (1 + z2), Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    return max(0.0, center - half) if hits > 0 else 0.0, min(1.0, center + half) if hits < n else 1.0


def check_features(*arrays: Floats) -> None:
    """Raise a `UserError` unless all arrays are (N, d) with one d and finite throughout."""
    if any(a.ndim != 2 or not len(a) for a in arrays) or len({a.shape[1] for a in arrays}) > 1:
        raise UserError(f"features must be (N, d) with the same d, not {' and '.join(str(a.shape) for a in arrays)}")
    if not all(math.isfinite(float(a.sum(dtype=np.float64))) for a in arrays):
        raise UserError("features hold NaN or infinity: look at the images they were computed from")


class _Counter:
    """For each of ``n`` images, in how many balls it lies (or how many images lie in its ball), and which one if it is one alone."""

    def __init__(self, n: int) -> None:
        self.count = torch.zeros(n, dtype=torch.float64)
        self.index = torch.zeros(n, dtype=torch.float64)  # sum of the indices: the index itself where the count is 1

    def add(self, part: slice, within: Tensor, others: slice) -> None:
        """Count a tile of zeros and ones, (part, others)."""
        count = within.sum(1)
        self.count[part] += count
        self.index[part] += within @ torch.arange(len(within.T), dtype=torch.float32) + count * others.start

    def share(self, others: int) -> Estimate:
        """The share of images with any, Wilson's interval with as many images as are worth both sources of variance."""
        n = len(self.count)
        value = float((self.count > 0).double().mean())
        alone = torch.bincount(self.index[self.count == 1].long(), minlength=others).double() / n
        own = value * (1 - value) / n
        worth = own / (own + float(((alone - alone.mean()) ** 2).sum()) / 2) * n if own else n
        return Estimate(value, wilson(value * worth, worth))


def _density(rows: Tensor, columns: Tensor) -> Estimate:
    """The mean of (N,) rows, which is that of (M,) columns, with the variance of both as in a two-sample U-statistic."""
    value = float(rows.mean())
    margin = Z95 * math.sqrt(float(rows.var()) / len(rows) + float(columns.var()) / len(columns))
    return Estimate(value, (max(0.0, value - margin), value + margin))


def _centered(*arrays: Floats) -> list[Tensor]:
    """Float32 copies with a common point moved to the origin: float32 distances from dot products lose digits far from it."""
    check_features(*arrays)
    origin = arrays[-1].mean(0, dtype=np.float64).astype(np.float32)
    return [torch.from_numpy(a.astype(np.float32, copy=False) - origin) for a in arrays]


def _spans(n: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, n)) for start in range(0, n, block))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances, (len(a), len(b)), up to rounding that grows with the distance from the origin."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_(min=0)


def _squared_radii(points: Tensor, k: int, block: int) -> Tensor:
    """Squared distances to the ``k`` nearest others in rising order, (M, k): each tile serves its rows and its columns."""
    _check_neighbors(len(points), k)
    best = torch.full((len(points), k), math.inf)
    spans = list(_spans(len(points), block))
    for i, rows in enumerate(spans):
        for columns in spans[i:]:
            tile = squared_distances(points[rows], points[columns])
            if rows == columns:
                tile.fill_diagonal_(math.inf)
            else:
                best[columns] = _smallest(best[columns], tile.T, k)
            best[rows] = _smallest(best[rows], tile, k)
    return best


def _check_neighbors(n: int, k: int) -> None:
    if k < 1 or n <= k:
        raise UserError(f"{n} images cannot have {k} nearest neighbors each: give more images")


def _smallest(best: Tensor, tile: Tensor, k: int) -> Tensor:
    found = tile.topk(min(k, tile.shape[1]), largest=False).values
    return torch.cat([best, found], 1).topk(k, largest=False, sorted=True).values


NEIGHBORS = 5  # at most, that an image is asked for


def manifold_scores(pair: InSpace) -> dict[str, Estimate]:
    """Precision, recall, density and coverage; nothing where there are too few images to have neighbors.

    Real images are to be different ones: among images that are there again and again the nearest neighbors are at no distance at all,
    and nothing is within it.
    """
    drawn, reference = pair.different or (pair.drawn, pair.reference)
    return prdc(drawn.features, reference.features) if min(len(drawn), len(reference)) > NEIGHBORS else {}


PRECISION: Metric[InSpace] = Metric(
    "precision",
    "The share of generated images that look like real ones: lower than for real images when many are wrong.",
    "match",
    InSpace,
    lambda pair: pair.once(manifold_scores).get(PRECISION.name),
    bounds=(0.0, 1.0),
    first=7,
    prose=True,
)
RECALL: Metric[InSpace] = Metric(
    "recall",
    "The share of real images that the generator comes close to: lower than for real images when it makes too few kinds.",
    "match",
    InSpace,
    lambda pair: pair.once(manifold_scores).get(RECALL.name),
    bounds=(0.0, 1.0),
    first=9,
    prose=True,
)
DENSITY: Metric[InSpace] = Metric(
    "density",
    "How deep inside the crowd of real images the generated ones lie; about 1 for real images.",
    "match",
    InSpace,
    lambda pair: pair.once(manifold_scores).get(DENSITY.name),
    bounds=(0.0, math.inf),
    first=10,
    prose=True,
)
COVERAGE: Metric[InSpace] = Metric(
    "coverage",
    "The share of real images that have a generated one close by: low when kinds of images are missing.",
    "higher",
    InSpace,
    lambda pair: pair.once(manifold_scores).get(COVERAGE.name),
    bounds=(0.0, 1.0),
    first=6,
    prose=True,
)
