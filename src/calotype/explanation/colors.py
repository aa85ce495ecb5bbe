"""Maps of numbers as pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from calotype.explanation.section import Pixels

FAINT = 0.35  # of the image that lies under a map
BRIGHTEST = 0.995  # the quantile of a map that has the full color: single pixels must not leave the others pale
AGAINST, FOR = (178, 40, 30), (28, 93, 170)  # red and blue, which hardly anybody confuses
HEAT = np.array([(8, 6, 20), (74, 16, 94), (160, 42, 84), (226, 92, 42), (250, 178, 60), (252, 248, 200)], np.float64)


def signed(maps: Tensor) -> Pixels:
    """Maps (N, H, W) of numbers of both signs as (N, H, W, 3): white for none, blue above, red below, each map by its own scale."""
    share = np.clip(_scaled(maps.abs()) * torch.sign(maps).numpy(), -1, 1)[..., None]
    ends = np.where(share > 0, np.array(FOR, np.float64), np.array(AGAINST, np.float64))
    return _rounded(255 + np.abs(share) * (ends - 255))


def heat(maps: Tensor, most: float | None = None) -> Pixels:
    """Maps (N, H, W) of numbers from 0 as (N, H, W, 3), dark for 0 and bright for ``most``; each map by its own scale where it is
    None."""
    share = _scaled(maps) if most is None else (maps / most).clamp(0, 1).numpy()
    place = share * (len(HEAT) - 1)
    low = np.minimum(place.astype(int), len(HEAT) - 2)
    part = (place - low)[..., None]
    return _rounded(HEAT[low] * (1 - part) + HEAT[low + 1] * part)


def over(colored: Pixels, images: Pixels) -> Pixels:
    """Colored maps laid over the images (N, H, W, C) that they are of, which shimmer through in gray."""
    gray = images.astype(np.float64).mean(3, keepdims=True)
    return _rounded(colored * (1 - FAINT) + FAINT * gray)


def enlarged(maps: Tensor, size: int) -> Tensor:
    """Coarse maps (N, h, w) at the size of the images, (N, size, size), bilinear: what lies between two places is known of neither."""
    return functional.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


def rgb(images: Pixels) -> Pixels:
    """Gray or color images (N, H, W, C) with three channels, to stand beside maps."""
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def _rounded(values: NDArray[np.float64]) -> Pixels:
    found: Pixels = np.rint(values).astype(np.uint8)
    return found


def _scaled(maps: Tensor) -> NDArray[np.float64]:
    top = torch.quantile(maps.double().flatten(1), BRIGHTEST, dim=1).clamp(min=1e-12)
    most = torch.maximum(top, maps.double().flatten(1).amax(1) * 0.05)
    found: NDArray[np.float64] = (maps.double() / most.view(-1, 1, 1)).clamp(0, 1).numpy()
    return found
