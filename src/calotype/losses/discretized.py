"""Probabilities of 8-bit pixels: (N, C, H, W) images in [-1, 1] whose values are k / 127.5 - 1 for k from 0 to 255.

A continuous density integrated over the bin of each value is a probability, and only that makes numbers of different families
comparable: a uniform model scores exactly 8 bits per sub-pixel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HALF_BIN = 1 / 255  # half the distance between two neighboring values


def levels(images: Tensor) -> Tensor:
    """The 8-bit values of images in [-1, 1], int64 of the same shape.

    >>> levels(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    [0, 128, 255]
    """
    return (images * 127.5 + 127.5).round().clamp(0, 255).long()


def images_of(values: Tensor) -> Tensor:
    """The images in [-1, 1], float32, of 8-bit values."""
    return values.float() / 127.5 - 1


def discretized_logistic(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability in nats of 8-bit pixels under a logistic distribution (Kingma et al. 2016, eq. 10; Salimans et al. 2017).

    The first bin reaches down to minus infinity and the last one up to infinity, so that the 256 probabilities sum to one.

    Args:
        x: 8-bit pixel values in [-1, 1], of any shape.
        mean: of the distribution, broadcastable to ``x``.
        log_scale: logarithm of its scale, broadcastable to ``x``.

    Returns:
        One log-probability for each element, float32.
    """
    x, mean, log_scale = x.float(), mean.float(), log_scale.float()
    inverse = torch.exp(-log_scale)
    centered = x - mean
    upper, lower = inverse * (centered + HALF_BIN), inverse * (centered - HALF_BIN)
    # log(sigmoid(u) - sigmoid(l)) = log_sigmoid(u) + log_sigmoid(-l) + log(1 - exp(l - u)), which never subtracts like from like
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + log1mexp((2 * HALF_BIN) * inverse)
    return torch.where(x < -1 + HALF_BIN, F.logsigmoid(upper), torch.where(x > 1 - HALF_BIN, F.logsigmoid(-lower), inside))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) of positive ``x``, exact at both ends (Mächler 2012)."""
    small = x < math.log(2)
    # each branch gets an argument that is harmless for it, because where() passes NaN gradients of the branch not taken
    near = torch.log(-torch.expm1(-torch.where(small, x, torch.ones_like(x))))
    far = torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(x), x)))
    return torch.where(small, near, far)
