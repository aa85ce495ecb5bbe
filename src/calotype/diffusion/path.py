"""Gaussian paths from noise to image: the state at a time is alpha image + sigma noise.

A place on any path is known by its half log-SNR, log(alpha / sigma): minus infinity is noise, plus infinity an image. It is half the
logarithm of the signal-to-noise ratio (Kingma et al. 2021), and minus the logarithm of the noise level of Karras et al. (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from calotype.precise import doubled

PathName = Literal["rectified", "vp-linear", "vp-cosine", "ve"]

STEPS = 1000  # of the noising chains whose schedules are known by their steps
LARGEST, SMALLEST, CURVATURE = 80.0, 0.002, 7.0  # sigma of the variance-exploding path and rho, how its times crowd at the image


class NoiseLevel(NamedTuple):
    """A place on a path."""

    alpha: float  # share of the image
    sigma: float  # share of the noise

    @property
    def half_log_snr(self) -> float:
        """log(alpha / sigma), infinite at the ends of a path."""
        if not self.alpha:
            return -math.inf
        return math.log(self.alpha / self.sigma) if self.sigma else math.inf


class ProbabilityPath(NamedTuple):
    """A way from noise to image. All functions take and return tensors of one shape."""

    scales: Callable[[Tensor], tuple[Tensor, Tensor]]  # of a half log-SNR: alpha and sigma
    schedule: Callable[[Tensor], Tensor]  # of a time, 0 at the noise and 1 at the image: the half log-SNR, `doubled`
    c_noise: Callable[[Tensor], Tensor]  # of a half log-SNR: what a network is told of it
    ends: tuple[float, float]  # half log-SNRs between which likelihoods and latents are computed

    def levels(self, times: Sequence[float]) -> list[NoiseLevel]:
        """The places at times from 0 (noise) to 1 (image)."""
        return self.at(self.schedule(torch.tensor(times, dtype=torch.float64)))

    def at(self, half_log_snrs: Tensor) -> list[NoiseLevel]:
        """The places with half log-SNRs (n,)."""
        alpha, sigma = self.scales(doubled(half_log_snrs))
        return [NoiseLevel(a, s) for a, s in zip(alpha.tolist(), sigma.tolist(), strict=True)]

    def timesteps(self, steps: int, shift: float = 1.0) -> list[NoiseLevel]:
        """``steps + 1`` places from noise to image for a sampler. A ``shift`` above 1 puts more of them near the noise.

        A path that never quite reaches the image jumps there with the last step (Karras et al. 2022, equation 5).
        """
        return list(_timesteps(self, steps, shift))


@lru_cache(maxsize=64)
def _timesteps(path: ProbabilityPath, steps: int, shift: float) -> tuple[NoiseLevel, ...]:
    """Those of ``path``, known once they were asked for: a graph that is exported holds numbers and cannot compute them."""
    if math.isinf(path.schedule(torch.ones(1)).item()):
        return tuple(path.levels(steps_between(steps, shift)))
    return (*path.levels(steps_between(steps - 1, shift) if steps > 1 else [0.0]), NoiseLevel(1.0, 0.0))


def steps_between(steps: int, shift: float = 1.0) -> list[float]:
    """``steps + 1`` times from 0 (noise) to 1 (image).

    A ``shift`` above 1 puts more of the steps near the noise, as large images need (Esser et al. 2024, equation 23).

    >>> steps_between(4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return [t / (t + shift * (1 - t)) for t in (i / steps for i in range(steps + 1))]


def add_noise(image: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The states alpha image + sigma noise, (N, C, H, W), of each image at a place of its own, (N,)."""
    return per_image(alpha, image) * image + per_image(sigma, image) * noise


def per_image(numbers: Tensor, images: Tensor) -> Tensor:
    """Numbers (N,) in a shape that multiplies images (N, ...)."""
    return numbers.view(-1, *[1] * (images.ndim - 1))


def linear_alpha_bar() -> Tensor:
    """The share of the image's variance after 0 to 1,000 steps of Ho et al. (2020): beta from 1e-4 to 0.02. (1001,) float64."""
    return _products(torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)).exp()


def cosine_alpha_bar() -> Tensor:
    """The same of Nichol & Dhariwal (2021, equation 17), with beta at most 0.999. (1001,) float64."""
    angle = (torch.arange(STEPS + 1, dtype=torch.float64) / STEPS + 0.008) / 1.008 * math.pi / 2
    bar = angle.cos().square()
    return _products((1 - bar[1:] / bar[:-1]).clamp(max=0.999)).exp()


def _products(betas: Tensor) -> Tensor:
    """Logarithms of the products of 1 - beta over the first 0, 1, 2 ... steps."""
    return torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])


def _chain(alpha_bar: Tensor) -> Callable[[Tensor], Tensor]:
    """The schedule of a chain of steps; between two of them noise comes at an even rate."""
    table = alpha_bar.log()

    def schedule(time: Tensor) -> Tensor:
        place = (1 - doubled(time)) * STEPS
        before = place.floor().clamp(0, STEPS - 1).long()
        known = table.to(place.device)
        log_bar = torch.lerp(known[before], known[before + 1], place - before)
        return (log_bar - torch.log(-torch.expm1(log_bar))) / 2

    return schedule


def _curved(time: Tensor) -> Tensor:
    """Sigma ** (1 / rho) falls evenly (Karras et al. 2022, equation 5)."""
    first, last = LARGEST ** (1 / CURVATURE), SMALLEST ** (1 / CURVATURE)
    return -CURVATURE * torch.log(first + doubled(time) * (last - first))


def _rectified(half_log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """alpha + sigma = 1."""
    return torch.sigmoid(half_log_snr), torch.sigmoid(-half_log_snr)


def _variance_preserving(half_log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """alpha ** 2 + sigma ** 2 = 1."""
    if torch.compiler.is_exporting():  # other runtimes have sigmoids of which only the first seven digits after the point are right
        return torch.exp(-softplus(-2 * half_log_snr) / 2), torch.exp(-softplus(2 * half_log_snr) / 2)
    return torch.sigmoid(2 * half_log_snr).sqrt(), torch.sigmoid(-2 * half_log_snr).sqrt()


def _variance_exploding(half_log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """alpha = 1."""
    return torch.ones_like(half_log_snr), torch.exp(-half_log_snr)


def _log_noise(half_log_snr: Tensor) -> Tensor:
    """A quarter of the logarithm of the noise level (Karras et al. 2022, table 1)."""
    return -half_log_snr / 4


PATHS: dict[PathName, ProbabilityPath] = {
    "rectified": ProbabilityPath(_rectified, lambda time: torch.logit(doubled(time)), torch.sigmoid, (-5.0, 6.0)),
    "vp-linear": ProbabilityPath(_variance_preserving, _chain(linear_alpha_bar()), _log_noise, (-5.0, 6.0)),
    "vp-cosine": ProbabilityPath(_variance_preserving, _chain(cosine_alpha_bar()), _log_noise, (-5.0, 6.0)),
    "ve": ProbabilityPath(_variance_exploding, _curved, _log_noise, (-math.log(LARGEST), 6.0)),
}
"""rectified: rectified flow (Liu et al. 2022; Lipman et al. 2022); vp-linear, vp-cosine: DDPM and its better schedule; ve: EDM."""
