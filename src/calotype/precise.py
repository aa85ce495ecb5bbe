"""Arithmetic in double precision, and what else not every device can do.

Apple's GPUs have neither float64 nor the quantile function of the normal distribution, and pool maps to sizes that divide theirs alone.
What needs more the processor computes there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

COMPLETE = frozenset({"cpu", "cuda"})
"""The kinds of devices that have all types of numbers and all functions."""


def doubled(tensor: Tensor) -> Tensor:
    """``tensor`` in float64: on its device where that has such numbers, else on the processor."""
    return _able(tensor).double()


def normal_quantile(share: Tensor) -> Tensor:
    """Of shares in [0, 1] the numbers below which a standard normal one lies so often, of the same shape, type and device.

    >>> normal_quantile(torch.tensor([0.5, 0.975])).tolist()
    [0.0, 1.959964394569397]
    """
    quantile: Tensor = torch.special.ndtri(_able(share))
    return quantile.to(share.device)


def pooled(maps: Tensor, side: int) -> Tensor:
    """Means over ``side`` x ``side`` parts of maps (N, C, H, W) that are as equal as can be, (N, C, side, side)."""
    return functional.adaptive_avg_pool2d(_able(maps), side).to(maps.device)


def _able(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type in COMPLETE else tensor.cpu()
