"""Posterior sampling: images drawn from a trained prior given y = A x + noise, with nothing trained for A.

Samplers follow the expected image given a state. Given a measurement as well, and where images given a state are Gaussian, it is

    E[x | state, y] = E[x | state] + C A* (A C A* + sigma^2)^-1 (y - A E[x | state]),    C = Cov[x | state].

`proximal` (DiffPIR) takes C for a number; `guided` (DPS) multiplies by the true C, which is the derivative of the denoiser, and takes it
for a number within the brackets only. Each makes a denoiser of a denoiser, for any of the samplers. Where the approximation is poor a
sampler that draws noise anew (`ddpm`) does better than one along the differential equation: what later steps know better can still
change what earlier ones chose. `ddrm` is a sampler of its own, in the coordinates in which A is diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from calotype.degrade.base import BLIND_TO
from calotype.diffusion.measurement import Measurement, dot
from calotype.diffusion.path import NoiseLevel
from calotype.diffusion.samplers import Denoiser, Normal, noise_in

RELAXED = 1.7  # times the step that comes nearest to the measurement; from 2 on a step would lead away from it


def spread_at(level: NoiseLevel, std: float) -> float:
    """The variance of a pixel given its state, for images that are white Gaussian noise of standard deviation ``std``.

    Near the image it is (sigma / alpha)^2, the value of Zhu et al. (2023) with lambda = 1; near the noise it is ``std``^2 (Song et
    al. 2023, PiGDM, section 3.2).

    >>> spread_at(NoiseLevel(0.0, 1.0), 0.5), spread_at(NoiseLevel(1.0, 0.0), 0.5)
    (0.25, 0.0)
    """
    return (std * level.sigma) ** 2 / (level.sigma**2 + (level.alpha * std) ** 2)


def proximal(denoise: Denoiser, measured: Measurement, std: float) -> Denoiser:
    """The expected image given state and measurement, by a step towards the measurement (Zhu et al. 2023, DiffPIR, equation 13).

    The step minimizes |y - A x|^2 / sigma^2 + |x - E[x | state]|^2 / spread in closed form, or by conjugate gradients. It is exact for
    images that are white Gaussian noise of standard deviation ``std`` whatever A is; where pixels depend on each other the prior tells
    the rest of the image only in later evaluations. One evaluation of the denoiser, no derivative. Linear operators only.
    """

    def conditioned(x: Tensor, level: NoiseLevel) -> Tensor:
        image, spread = denoise(x, level), spread_at(level, std)
        weights = measured.weighed(measured.y - measured.operator.forward(image), spread)
        return image + spread * measured.operator.adjoint(weights)

    return conditioned


def guided(denoise: Denoiser, measured: Measurement, std: float) -> Denoiser:
    """The expected image given state and measurement, by the gradient through the denoiser (Chung et al. 2023, DPS, algorithm 1).

    The score of the measurement given the state is that of N(y; A E[x | state], sigma^2 + A spread A*). Chung et al. leave out the
    spread and choose the size of the step by hand; it is there in Song et al. (2023, PiGDM, equation 7), and makes the step exact for
    images that are white Gaussian noise of standard deviation ``std``. For other images the derivative carries what is measured to all
    pixels that depend on it; where many depend on each other, as in photographs, that is many times too far. The step is therefore no
    longer than `RELAXED` times the one that comes nearest to (A C A* + sigma^2) w = y - A E[x | state] along its direction, with the true
    C: that of conjugate gradients (Rozet et al. 2024, MMPS), which needs no further derivative. One evaluation of the denoiser and its
    gradient, about three in time. Any differentiable operator.
    """

    def conditioned(x: Tensor, level: NoiseLevel) -> Tensor:
        with torch.enable_grad():
            state = x.detach().requires_grad_(True)
            image = denoise(state, level)
            if not level.alpha:  # pure noise says nothing of the image
                return image.detach()
            seen = measured.operator.forward(image)
            rest = (measured.y - seen).detach()
            weights = measured.weighed(rest, spread_at(level, std))
            (slope,) = torch.autograd.grad((weights * seen).sum(), state)
        image, shift = image.detach(), level.sigma**2 / level.alpha * slope
        bent = dot(weights, measured.operator.forward(image + shift) - seen.detach() + measured.variance * weights)
        share = (RELAXED * dot(weights, rest) / bent.clamp(min=1e-30)).clamp(max=1)
        return image + torch.where(bent > 0, share, 1.0) * shift

    return conditioned


def ddrm(denoise: Denoiser, x: Tensor, levels: Sequence[NoiseLevel], measured: Measurement, normal: Normal, eta: float = 0.85) -> Tensor:
    """Denoising diffusion restoration models (Kawar et al. 2022, equations 7 and 8): one evaluation a step.

    In the coordinates of A's singular value decomposition each number is either unseen and drawn by DDIM's step, or seen with less
    noise than the state has and put in its place with what noise is lacking, or seen with more and used as a part of the noise.
    Without noise what was measured is met exactly in the directions that A keeps at more than half of its strength
    (`Measurement.kept`), and about as far as the denoiser follows it in those that A weakens further. What is unseen follows the seen
    only through the denoiser: with eta 0 that is exact in the limit of many steps where the coordinates of images are independent,
    an approximation where not. Noise that is drawn anew takes variance with every step, so that many steps with a large eta make
    samples too much alike.

    Args:
        denoise: the expected image given a state.
        x: the states (N, C, H, W) at the first level.
        levels: from noise to image.
        measured: with an operator that has an ``svd``.
        normal: fresh noise.
        eta: share of the noise that is drawn anew. The paper's eta_b is 1.

    Raises:
        ValueError: for an operator without singular values.
    """
    svd = measured.svd
    if svd is None:
        raise ValueError("ddrm needs the singular values of the operator")
    singulars = svd.singulars.to(x)
    seen = (singulars > BLIND_TO * singulars.amax()).expand_as(x)
    target = svd.Ut(measured.y) / singulars.clamp(min=1e-12)
    doubt = torch.where(seen, measured.variance.sqrt() / singulars.clamp(min=1e-12), torch.inf)  # its standard deviation
    for now, then in pairwise(levels):
        image = denoise(x, now)
        if not then.sigma:
            x = image
            break
        place, ratio, fresh = svd.Vt(image), then.sigma / then.alpha, svd.Vt(normal())
        noise = svd.Vt(noise_in(x, image, now))
        part = torch.where(seen, (target - place) / doubt.clamp(max=1e12), noise)
        drawn = place + ratio * (math.sqrt(1 - eta**2) * part + eta * fresh)
        set_right = target + (ratio**2 - doubt.square()).clamp(min=0).sqrt() * fresh
        x = then.alpha * svd.V(torch.where(seen & (doubt <= ratio), set_right, drawn))
    return measured.kept(x)
