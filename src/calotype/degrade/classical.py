"""What restores images without learning anything: the baselines that a model has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.blur import Convolution
from calotype.degrade.compose import Chain
from calotype.degrade.deconvolution import wiener
from calotype.degrade.filling import diffuse, mean_fill
from calotype.degrade.jpeg import Recompressed
from calotype.degrade.resize import resize
from calotype.degrade.smoothing import local_wiener, nl_means, noise_level
from calotype.degrade.taps import Separable
from calotype.degrade.tone import equalize, stretch

_SHIFTS = ((0, 0), (1, 3), (2, 6), (3, 1), (4, 4), (5, 7), (6, 2), (7, 5))  # of the grid of JPEG blocks: each row and column once


@torch.no_grad()
def baselines(degraded: Degraded, degradation: Degradation, size: tuple[int, int]) -> dict[str, Tensor]:
    """What classical methods make of degraded images, (N, C', H, W) of ``size`` each, the input untouched first.

    "input" where the size is kept, "bicubic" where it is not; for noise also "wiener" (of the surroundings of each pixel) and
    "nl-means"; for blur "wiener" (deconvolution with the known blur); for holes "mean fill" and "diffusion fill"; for JPEG
    "recompression" (the mean over shifted copies compressed again, Nosratinia 2001); for too little light or contrast "stretch" and
    "equalize". Noise levels are those of the operator where it tells them, else estimated from the image.
    """
    image, names = degraded.image, {part.partition(":")[0] for part in degradation.spec.split("+")}
    noisy = bool(names & {"noise", "poisson", "real"})
    found = {"input": image}
    if noisy or names & {"blur", "motion", "defocus"}:
        known = degraded.operator.sigma
        sigma = noise_level(image) if known is None else known.to(image)
    blur = _blur(degraded.operator)
    if blur is not None and degradation.scale == 1:
        found["wiener"] = wiener(image, blur, sigma)
    elif noisy:
        found |= {"wiener": local_wiener(image, sigma), "nl-means": nl_means(image, sigma)}
    if "mask" in degradation.conditioning and degraded.conditioning is not None:
        at = degradation.conditioning.index("mask")
        mask = degraded.conditioning[:, at : at + 1]
        found |= {"mean fill": mean_fill(image, mask), "diffusion fill": diffuse(image, mask)}
    if isinstance(degraded.operator, Recompressed):
        found["recompression"] = recompressed(image, degraded.operator)
    if names & {"dark", "contrast"}:
        found |= {"stretch": stretch(image), "equalize": equalize(image)}
    if tuple(image.shape[2:]) == size:
        return found
    larger = {name: resize(made, *size) for name, made in found.items()}
    return {"bicubic" if name == "input" else f"{name}, bicubic": made for name, made in larger.items()}


def recompressed(image: Tensor, operator: Operator) -> Tensor:
    """The mean of images (N, C, H, W) shifted, compressed as they were, and shifted back: the blocks of one shift are not another's."""
    total = torch.zeros_like(image)
    for down, across in _SHIFTS:
        total += operator.forward(image.roll((down, across), (2, 3))).roll((-down, -across), (2, 3))
    return total / len(_SHIFTS)


def _blur(operator: Operator) -> Operator | None:
    """The blurs among what happened; None where there are none."""
    steps: Sequence[Operator] = operator.operators if isinstance(operator, Chain) else (operator,)
    kept = [step for step in steps if isinstance(step, Convolution | Separable) and _keeps_size(step)]
    return Chain(kept) if kept else None


def _keeps_size(step: Operator) -> bool:
    return not isinstance(step, Separable) or step.rows.size == step.rows.place.shape[0]
