"""How likely images are under a denoiser: along its differential equation, and by the variational bound.

Both hold for every Gaussian path and every denoiser. They look at the state as image + s noise, so that a place is known by its
half log-SNR -log(s) alone. The noise end of the path is taken for pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from calotype.diffusion.path import NoiseLevel, per_image
from calotype.diffusion.samplers import Denoiser, noise_in

Expected = Callable[[Tensor, Tensor], Tensor]
"""The expected images given states image + s noise, (N, C, H, W), and their half log-SNRs -log(s), (N,)."""

Trace = Callable[[Denoiser, Tensor, NoiseLevel], tuple[Tensor, Tensor]]
"""The expected images at a state, and the traces of their Jacobian with respect to it, (N,)."""

RIGHT, ERROR = 0.99, 0.01  # of a network that puts out the image: how often it is right, and its error when it is
CHUNK = 1024  # sub-pixels whose 256 values are looked at together
BIN = 2 / 255  # distance between two neighboring values of an 8-bit image in [-1, 1]


def ode_log_density(denoise: Denoiser, image: Tensor, levels: Sequence[NoiseLevel], trace: Trace) -> Tensor:
    """The log-density of images by the instantaneous change of variables (Chen et al. 2018; Song et al. 2021b, equation 39).

    Heun's method along the equation that `calotype.diffusion.samplers.heun` solves, two evaluations a step and no stochastic one;
    the trace is integrated over the half log-SNR, in which it changes slowly.

    Args:
        denoise: the expected image.
        image: (N, C, H, W).
        levels: from the image to the noise; the first must have some noise, the last next to no image.
        trace: exact, or an unbiased estimate.

    Returns:
        (N,) nats per image, float32.
    """
    dims = image[0].numel()
    first, last = levels[0], levels[-1]
    x = first.alpha * image
    change = torch.zeros(len(image), device=image.device)
    for now, then in pairwise(levels):
        clean, slope = trace(denoise, x, now)
        noise = noise_in(x, clean, now)
        guess = then.alpha * clean + then.sigma * noise
        again, slope_again = trace(denoise, guess, then)
        x = x + (then.alpha - now.alpha) / 2 * (clean + again) + (then.sigma - now.sigma) / 2 * (noise + noise_in(guess, again, then))
        # in terms of x / alpha the flow away from the image expands by d - trace for each unit of the half log-SNR
        change = change + (now.half_log_snr - then.half_log_snr) * (dims - (now.alpha * slope + then.alpha * slope_again) / 2)
    scale = last.sigma / last.alpha
    end = x / last.sigma
    return change - end.square().flatten(1).sum(1) / 2 - dims * (math.log(scale) + math.log(2 * math.pi) / 2)


def hutchinson(probe: Tensor) -> Trace:
    """The trace by one product with a random vector of independent entries of variance 1 (Hutchinson 1989), (N, C, H, W)."""

    def trace(denoise: Denoiser, x: Tensor, level: NoiseLevel) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            image = denoise(state, level)
            (product,) = torch.autograd.grad((image * probe).sum(), state)
        return image.detach(), (product * probe).flatten(1).sum(1)

    return trace


def trusted(image: Tensor, state: Tensor, half_log_snr: Tensor) -> Tensor:
    """The expected images where the prediction of a network may be wrong and the state, image + s noise, may not.

    A network that puts out the image itself has errors that do not shrink with the noise, and a likelihood would ask it for
    thousandths. Each pixel of the truth is taken to be the prediction up to a small normal error with probability ``RIGHT``, and
    anything in [-1, 1] otherwise; this is the mean of that mixture given the state. (N, C, H, W), with half log-SNRs (N,).
    """
    noise = per_image(torch.exp(-2 * half_log_snr), state)
    total = noise + ERROR**2
    near = (ERROR**2 * state + noise * image) / total
    # how much likelier the state is where the prediction is wrong
    odds = (1 - RIGHT) / (2 * RIGHT) * torch.sqrt(2 * math.pi * total) * torch.exp(((image - state).square() / (2 * total)).clamp(max=60))
    known = state.clamp(-1, 1)
    return known + (near - known) / (1 + odds)


def dequantized(images: Tensor, rng: torch.Generator) -> Tensor:
    """8-bit images with uniform noise as wide as the distance between two values (Uria et al. 2013)."""
    return images + BIN * (torch.rand(images.shape, generator=rng, device=images.device) - 0.5)


def variational_bound(expected: Expected, image: Tensor, ends: tuple[float, float], evaluations: int, rng: torch.Generator) -> Tensor:
    """A lower bound of the log-probability of 8-bit images (Kingma et al. 2021, equations 11 to 17, in continuous time).

    What the noise end tells of the image, plus the weighted error of the denoiser over all noise levels, plus what the image still
    costs at the first level. Unbiased with any number of evaluations, which are spread evenly over the half log-SNRs.

    Args:
        expected: the denoiser.
        image: (N, C, H, W) of 8-bit values in [-1, 1].
        ends: half log-SNRs of the noise end and of the image end.
        evaluations: of the denoiser for each image.
        rng: draws the noise.

    Returns:
        (N,) nats per image, float32.
    """
    low, high = ends
    prior = math.exp(2 * low) / 2 * image.square().flatten(1).sum(1)
    errors = torch.zeros(len(image), device=image.device)
    for step in range(evaluations):
        at = low + (high - low) / evaluations * (step + torch.rand(len(image), generator=rng, device=image.device))
        error = (image - expected(_noisy(image, at, rng), at)).square().flatten(1).sum(1)
        errors = errors + torch.exp(2 * at) * error
    last = torch.full((len(image),), high, device=image.device)
    return -prior - (high - low) / evaluations * errors + reconstruction(image, _noisy(image, last, rng), math.exp(-high))


def _noisy(image: Tensor, half_log_snr: Tensor, rng: torch.Generator) -> Tensor:
    noise = torch.randn(image.shape, generator=rng, device=image.device)
    return image + per_image(torch.exp(-half_log_snr), image) * noise


def reconstruction(image: Tensor, state: Tensor, scale: float) -> Tensor:
    """The log-probability of 8-bit images given image + ``scale`` noise, each value as likely as it explains its state.

    Kingma et al. (2021, equation 12 of the supplement): a softmax over the 256 values. (N,) nats per image.
    """
    values = torch.arange(256, device=image.device) * BIN - 1
    total = torch.zeros(len(image), device=image.device)
    for here, there in zip(torch.split(image.flatten(1), CHUNK, dim=1), torch.split(state.flatten(1), CHUNK, dim=1), strict=True):
        fits = -((there[..., None] - values) / scale).square() / 2
        right = -((there - here) / scale).square() / 2
        total = total + (right - torch.logsumexp(fits, dim=-1)).sum(1)
    return total
