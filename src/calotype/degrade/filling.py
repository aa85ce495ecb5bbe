"""Filling holes without learning anything."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_COARSEST = 16  # pixels a side at which no coarser image is made first
_ROUNDS, _FEWEST = 200, 20  # of conjugate gradients at each size; the fewest where images are large
_LARGE = 2**18  # pixels from which on there are fewer: the smaller image has found all but the finest shades
_CLOSE = 1e-4  # residual over the first one, where they end


def mean_fill(image: Tensor, known: Tensor) -> Tensor:
    """Holes filled with the mean of the known pixels of each image (N, C, H, W); ``known`` (N, 1, H, W) is one there."""
    mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    return image * known + mean * (1 - known)


def diffuse(image: Tensor, known: Tensor) -> Tensor:
    """Holes filled by the smoothest transition between their rims: the solution of Laplace's equation, nothing flowing over borders.

    By conjugate gradients, begun from the solution for an image of half the size, so that large holes take no longer.
    """
    start = mean_fill(image, known)
    if min(image.shape[2:]) > _COARSEST and bool((known == 0).any()):
        share = functional.avg_pool2d(known, 2, ceil_mode=True)
        coarse = functional.avg_pool2d(image * known, 2, ceil_mode=True) / share.clamp(min=1e-6)
        small = diffuse(coarse * (share > 0), (share > 0).to(image))
        start = image * known + (1 - known) * functional.interpolate(small, size=image.shape[2:], mode="bilinear")
    return _relax(start, 1 - known)


def _relax(x: Tensor, hole: Tensor) -> Tensor:
    """Conjugate gradients on the holes alone, each image with its own steps."""
    residual = -hole * _roughness(x)
    direction = residual
    power = first = residual.square().sum((1, 2, 3), keepdim=True)
    for _ in range(max(_FEWEST, min(_ROUNDS, _ROUNDS * _LARGE // (x.shape[2] * x.shape[3])))):
        if bool((power <= _CLOSE**2 * first).all()) or bool((power < 1e-12).all()):
            break
        ahead = hole * _roughness(direction)
        step = power / (direction * ahead).sum((1, 2, 3), keepdim=True).clamp(min=1e-20)
        x, residual = x + step * direction, residual - step * ahead
        before, power = power, residual.square().sum((1, 2, 3), keepdim=True)
        direction = residual + power / before.clamp(min=1e-20) * direction
    return x


def _roughness(x: Tensor) -> Tensor:
    """The sum of the differences of each pixel to its neighbors: the Laplacian, negated."""
    across, down = x.diff(dim=3), x.diff(dim=2)
    return (
        functional.pad(across, (1, 0))
        - functional.pad(across, (0, 1))
        + functional.pad(down, (0, 0, 1, 0))
        - functional.pad(down, (0, 0, 0, 1))
    )
