"""How many bits each pixel of an image costs a model that says how likely images are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.types import Condition, LocatesLikelihood, Model, mix

BATCH = 50  # images at once, as a report asks for likelihoods
STREAM = 17  # of the random numbers that a bound draws, as in a report


@dataclass(frozen=True)
class Surprise:
    """Bits of images by place; a pixel that costs many is one that the model did not expect."""

    bits: Tensor  # (N, H, W) float32 bits for each number of the pixel: the mean over an image is its bits per dimension
    parts: dict[str, float]  # the mean bits per dimension by the part of the model that they come from
    kind: str  # of the likelihood: "exact", "dequantized bound"
    pixelwise: bool  # whether a number is the pixel's own, given those before it (`calotype.types.LocatesLikelihood`)

    @property
    def bits_per_dim(self) -> float:
        """The mean over all images."""
        return float(self.bits.double().mean())


@torch.no_grad()
def surprise(model: Model, x: Tensor, label: Tensor | None = None, seed: int = 0) -> Surprise:
    """Bits of each pixel of images.

    For the same images in the same order, and the same seed, their mean is the bits/dim of ``calotype evaluate``.

    Args:
        model: whose likelihood is a sum over places.
        x: 8-bit images (N, C, H, W) in [-1, 1].
        label: (N,) classes, where the model knows them.
        seed: of what a bound draws.

    Raises:
        UserError: for a model whose likelihood is no such sum, and where it is not finite.
    """
    if not isinstance(model, LocatesLikelihood):
        raise UserError("this model cannot say what a pixel costs: autoregressive models and flows can")
    device = next(model.parameters()).device
    rng = torch.Generator(device).manual_seed(mix(seed, STREAM))
    maps, parts = [], []
    scale = -math.log(2) * model.spec.channels
    for first in range(0, len(x), BATCH):
        rows = slice(first, first + BATCH)
        condition = Condition(None if label is None or not model.conditional else label[rows].to(device))
        found = {name: (nats / scale).float().cpu() for name, nats in model.located(x[rows].to(device), condition, rng).items()}
        maps.append(torch.stack(list(found.values())).sum(0))
        parts.append({name: bits.double().mean((1, 2)).sum() for name, bits in found.items()})
    bits = torch.cat(maps)
    if not torch.isfinite(bits).all():
        raise UserError("the likelihood of the model is not finite for some of these images")
    means = {name: float(sum(part[name] for part in parts)) / len(x) for name in parts[0]}
    return Surprise(bits, means, model.likelihoods()[0].kind, model.pixelwise)
