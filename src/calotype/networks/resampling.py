"""Convolutions of maps that double or halve in the same step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution of (N, C, H, W) doubled by nearest neighbors, (N, O, 2 H, 2 W), in less than half of the multiplications.

    Four places of the doubled map are copies of one, so that the sums of neighboring weights make it one transposed convolution of
    kernel 4 and stride 2, whose weights overlap evenly.
    """
    turned = weight.flip(2, 3).transpose(0, 1)
    rows = F.pad(turned, (0, 0, 1, 0)) + F.pad(turned, (0, 0, 0, 1))
    kernel = F.pad(rows, (1, 0)) + F.pad(rows, (0, 1))
    return F.conv_transpose2d(x, kernel.contiguous(memory_format=torch.channels_last), bias, stride=2, padding=1)


def halved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution of (N, C, H, W) and the means of 2x2 places of it, (N, O, H / 2, W / 2), in less than half of the multiplications.

    The means of neighboring weights make it one convolution of kernel 4 and stride 2, as `doubled` does the other way. A map of an odd side
    has one more row and column of zeros.
    """
    rows = F.pad(weight, (0, 0, 0, 1)) + F.pad(weight, (0, 0, 1, 0))
    kernel = 0.25 * (F.pad(rows, (0, 1)) + F.pad(rows, (1, 0)))
    down, right = x.shape[2] % 2, x.shape[3] % 2
    x = F.pad(x, (0, right, 0, down)) if down or right else x
    return F.conv2d(x, kernel.contiguous(memory_format=torch.channels_last), bias, stride=2, padding=1)
