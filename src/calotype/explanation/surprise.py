"""How many bits each pixel of an image costs a model that says how likely images are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calotype.capabilities import LocatesLikelihood
from calotype.errors import UserError
from calotype.explanation.colors import heat, rgb
from calotype.explanation.section import Exhibit, Pixels, Strip, Table
from calotype.metrics.likelihood import BATCH, STREAM
from calotype.metrics.wording import number
from calotype.types import Condition, Model, mix

SHOWN = 8  # images of either kind whose maps are shown


@dataclass(frozen=True)
class Surprise:
    """Bits of images by place; a pixel that costs many is one that the model did not expect."""

    bits: Tensor  # (N, H, W) float32 bits for each number of the pixel: the mean over an image is its bits per dimension
    parts: dict[str, float]  # the mean bits per dimension by the part of the model that they come from
    kind: str  # of the likelihood: "exact", "dequantized bound"
    pixelwise: bool  # whether a number is the pixel's own, given those before it (`calotype.capabilities.LocatesLikelihood`)

    @property
    def bits_per_dim(self) -> float:
        """The mean over all images."""
        return float(self.bits.double().mean())

    @property
    def of_each(self) -> list[float]:
        """Bits per dimension of every image."""
        return [float(one) for one in self.bits.double().mean((1, 2))]


@dataclass(frozen=True)
class PixelSurprise:
    """Bits of held-out images and of what the model draws itself, some of them as maps."""

    held: Surprise | None  # None where there are no held-out images
    drawn: Surprise
    images: tuple[Pixels | None, Pixels]  # (N, H, W, C) uint8: the first of both
    given: bool = False  # whether ``held`` are images that somebody named

    name = "surprise"
    title = "What surprises it: the bits of each pixel"

    @property
    def says(self) -> str:
        """What a number of a pixel is."""
        if self.drawn.pixelwise:
            return (
                "The model tells the probability of each pixel given all above it and to its left, exactly. Bright pixels cost many "
                "bits: it did not expect them. What it knows for sure costs none."
            )
        return (
            "A flow gives no pixel a probability of its own: its log-density is one number of the whole image. But it is a sum of "
            "terms, each of which arises at a place of one of its levels (a latent's density there, and how much the level stretches "
            "there), and they are shown where they arise, spread evenly over the pixels of their place. Bright places cost many bits; "
            "a place also pays for what its neighbors can be told from."
        )

    def exhibits(self) -> Sequence[Exhibit]:
        """Maps on one scale, and means."""
        known = self.drawn if self.held is None else self.held
        most = float(torch.quantile(known.bits[:SHOWN].flatten(), 0.995).clamp(min=1e-6))
        found: list[Exhibit] = []
        who = "Images that were named" if self.given else "Images that it never saw"
        for one, images, what, made in (
            (self.held, self.images[0], who, False),
            (self.drawn, self.images[1], "Images that it drew itself", True),
        ):
            if one is None or images is None:
                continue
            maps = heat(one.bits[: len(images)], most)
            caption = f"{what}, and their bits: dark for none or fewer, brightest from {number(most)} bits for each number of a pixel."
            found.append(Strip(caption, np.concatenate([rgb(images), maps]), len(images), ("image", "bits"), drawn=made))
        return [*found, self._means()]

    def _means(self) -> Table:
        whole = [one for one in (self.held, self.drawn) if one is not None]
        heads = ("named" if self.given else "held out", "drawn")[-len(whole) :]
        sums = tuple(f"{len(one.bits)}" for one in whole)
        rows = [("images", *sums), ("bits/dim, all together", *(f"{one.bits_per_dim:.4f}" for one in whole))]
        if len(self.drawn.parts) > 1:
            rows += [(name, *(f"{one.parts[name]:.4f}" for one in whole)) for name in self.drawn.parts]
        caption = f"The mean over all pixels is the likelihood ({self.drawn.kind}) that calotype evaluate reports."
        return Table(caption, ("bits/dim", *heads), tuple(rows))

    def data(self) -> dict[str, Any]:
        """Means, by the part of the model that they come from."""
        told = {"held_out" if not self.given else "given": self.held, "drawn": self.drawn}
        return {
            "kind": self.drawn.kind,
            "pixelwise": self.drawn.pixelwise,
            **{
                name: {"images": len(one.bits), "bits_per_dim": one.bits_per_dim, "parts": one.parts, "of_each": one.of_each}
                for name, one in told.items()
                if one is not None
            },
        }


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
