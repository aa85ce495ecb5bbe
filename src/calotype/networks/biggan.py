"""BigGAN (Brock et al. 2019): a wide residual generator whose classes and latents reach every layer, and its discriminator.

The channels of the maps are the published ones, in multiples of ``width``: 64 in the networks of 32 and 64 pixels, 96 in those of 128 and
256.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.networks.adversary import LatentGenerator
from calotype.networks.blocks import add_spectral_norm, known
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.norms import make_norm
from calotype.networks.residual import HeadName, MakeNorm, ResidualJudge, UpBody, down_plan, levels_of, multiplied
from calotype.settings import WIDEST, Levels, MapSide, Width, unless
from calotype.types import ImageSpec

EPS = 1e-6  # of spectral normalization
SMALL_IMAGES = 4  # times the width, in all maps of images that halve three times or less
UP = {4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}
"""Times the width, by how often images halve: the maps of a generator from the smallest, and what each block of a discriminator makes."""


@dataclass(frozen=True)
class BigGANGeneratorConfig:
    """A residual generator that classes and latents reach at every layer."""

    network: Literal["biggan"] = "biggan"  # wide and residual, made for classes
    width: Width = 64  # channels, of which maps have 1 to 16 times as many, in small images 4 times
    multipliers: Levels = ()  # channels of each map relative to width, from the largest, the last for all others; by the size if not given
    shared: Annotated[int, Field(ge=0, le=WIDEST)] = 128  # numbers of a class that all layers share; 0: each layer has its own
    attention: MapSide = 0  # self-attention on the smallest map of at least this side; 0 for none
    norm: ClassVar[str] = "batch"
    spectral: ClassVar[bool] = True

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(spec.classes, "images with labels", "shared")


@dataclass(frozen=True)
class BigGANDiscriminatorConfig:
    """A residual discriminator."""

    network: Literal["biggan"] = "biggan"  # wide and residual, made for classes
    width: Width = 64  # channels, of which maps have 1 to 16 times as many, in small images 4 times
    multipliers: Levels = ()  # channels of each map relative to width, from the largest, the last for all others; by the size if not given
    attention: MapSide = 0  # self-attention on the smallest map of at least this side; 0 for none
    head: HeadName = "projection"  # what labels are for: part of what is judged, something to tell of images, or nothing
    norm: ClassVar[str] = "none"
    spectral: ClassVar[bool] = True


class BigGANGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1].

    With classes the latent comes in parts, as equal as can be: one becomes the first map, each other tells the normalizations of its block,
    together with an embedding of the class that all blocks ``share`` (Brock et al. 2019, appendix B). Without a shared embedding every
    normalization has gains and biases for each class, without classes a plain gain and bias; the latent is then whole.

    Raises:
        UserError: for sizes that it has no plan for, a latent of fewer numbers than parts.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int,
        classes: int = 0,
        width: int = 64,
        multipliers: Sequence[int] = (),
        shared: int = 128,
        attention: int = 0,
    ) -> None:
        super().__init__()
        levels = levels_of(shape[1], "biggan")
        self.parts = levels + 1 if classes and shared else 1
        if latent < self.parts:
            raise UserError(f"the biggan network cuts latents into {self.parts} parts: give a `model.latent` of at least as many numbers")
        sizes = [len(part) for part in torch.arange(latent).tensor_split(self.parts)]
        self.shared = nn.Embedding(classes, shared) if self.parts > 1 else None
        norms: list[MakeNorm]
        if self.shared is not None:
            norms = [partial(ConditionalNorm, "batch", features=shared + size) for size in sizes[1:]]
        else:
            norms = [partial(ConditionalNorm, "batch", classes=classes) if classes else partial(make_norm, "batch")] * levels
        published = UP.get(levels, (SMALL_IMAGES,) * (levels + 1))[::-1]
        channels = [width * times for times in multiplied(multipliers, published)][::-1]
        self.body = UpBody(shape, channels, sizes[0], norms, "batch", attention=attention)
        _init_orthogonal(self)
        add_spectral_norm(self, eps=EPS, embeddings=False)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        first, *parts = latent.tensor_split(self.parts, dim=1)
        conditions: list[Tensor | None] = [label] * len(self.body.blocks)
        if self.shared is not None:
            shared = self.shared(known(label))
            conditions = [torch.cat([shared, part], 1) for part in parts]
        images: Tensor = self.body(first, conditions)
        return images


class BigGANDiscriminator(ResidualJudge):
    """Images (N, C, H, W) to logits (N,) float32.

    Raises:
        UserError: for sizes that it has no plan for.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        classes: int = 0,
        width: int = 64,
        multipliers: Sequence[int] = (),
        attention: int = 0,
        head: HeadName = "projection",
    ) -> None:
        levels = levels_of(shape[1], "biggan")
        published = DOWN.get(levels, (SMALL_IMAGES,) * (levels + 1))
        plan = down_plan(levels, [width * times for times in multiplied(multipliers, published)])
        super().__init__(shape, plan, classes=classes, norm="none", spectral=True, attention=attention, head=head)
        _init_orthogonal(self)
        add_spectral_norm(self, eps=EPS)


def _init_orthogonal(module: nn.Module) -> None:
    """Orthogonal weights (Saxe et al. 2014), those of embeddings too; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
