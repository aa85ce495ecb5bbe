"""The way back: from an image to the noise that a deterministic sampler made it of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calotype.diffusion.path import NoiseLevel
from calotype.diffusion.samplers import Denoiser, trapezoid

CORRECTIONS = 1
"""Evaluations that the last step is inverted with: more of them read a clean image better, and one that was compressed worse
(docs/watermark.md)."""


def starting_noise(denoise: Denoiser, image: Tensor, levels: Sequence[NoiseLevel], corrections: int = CORRECTIONS) -> Tensor:
    """The noise (N, C, H, W) at the first of ``levels`` from which a sampler that adds none came to images (N, C, H, W) in [-1, 1].

    The last step makes an image of a state, image = denoise(state), and is inverted by a fixed-point iteration from the image alone, with
    all of its noise taken for zero. What was clipped to [-1, 1] says only that it lies beyond. From there the trapezoidal rule goes back
    along the places of the sampler, which is second order like Heun's method (Song et al. 2021, section 4.3, goes back by Euler's).
    """
    last = levels[-2]
    state = last.alpha * image
    for _ in range(corrections):
        found = denoise(state, last)
        beyond = ((image <= -1) & (found < -1)) | ((image >= 1) & (found > 1))
        state = state + last.alpha * torch.where(beyond, 0.0, image - found)
    return trapezoid(denoise, state, levels[-2::-1]) / levels[0].sigma
