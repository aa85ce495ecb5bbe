"""The divergence of a posterior from its prior, and how much of it an objective counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_standard(mean: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(mean, scale^2) || N(0, 1)) of each element, in nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale


def log_normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """The log-density of N(mean, scale^2) at each element, in nats."""
    return -0.5 * ((x - mean) * torch.exp(-log_scale)).square() - log_scale - 0.5 * math.log(2 * math.pi)


def free_bits(kl: Tensor, free: float) -> Tensor:
    """The divergence that an objective counts when every latent unit has ``free`` nats for nothing (Kingma et al. 2016, eq. 15).

    Args:
        kl: nats of each unit, (N, units).
        free: nats of each unit, on average over the batch, below which making it smaller gains nothing.

    Returns:
        A scalar: the sum over the units of the larger of the mean of each and ``free``.
    """
    return kl.mean(0).clamp(min=free).sum()


def annealed(progress: float, weight: float, warmup: float, cycles: int = 1) -> float:
    """The weight of the divergence after a share ``progress`` of the budget.

    The budget is cut into ``cycles`` equal parts. In each the weight rises in a straight line from zero over the share ``warmup`` of
    the part and then stays: with one cycle the warm-up of Bowman et al. 2016, with several the schedule of Fu et al. 2019, eq. 6.

    >>> [annealed(p, 4.0, 0.5, 2) for p in (0.0, 0.125, 0.25, 0.4, 0.5, 0.9)]
    [0.0, 2.0, 4.0, 4.0, 0.0, 4.0]
    """
    place = (progress * cycles) % 1.0
    return weight * min(1.0, place / warmup) if warmup > 0 else weight
