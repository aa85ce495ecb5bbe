"""What a network is asked for, and how its errors weigh: all that follows from the place on the path.

The image is D = c_skip x + c_out F(c_in x) where F is the network; on any path x = alpha image + sigma noise.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Prediction = Literal["image", "noise", "velocity", "v", "edm"]
Weighting = Literal["output", "velocity", "min-snr"]

LEAST_SIGMA = 0.05  # bounds the weight of the velocity: errors of the image weigh at most 1 / 0.05 ** 2 on the rectified path


class Mix(NamedTuple):
    """How the image follows from the state and the network's output; tensors of the shape of alpha and sigma."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def mix_of(predict: Prediction, alpha: Tensor, sigma: Tensor, data_std: float = 0.5) -> Mix:
    """The coefficients of a prediction.

    image: the image itself. noise: epsilon of Ho et al. (2020). velocity: image - noise, the direction of the rectified path
    (Lipman et al. 2022). v: alpha noise - sigma image (Salimans & Ho 2022). edm: what gives input and target of the network unit
    variance for images of standard deviation ``data_std`` (Karras et al. 2022, table 1, there with alpha = 1).
    """
    one = torch.ones_like(alpha)
    match predict:
        case "image":
            return Mix(one, torch.zeros_like(alpha), one)
        case "noise":
            return Mix(one, 1 / alpha, -sigma / alpha)
        case "velocity":
            return Mix(one, 1 / (alpha + sigma), sigma / (alpha + sigma))
        case "v":
            total = alpha.square() + sigma.square()
            return Mix(one, alpha / total, -sigma / total)
        case "edm":
            total = (alpha * data_std).square() + sigma.square()
            return Mix(total.rsqrt(), alpha * data_std**2 / total, sigma * data_std * total.rsqrt())


def weight_of(weighting: Weighting, alpha: Tensor, sigma: Tensor, c_out: Tensor, snr_limit: float = 5.0) -> Tensor:
    """How much a squared error of the image weighs in the loss.

    output: so that the errors of what the network puts c_out weigh the same everywhere, which is the simple loss of Ho et al. (2020)
    for the noise and that of Karras et al. (2022) for edm. velocity: like errors of the velocity image - noise, bounded (Li & He
    2025, section 4). min-snr: by the signal-to-noise ratio up to ``snr_limit`` (Hang et al. 2023, section 3.4).
    """
    match weighting:
        case "output":
            return c_out.square().reciprocal()
        case "velocity":
            return ((alpha + sigma) / sigma.clamp(min=LEAST_SIGMA)).square()
        case "min-snr":
            return (alpha / sigma).square().clamp(max=snr_limit)
