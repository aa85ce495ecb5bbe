"""Samplers: from noise to images in a few steps.

Each is a pure function of a denoiser, the state at the first place of a path and the places to step through, and works on every
Gaussian path: a state x = alpha image + sigma noise moves by dx = dalpha image + dsigma noise, however time is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

from calotype.diffusion.path import NoiseLevel

Denoiser = Callable[[Tensor, NoiseLevel], Tensor]
"""The expected image (N, C, H, W) given a state and its place on the path."""

Normal = Callable[[], Tensor]
"""Fresh standard normal noise, (N, C, H, W)."""

SolverName = Literal["ddpm", "ddim", "euler", "heun", "dpm++"]


def noise_in(x: Tensor, image: Tensor, level: NoiseLevel) -> Tensor:
    """The noise of a state whose image is known."""
    return (x - level.alpha * image) / level.sigma


def ddim(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], normal: Normal, eta: float = 0.0) -> Tensor:
    """Denoising diffusion implicit models (Song et al. 2021, equation 12): one evaluation a step.

    A part of the noise is replaced by fresh noise of standard deviation ``eta`` times that of the posterior q(x' | x, image).
    """
    for now, then in pairwise(levels):
        image = denoise(x, now)
        fresh = eta**2 * posterior_variance(now, then)
        kept = math.sqrt(max(then.sigma**2 - fresh, 0.0))
        x = then.alpha * image + kept * noise_in(x, image, now)
        if fresh:
            x = x + math.sqrt(fresh) * normal()
    return x


def ddpm(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], normal: Normal) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2, with the smaller variance): one evaluation a step."""
    return ddim(denoise, x, levels, normal, eta=1.0)


def posterior_variance(now: NoiseLevel, then: NoiseLevel) -> float:
    """The variance of q(x' | x, image) for x at ``now`` and x' at ``then``, nearer to the image (Ho et al. 2020, equation 7)."""
    return -(then.sigma**2) * math.expm1(2 * (now.half_log_snr - then.half_log_snr)) if then.sigma else 0.0


def euler(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], normal: Normal | None = None) -> Tensor:
    """The explicit Euler method: order 1, one evaluation a step, and the same as DDIM without fresh noise."""
    for now, then in pairwise(levels):
        image = denoise(x, now)
        x = then.alpha * image + then.sigma * noise_in(x, image, now)
    return x


def heun(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], normal: Normal | None = None) -> Tensor:
    """Heun's method: order 2, two evaluations a step but one in the last.

    The last step is Euler's, which keeps the order and never asks for the noise at the image, where there is none (Karras et al.
    2022, algorithm 1).
    """
    return euler(denoise, trapezoid(denoise, x, levels[:-1]), levels[-2:])


def trapezoid(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel]) -> Tensor:
    """The explicit trapezoidal rule, either way along a path: order 2, two evaluations a step. Every place must have noise."""
    for now, then in pairwise(levels):
        image = denoise(x, now)
        noise = noise_in(x, image, now)
        guess = then.alpha * image + then.sigma * noise
        again = denoise(guess, then)
        image, noise = image + again, noise + noise_in(guess, again, then)
        x = x + (then.alpha - now.alpha) / 2 * image + (then.sigma - now.sigma) / 2 * noise
    return x


def dpm_plus_plus(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], normal: Normal | None = None) -> Tensor:
    """DPM-Solver++ 2M (Lu et al. 2022b, algorithm 2): order 2, one evaluation a step.

    It extrapolates the image from the last two; the first step and one that reaches the image, at an infinite half log-SNR, use one.
    """
    previous, before = None, 0.0
    for now, then in pairwise(levels):
        image = target = denoise(x, now)
        width = then.half_log_snr - now.half_log_snr
        if previous is not None and then.sigma:
            target = image + width / (2 * before) * (image - previous)
        x = then.sigma / now.sigma * x - then.alpha * math.expm1(-width) * target
        previous, before = image, width
    return x


SOLVERS: dict[SolverName, Callable[[Denoiser, Tensor, Sequence[NoiseLevel], Normal], Tensor]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpm++": dpm_plus_plus,
}
