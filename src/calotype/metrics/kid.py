"""The kernel distance (KID, Binkowski et al. 2018) as a U-statistic over all images, with its own standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import UserError
from calotype.metrics.inputs import InSpace
from calotype.metrics.manifold import BLOCK, Z95, check_features
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
CHUNK = 5000  # images of a set that are all compared with each other


def kid(x: Floats, y: Floats, chunk: int = CHUNK, block: int = BLOCK, seed: int = 0) -> Estimate:
    """The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased, with a 95% interval.

    E[KID] = 0 for equal distributions, so that a small value may be negative. Sets that are larger than ``chunk`` on average are
    cut into random chunks and the U-statistics of the chunks averaged (Zaremba et al. 2013): all images are used, the time grows
    with their number instead of its square, and hardly any precision is lost unless the distributions are nearly equal.

    The interval is 1.96 standard errors wide on each side. Its variance has both terms of Hoeffding's decomposition: the first-order
    term alone would be zero for equal distributions. In simulations it held 98% for equal and 90 to 96% for different distributions.

    Args:
        x: Features of generated images, (N, d).
        y: Features of real images, (M, d).
        chunk: Largest number of images, averaged over both sets, that are all compared with each other.
        block: Side of a tile of the kernel matrix.
        seed: Of the division into chunks.

    Raises:
        UserError: for fewer than four images in a chunk, or arrays that do not fit each other or hold NaN or infinity.
    """
    check_features(x, y)
    rng = np.random.default_rng(seed)
    chunks = math.ceil((len(x) + len(y)) / (2 * chunk))
    parts = zip(*(np.array_split(rng.permutation(len(z)) if chunks > 1 else np.arange(len(z)), chunks) for z in (x, y)), strict=True)
    values, variances = zip(*(_u_statistic(_tensor(x[i]), _tensor(y[j]), block) for i, j in parts), strict=True)
    value, margin = sum(values) / chunks, Z95 * math.sqrt(sum(variances)) / chunks
    return Estimate(value, (value - margin, value + margin))


@dataclass(frozen=True)
class _Kernel:
    """What the estimate needs of one kernel matrix: means of rows and columns, and the mean square after both are taken away."""

    rows: Tensor
    columns: Tensor
    mean: float
    residual: float


def _u_statistic(x: Tensor, y: Tensor, block: int) -> tuple[float, float]:
    """The U-statistic of one chunk and an estimate of its variance.

    With h_x(x) = E k(x, X) - E k(x, Y) and the doubly centered kernels q, Hoeffding's decomposition gives the variance

        4 Var h_x / n + 4 Var h_y / m  +  2 E q_xx^2 / n(n-1) + 2 E q_yy^2 / m(m-1) + 4 E q_xy^2 / nm.

    The variance of the means of rows that stand for h holds the second-order terms too, once too often: they are taken away.
    """
    n, m = len(x), len(y)
    if min(n, m) < 4:
        raise UserError("the kernel distance needs at least four images of each kind")
    shift = float(_cubic(x[:1], y[:1]))  # a constant changes nothing but the number of digits left
    xx, yy, xy = _kernel(x, None, shift, block), _kernel(y, None, shift, block), _kernel(x, y, shift, block)
    second = 2 * xx.residual / (n * (n - 1)) + 2 * yy.residual / (m * (m - 1)) + 4 * xy.residual / (n * m)
    first = 4 * float((xx.rows - xy.rows).var()) / n + 4 * float((yy.rows - xy.columns).var()) / m
    return xx.mean + yy.mean - 2 * xy.mean, max(first - second, second)


def _kernel(a: Tensor, b: Tensor | None, shift: float, block: int) -> _Kernel:
    """The kernel matrix of ``a`` and ``b`` in tiles; without ``b`` that of ``a`` and itself, without its diagonal."""
    other = a if b is None else b
    rows, columns = torch.zeros(len(a), dtype=torch.float64), torch.zeros(len(other), dtype=torch.float64)
    squares = 0.0
    for i in range(0, len(a), block):
        for j in range(i if b is None else 0, len(other), block):
            tile = _cubic(a[i : i + block], other[j : j + block]).sub_(shift)
            if b is None and i == j:
                tile.fill_diagonal_(0.0)
            by_row, by_column = tile.sum(1).double(), tile.sum(0).double()
            rows[i : i + block] += by_row
            columns[j : j + block] += by_column
            if b is None and i != j:
                rows[j : j + block] += by_column
            square = float(torch.linalg.vector_norm(tile)) ** 2
            squares += square if b is not None or i == j else 2 * square
    off = int(b is None)
    rows /= len(other) - off
    if b is None:
        columns = rows
    else:
        columns /= len(a)
    mean, cells = float(rows.mean()), len(a) * (len(other) - off)
    free = (len(a) - 1) * (len(other) - 1) - off * (len(a) - 1)  # degrees of freedom that double centering leaves, about
    explained = len(a) * len(other) * float(((rows - mean) ** 2).mean() + ((columns - mean) ** 2).mean())
    return _Kernel(rows, columns, mean, max(0.0, squares - cells * mean**2 - explained) / free)


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    base = torch.mm(a, b.T).div_(a.shape[1]).add_(1.0)
    return base.square().mul_(base)


def _tensor(features: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(features, np.float32))


KID = Metric(
    "KID",
    "Kernel distance: like the Frechet distance, without its error from small samples; zero for a perfect generator, and by chance a "
    "little below.",
    "lower",
    InSpace,
    lambda pair: kid(pair.drawn.features, pair.reference.features),
    first=8,
    prose=True,
)
