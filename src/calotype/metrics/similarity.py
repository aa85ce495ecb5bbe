"""Structural similarity of images, and that over several scales: the one implementation for scores and for diversity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, WIDTH = 11, 1.5  # pixels a side of the Gaussian window of SSIM, and its standard deviation
STABLE = (0.01, 0.03)  # its constants K1 and K2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of the scales of MS-SSIM, the finest first (Wang et al. 2003)
_STRIP = 1 << 18  # pixels whose SSIM is computed at a time: what bounds the memory


def ssim(a: Tensor, b: Tensor, *, peak: float = 2.0, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of each image, the mean over its channels, (N,) float64 (Wang et al. 2004, eq. 13).

    Windows are Gaussian, 11x11 with standard deviation 1.5, and lie within the image; variances are biased; K is 0.01 and 0.03.

    Args:
        a: (N, C, H, W).
        b: The same shape.
        peak: Largest value less the smallest: 2 in [-1, 1].
        mask: (N, 1, H, W): only windows around pixels where it is one count.

    Returns:
        At most 1; NaN for images smaller than a window.
    """
    return _similarity(a.detach().cpu(), b.detach().cpu(), peak, mask)[0]


def ms_ssim(a: Tensor, b: Tensor, *, peak: float = 2.0, weights: Sequence[float] = SCALES) -> Tensor:
    """SSIM over five scales, each half of the one before, (N,) float64 (Wang et al. 2003); NaN below 176 pixels a side.

    Other ``weights``, the finest scale first, make as many scales; each fewer halves the least size. Negative terms count as 0.
    """
    if min(a.shape[2:]) < WINDOW << len(weights) - 1:
        return torch.full((len(a),), torch.nan, dtype=torch.float64)
    a, b = a.detach().cpu(), b.detach().cpu()
    result = torch.ones(len(a), dtype=torch.float64)
    for scale, weight in enumerate(weights):
        if scale:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        whole, structure = _similarity(a, b, peak, None)
        result = result * (whole if scale == len(weights) - 1 else structure).clamp(min=0) ** weight
    return result


def scales(size: int) -> int:
    """Scales of MS-SSIM for images whose shorter side is ``size``; 0 where it is smaller than the window.

    >>> [scales(size) for size in (8, 16, 28, 64, 176, 512)]
    [0, 1, 2, 3, 5, 5]
    """
    return min(len(SCALES), max(0, int(math.log2(size / WINDOW)) + 1)) if size >= WINDOW else 0


def _similarity(a: Tensor, b: Tensor, peak: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means over the windows of SSIM, and of its part that knows contrast and structure alone, (N,) float64 each."""
    n, _, height, width = a.shape
    reach = WINDOW // 2
    if min(height, width) < WINDOW:
        return (torch.full((n,), torch.nan, dtype=torch.float64),) * 2
    rows = max(1, _STRIP // width)
    total, weights = torch.zeros(2, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for top in range(0, height - 2 * reach, rows):
        stop = min(top + rows, height - 2 * reach) + 2 * reach
        maps = [m.mean(1) for m in _maps(a[:, :, top:stop].double(), b[:, :, top:stop].double(), peak)]
        inner = maps[0].new_ones(maps[0].shape) if mask is None else mask[:, 0, top + reach : stop - reach, reach:-reach].double().cpu()
        total += torch.stack([(m * inner).sum((1, 2)) for m in maps])
        weights += inner.sum((1, 2))
    return total[0] / weights, total[1] / weights


def _maps(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """SSIM at every window, and its structure part, (N, C, H - 10, W - 10)."""
    a, b = a + peak / 2, b + peak / 2  # not indifferent to the origin: black is zero
    mean_a, mean_b, square_a, square_b, product = (_windows(x) for x in (a, b, a * a, b * b, a * b))
    c1, c2 = ((k * peak) ** 2 for k in STABLE)
    structure = (2 * (product - mean_a * mean_b) + c2) / (square_a - mean_a**2 + square_b - mean_b**2 + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), structure


def _windows(x: Tensor) -> Tensor:
    """Weighted means over all windows."""
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    bell = torch.exp(-0.5 * (place / WIDTH) ** 2)
    weights: list[float] = (bell / bell.sum()).tolist()
    for dim in (2, 3):  # shifted sums take a fraction of what a convolution in double precision does
        count = x.shape[dim] - WINDOW + 1
        whole = x.narrow(dim, 0, count) * weights[0]
        for first, weight in enumerate(weights[1:], 1):
            whole.add_(x.narrow(dim, first, count), alpha=weight)
        x = whole
    return x
