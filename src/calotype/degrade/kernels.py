"""Kernels of blurs, one an image: (N, k, k) float32 with sum 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_POINTS = 8  # samples for each pixel of the path of a moving camera
_STRIPS = 64  # strips that a pixel is cut into to measure how much of it a disk covers


def gaussian(sigma: Tensor, radius: int) -> Tensor:
    """Weights (N, 2 radius + 1) float64 of Gaussians of standard deviations (N,), cut off at four of them as scipy does."""
    place = torch.arange(-radius, radius + 1, dtype=torch.float64)
    sigma = sigma.cpu().double()[:, None]
    weight = torch.exp(-0.5 * (place / sigma) ** 2) * (place.abs() <= (4 * sigma + 0.5).floor())
    return weight / weight.sum(1, keepdim=True)


def turned(first: Tensor, second: Tensor, angle: Tensor, radius: int) -> Tensor:
    """Gaussians with standard deviations (N,) and (N,) along axes turned by ``angle`` (N,) radians against the image's."""
    across, down = _grid(radius)
    along = across * angle.cos()[:, None, None] + down * angle.sin()[:, None, None]
    aside = down * angle.cos()[:, None, None] - across * angle.sin()[:, None, None]
    weight = torch.exp(-0.5 * ((along / first[:, None, None]) ** 2 + (aside / second[:, None, None]) ** 2))
    return _normalized(weight)


def motion(length: Tensor, angle: Tensor, radius: int) -> Tensor:
    """The exposure of a point that moves evenly along a straight path of ``length`` (N,) pixels at ``angle`` (N,) radians.

    Each part of the path falls on the four pixels around it, in proportion to how near they are (bilinear).
    """
    side = 2 * radius + 1
    steps = _POINTS * side
    time = (torch.arange(steps) + 0.5) / steps - 0.5
    place = torch.stack([-angle.sin(), angle.cos()], 1)[:, :, None] * length[:, None, None] * time + radius  # (N, 2, steps)
    corner = place.floor().clamp(0, side - 2)
    share = place - corner
    kernel = torch.zeros(len(length), side * side)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (share[:, 0] if down else 1 - share[:, 0]) * (share[:, 1] if across else 1 - share[:, 1])
        kernel.scatter_add_(1, ((corner[:, 0] + down) * side + corner[:, 1] + across).long(), weight)
    return _normalized(kernel.view(-1, side, side))


def disk(disk_radius: Tensor, radius: int) -> Tensor:
    """A lens out of focus: each pixel weighs as much as a disk of ``disk_radius`` (N,) pixels covers of it."""
    side = 2 * radius + 1
    edge = torch.arange(-radius, radius + 1) - 0.5
    strip = (torch.arange(side * _STRIPS) + 0.5) / _STRIPS - 0.5 - radius
    half = (disk_radius[:, None] ** 2 - strip**2).clamp(min=0).sqrt()[:, :, None]  # half of the chord in each strip
    covered = torch.clamp(torch.minimum(half, edge + 1) - torch.maximum(-half, edge), min=0)
    return _normalized(covered.view(-1, side, _STRIPS, side).mean(2))


def sinc(cutoff: Tensor, radius: int) -> Tensor:
    """The ideal low-pass filter of circular ``cutoff`` (N,) in (0, pi] radians, cut off at ``radius``: it rings (Wang et al. 2021)."""
    across, down = _grid(radius)
    distance = (across**2 + down**2).sqrt()
    cutoff = cutoff[:, None, None]
    weight = cutoff * torch.special.bessel_j1(cutoff * distance) / (2 * math.pi * distance.clamp(min=1e-6))
    middle = cutoff[:, 0] ** 2 / (4 * math.pi)
    weight[:, radius, radius] = middle[:, 0]
    return _normalized(weight)


def _grid(radius: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    return place[None, None, :], place[None, :, None]


def _normalized(kernel: Tensor) -> Tensor:
    return kernel / kernel.sum((1, 2), keepdim=True)
