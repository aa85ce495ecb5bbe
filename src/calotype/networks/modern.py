"""Residual networks without normalization (Huang et al. 2024, "The GAN is dead; long live the GAN!", config E), for images of any size.

A map of each size of `size_chain` goes through inverted bottlenecks with grouped convolutions (Sandler et al. 2018; Xie et al. 2017). The
last convolution of each begins at zero and the others are scaled by their number (Zhang et al. 2019), so that depth needs no normalization
to begin with, and penalties on gradients keep the game from needing one later. As they are by default, both networks are those of the
paper (at 32 pixels for CIFAR-10, at 64 and 256 for faces), but that a tanh ends the generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.blocks import LabelEmbedding, known, size_chain, zeroed
from calotype.settings import Depth, Width

Weighted = TypeVar("Weighted", nn.Linear, nn.Conv2d)

SLOPE = 0.2  # of the leaky units below zero
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # what keeps the second moment through them (He et al. 2015)
INNER = 2  # scaled convolutions of a residual block, beside the one that begins at zero


@dataclass(frozen=True)
class ModernGeneratorConfig:
    """A residual generator without normalization."""

    network: Literal["modern"] = "modern"  # residual, without normalization
    width: Width = 768  # channels of the smallest maps
    wide: Depth = 4  # maps, the smallest first, that have so many channels; each further one has half of those of the one before
    blocks: Depth = 2  # residual blocks at each size
    expansion: Width = 2  # how many times more channels a block has inside
    group: Width = 16  # channels that a 3x3 convolution mixes, at most
    norm: ClassVar[str] = "none"


@dataclass(frozen=True)
class ModernDiscriminatorConfig:
    """A residual discriminator without normalization."""

    network: Literal["modern"] = "modern"  # residual, without normalization
    width: Width = 768  # channels of the smallest maps
    wide: Depth = 4  # maps, the smallest first, that have so many channels; each further one has half of those of the one before
    blocks: Depth = 2  # residual blocks at each size
    expansion: Width = 2  # how many times more channels a block has inside
    group: Width = 16  # channels that a 3x3 convolution mixes, at most
    norm: ClassVar[str] = "none"
    spectral: ClassVar[bool] = False


class ModernGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1]: a learned picture, each channel of which they weigh, grows to size.

    Of classes there is an embedding as long as the latents, beside them.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int,
        width: int = 768,
        wide: int = 4,
        blocks: int = 2,
        expansion: int = 2,
        group: int = 16,
        classes: int = 0,
    ) -> None:
        super().__init__()
        sizes = size_chain(shape[1])[::-1]
        channels = _channels(len(sizes), width, wide)
        self.join = LabelEmbedding(latent, classes)
        self.weigh = _scaled(nn.Linear(self.join.features, channels[0], bias=False))
        self.picture = nn.Parameter(torch.randn(channels[0], sizes[0], sizes[0]))
        self.stages = _stages(sizes, channels, blocks, expansion, group)
        self.last = _scaled(nn.Conv2d(channels[-1], shape[0], 1, bias=False))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        weights = self.weigh(self.join(latent, label))
        out: Tensor = self.last(self.stages(weights[:, :, None, None] * self.picture))
        return out.float().tanh()


class ModernDiscriminator(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32, each by itself; the mirror image of `ModernGenerator`."""

    mixes_batch = False

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 768,
        wide: int = 4,
        blocks: int = 2,
        expansion: int = 2,
        group: int = 16,
        classes: int = 0,
    ) -> None:
        super().__init__()
        sizes = size_chain(shape[1])
        channels = _channels(len(sizes), width, wide)[::-1]
        self.first = _scaled(nn.Conv2d(shape[0], channels[0], 1, bias=False))
        self.stages = _stages(sizes, channels, blocks, expansion, group)
        self.head = PlaceHead(channels[-1], sizes[-1], classes)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        logits: Tensor = self.head(self.stages(self.first(image)), label)
        return logits

    def named_layers(self) -> dict[str, nn.Module]:
        """As `ImageDiscriminator` has it: its stages."""
        return {f"stage {number}": stage for number, stage in enumerate(self.stages, 1)}


class PlaceHead(nn.Module):
    """Logits of the smallest maps, (N, C, side, side) to (N,) float32, by linear layers alone and without a bias.

    Each channel is summed up with a weight of its own at each place. What is left is projected onto one direction, or, where there
    are classes, mapped to as many numbers and projected onto what was learned of the class (Miyato and Koyama 2018).
    """

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(channels, side, side) / side)
        self.linear = _scaled(nn.Linear(channels, channels if classes else 1, bias=False))
        self.embed = nn.Embedding(classes, channels) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, channels**-0.5)

    def forward(self, maps: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of maps, given labels (N,) where the head knows classes; always computed in float32."""
        with torch.autocast(maps.device.type, enabled=False):
            found: Tensor = self.linear((maps.float() * self.places).sum((2, 3)))
            if self.embed is None:
                return found.squeeze(1)
            wanted: Tensor = self.embed(known(label))
            return (found * wanted).sum(1)


class InvertedBottleneck(nn.Module):
    """(N, width, H, W) plus what a 1x1, a grouped 3x3 and another 1x1 convolution make of it, which is nothing to begin with.

    The convolutions inside are scaled by L^(-1/(2 m - 2)) for L blocks of m = 3 convolutions in all (Zhang et al. 2019, section 3).
    """

    def __init__(self, width: int, expansion: int, group: int, total: int) -> None:
        super().__init__()
        inside = width * expansion
        groups = inside // math.gcd(inside, group)
        gain = GAIN * total ** (-1 / (2 * INNER))
        self.layers = nn.Sequential(
            _scaled(nn.Conv2d(width, inside, 1), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            _scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            zeroed(nn.Conv2d(inside, width, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        out: Tensor = x + self.layers(x)
        return out


class Resampled(nn.Module):
    """Maps of another side and, by a 1x1 convolution of the smaller ones, of another number of channels: (N, a, H, W) to (N, b, h, w)."""

    weights: Tensor

    def __init__(self, before: int, after: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.grows = after > before
        self.register_buffer("weights", triangles(before, after), persistent=False)
        self.mix = nn.Identity() if inputs == outputs else _scaled(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The maps at their other size."""
        out: Tensor = self._resampled(self.mix(x)) if self.grows else self.mix(self._resampled(x))
        return out

    def _resampled(self, x: Tensor) -> Tensor:
        """By a matrix for each axis: maps whose channels lie last are read as they lie, and the backward pass adds in one order always."""
        n, channels, side, _ = x.shape
        out = len(self.weights)
        rows = torch.bmm(self.weights.expand(n, -1, -1), x.permute(0, 2, 3, 1).reshape(n, side, -1))
        both = torch.bmm(self.weights.expand(n * out, -1, -1), rows.reshape(n * out, side, channels))
        return both.view(n, out, out, channels).permute(0, 3, 1, 2)


def triangles(before: int, after: int) -> Tensor:
    """(after, before) weights that bring a line of pixels to another length: bilinear interpolation, and the same filter to shrink.

    Each weight falls to zero at the distance of one pixel of the shorter line, and those of a pixel sum to one.

    >>> triangles(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    short, long = sorted((before, after))
    places = (np.arange(long) + 0.5) * short / long - 0.5
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(short)), 0)
    if after < before:
        weights = weights.T
    # by way of numpy they are numbers in networks without memory, too
    return torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _channels(stages: int, width: int, wide: int) -> list[int]:
    """Channels at each size, the smallest first."""
    return [max(1, width >> max(0, stage + 1 - wide)) for stage in range(stages)]


def _stages(sizes: Sequence[int], channels: Sequence[int], blocks: int, expansion: int, group: int) -> nn.Sequential:
    """Residual blocks at each of the sizes, and what leads from each to the next."""

    def stage(width: int) -> list[nn.Module]:
        return [InvertedBottleneck(width, expansion, group, blocks * len(sizes)) for _ in range(blocks)]

    layers = stage(channels[0])
    for (before, after), (inputs, outputs) in zip(pairwise(sizes), pairwise(channels), strict=True):
        layers += [Resampled(before, after, inputs, outputs), *stage(outputs)]
    return nn.Sequential(*layers)


def _scaled(layer: Weighted, gain: float = 1.0) -> Weighted:
    """The same layer with weights that multiply the second moment of what passes by the square of ``gain``, and biases of zero."""
    nn.init.normal_(layer.weight, 0.0, gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
