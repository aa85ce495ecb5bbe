"""Bicubic resizing that equals MATLAB's ``imresize``, the convention of all published super-resolution scores.

MATLAB has treated borders in two ways: the small images of Set5 and Set14 that everybody shares were made with borders replicated, the
scores that are in print for bicubic interpolation with borders mirrored.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from calotype.degrade.taps import Taps, reflected
from calotype.precise import doubled

T = TypeVar("T", float, Tensor)


def resize(image: Tensor, height: int, width: int, scale: float | None = None, eight_bit: bool = False, mirror: bool = False) -> Tensor:
    """Images (N, C, H, W) float resized to ``height`` x ``width`` by antialiased bicubic interpolation (Keys 1981, a = -1/2).

    Args:
        image: Values in [-1, 1].
        height: Rows of the result.
        width: Columns of the result.
        scale: Result over input, where it is not ``height / H`` exactly (MATLAB's second form of the call).
        eight_bit: Round to the 256 levels after each pass, rows first, as MATLAB does with uint8 images.
        mirror: Continue images by their mirror images beyond their borders instead of replicating the outermost pixels.
    """
    filters = bicubic(image.shape[2], height, scale, mirror), bicubic(image.shape[3], width, scale, mirror)
    if eight_bit:  # in levels and in double precision, where the halves that are rounded up are exact
        levels = doubled(image).add(1).mul_(127.5).round_()
        for taps, axis in zip(filters, (2, 3), strict=True):
            levels = taps.apply(levels, axis).add_(0.5 + 1e-9).floor_().clamp_(0, 255)
        return levels.to(image).sub_(127.5).mul_(1 / 127.5)
    return filters[1].apply(filters[0].apply(image, 2), 3)


@lru_cache(maxsize=64)
def bicubic(size: int, out: int, scale: float | None = None, mirror: bool = False) -> Taps:
    """The filter from ``size`` to ``out`` places, the borders replicated or mirrored; ``scale`` is out over size where not given."""
    scale = scale or out / size
    stretch = max(1.0, 1 / scale)
    reach = 4 * stretch
    count = math.ceil(reach) + 2
    center = (torch.arange(1, out + 1, dtype=torch.float64) / scale) + 0.5 * (1 - 1 / scale)
    place = (center - reach / 2).floor()[:, None] + torch.arange(count, dtype=torch.float64)
    weight = cubic((center[:, None] - place) / stretch)
    weight = weight / weight.sum(1, keepdim=True)
    used = (weight != 0).any(0)
    place = place.long()[:, used] - 1
    return Taps(size, reflected(place, size) if mirror else place.clamp_(0, size - 1), weight[None, :, used])


def cubic(x: T, a: float = -0.5) -> T:
    """What a place at distance ``x`` weighs: the kernel of cubic convolution (Keys 1981), whose slope at 1 is ``a``."""
    far = abs(x)
    near = ((a + 2) * far**3 - (a + 3) * far**2 + 1) * (far <= 1)
    return near + (a * far**3 - 5 * a * far**2 + 8 * a * far - 4 * a) * ((far > 1) & (far <= 2))
