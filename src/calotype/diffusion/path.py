"""The straight path from noise to image of rectified flow (Liu et al. 2022; Lipman et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(noise: Tensor, image: Tensor, time: Tensor) -> Tensor:
    """The state x_t = (1 - t) noise + t image, (N, C, H, W), at times (N,): noise at 0, the image at 1."""
    share = time.view(-1, *[1] * (image.ndim - 1))
    return torch.lerp(noise, image, share)


def velocity_to(image: Tensor, x: Tensor, time: Tensor | float, least: float = 0.0) -> Tensor:
    """The velocity (image - x_t) / (1 - t) of the straight line that ends at ``image``.

    Where x_t lies on the path from noise to ``image`` it is image - noise. ``least`` bounds the divisor from below: a loss that
    weighs errors of the image like errors of the velocity must not weigh those at the end without limit (Li & He 2025, section 4).
    """
    left = 1 - time
    if isinstance(left, Tensor):
        left = left.clamp(min=least).view(-1, *[1] * (x.ndim - 1))
    return (image - x) / left
