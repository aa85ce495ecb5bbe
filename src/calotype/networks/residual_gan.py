"""Residual generators and discriminators (Gulrajani et al. 2017; Miyato et al. 2018), with self-attention (Zhang et al. 2019).

Small images, of 32 pixels or so, have the same channels in all maps. Those of larger ones double with every halving, up to 16 times
``width``; ``multipliers`` say it otherwise. So the published networks come out: SNGAN-32 with a width of 256 in the generator and of 128
in the discriminator, SNGAN-128 with one of 64 and as many hidden channels as inputs, and SAGAN-128 with one of 64 and attention at 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from calotype.networks.adversary import LatentGenerator
from calotype.networks.blocks import LabelEmbedding, add_spectral_norm
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.norms import NormName, make_norm
from calotype.networks.residual import (
    SMALL,
    BlockKind,
    HeadName,
    HiddenName,
    MakeNorm,
    ResidualJudge,
    UpBody,
    down_plan,
    levels_of,
    multiplied,
)
from calotype.settings import Levels, MapSide, Width, unless
from calotype.types import ImageSpec

WIDEST = 16  # times the width that the smallest maps have at most


@dataclass(frozen=True)
class ResNetGeneratorConfig:
    """A generator of residual blocks."""

    network: Literal["resnet"] = "resnet"  # convolutional, of residual blocks
    width: Width = 64  # channels of the largest hidden map
    multipliers: Levels = ()  # channels of each map relative to width, from the largest, the last for all others; by the size if not given
    norm: NormName = "batch"  # normalization of the hidden layers, by class where the model learns classes
    spectral: bool = False  # spectral normalization
    attention: MapSide = 0  # self-attention on the smallest map of at least this side; 0 for none
    blocks: BlockKind = "residual"  # what leads past the convolutions of a block: its input, that and all others, or nothing


@dataclass(frozen=True)
class ResNetDiscriminatorConfig:
    """A discriminator of residual blocks."""

    network: Literal["resnet"] = "resnet"  # convolutional, of residual blocks
    width: Width = 64  # channels of the largest hidden map
    multipliers: Levels = ()  # channels of each map relative to width, from the largest, the last for all others; by the size if not given
    norm: NormName = "none"  # normalization of the hidden layers
    spectral: bool = True  # spectral normalization
    attention: MapSide = 0  # self-attention on the smallest map of at least this side; 0 for none
    head: HeadName = "projection"  # what labels are for: part of what is judged, something to tell of images, or nothing
    hidden: HiddenName = "outputs"  # channels between the two convolutions of a block: as many as it puts out, or as come in
    blocks: BlockKind = "residual"  # what leads past the convolutions of a block: its input, that and all others, or nothing

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return {
            **unless(spec.classes, "images with labels", "head"),
            **unless(self.blocks != "dense", "`model.discriminator.blocks=residual` or plain", "hidden"),
        }


class ResNetGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1].

    Labels choose the gains and biases of the normalizations; in a network without any, their embedding joins the latents.

    Raises:
        UserError: for sizes that it has no plan for.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int,
        classes: int = 0,
        width: int = 64,
        multipliers: Sequence[int] = (),
        norm: NormName = "batch",
        spectral: bool = False,
        attention: int = 0,
        blocks: BlockKind = "residual",
    ) -> None:
        super().__init__()
        levels = levels_of(shape[1], "resnet")
        channels = _channels(levels, width, multipliers)[::-1]
        by_class = bool(classes) and norm != "none"
        make: MakeNorm = partial(ConditionalNorm, norm, classes=classes) if by_class else partial(make_norm, norm)
        self.join = LabelEmbedding(latent, 0 if by_class else classes)
        self.body = UpBody(shape, channels, self.join.features, [make] * levels, norm, attention=attention, blocks=blocks)
        _init_glorot(self)
        nn.init.xavier_uniform_(self.body.last.weight)  # no ReLU follows, which would lose half
        if spectral:
            add_spectral_norm(self, embeddings=False)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        images: Tensor = self.body(self.join(latent, label), [label] * len(self.body.blocks))
        return images


class ResNetDiscriminator(ResidualJudge):
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
        norm: NormName = "none",
        spectral: bool = True,
        attention: int = 0,
        head: HeadName = "projection",
        hidden: HiddenName = "outputs",
        blocks: BlockKind = "residual",
    ) -> None:
        levels = levels_of(shape[1], "resnet")
        super().__init__(
            shape,
            down_plan(levels, _channels(levels, width, multipliers)),
            classes=classes,
            norm=norm,
            spectral=spectral,
            attention=attention,
            head=head,
            hidden=hidden,
            blocks=blocks,
            bias=levels > SMALL,  # as published
        )
        _init_glorot(self)
        if spectral:
            add_spectral_norm(self)


def _channels(levels: int, width: int, multipliers: Sequence[int]) -> list[int]:
    """The channels of each map, from the largest to the smallest."""
    published = [1 if levels <= SMALL else min(2**level, WIDEST) for level in range(levels + 1)]
    return [width * times for times in multiplied(multipliers, published)]


def _init_glorot(module: nn.Module) -> None:
    """Uniform weights of Glorot & Bengio 2010, larger by the root of 2 where a ReLU has halved what comes in; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            past_relu = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5 if past_relu else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
