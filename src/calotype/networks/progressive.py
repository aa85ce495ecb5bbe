"""Networks that grow from small images to large ones while they are trained (Karras et al. 2018, Progressive growing of GANs).

The stages of 28 pixels are 4, 7, 14 and 28, those of ``size_chain``. A stage is trained for a while, then the layers of the next one are
faded in: the image is a mix of the earlier stage's, enlarged by nearest neighbors, and of the new one's.

Outside, images have their full size at every stage. The generator enlarges what it makes by nearest neighbors, and the discriminator first
takes the means of the squares that make a pixel of its stage, which is the exact way back. Nobody else needs to know of stages, but for who
shows real images to the discriminator: they have to be `ProgressiveDiscriminator.faded`. Layers that are not reached cost nothing and get
no gradient.

Penalties on gradients by images see those by images of full size: squared, they are smaller than those by images of the stage by as much as
there are fewer pixels in these, which is how the weight of R1 is chosen by the number of pixels, too. Penalties that want a norm of one
take it of images of the stage (``coarseness``).

Optimizers begin anew where a stage begins (``joins_at``), as those of the authors do: Adam would take its first steps of the new layers too
long, for it has counted all those before in which they had no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.blocks import padded, size_chain
from calotype.networks.equalized import (
    GAIN,
    EqualConv2d,
    EqualLinear,
    NormalizedLatents,
    SpreadHead,
    enlarged,
    leaky,
    pixel_norm,
    reduced,
    widths,
)
from calotype.networks.resampling import doubled, halved
from calotype.settings import Share, Width


@dataclass(frozen=True)
class ProgressiveGeneratorConfig:
    """A convolutional generator that grows."""

    network: Literal["progressive"] = "progressive"  # convolutional, growing from small images to large ones
    width: Width = 16  # channels of the largest hidden map, which is as large as the image
    widest: Width = 128  # channels that the smallest maps have at most
    growth: Share = 0.5  # share of the run by which it is fully grown
    norm: ClassVar[str] = "none"


@dataclass(frozen=True)
class ProgressiveDiscriminatorConfig:
    """A convolutional discriminator that grows."""

    network: Literal["progressive"] = "progressive"  # convolutional, growing from small images to large ones
    width: Width = 16  # channels of the largest hidden map, which is as large as the image
    widest: Width = 128  # channels that the smallest maps have at most
    growth: Share = 0.5  # share of the run by which it is fully grown
    norm: ClassVar[str] = "none"
    spectral: ClassVar[bool] = False


def phase_at(progress: float, growth: float, last: int) -> float:
    """How far networks of stages 0 to ``last`` are grown: at 1.3 stage 2 is faded in by 0.3, at 2 it is alone.

    Until a share ``growth`` of the run, each stage but the last is trained as long as the next one is faded in.

    >>> [phase_at(progress / 8, 0.5, 2) for progress in range(6)]
    [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    >>> phase_at(0.1875, 0.5, 2)
    0.5
    """
    if progress >= growth:
        return float(last)
    done = 2 * last * progress / growth  # of as many parts, one of training and one of fading for each stage
    return done // 2 + max(0.0, done % 2 - 1)


class _Growing(nn.Module):
    """What grows: how far it is, which every checkpoint holds."""

    phase: Tensor

    def __init__(self, size: int, growth: float) -> None:
        super().__init__()
        self.sizes = size_chain(size)[::-1]
        self.growth = growth
        last = len(self.sizes) - 1
        # where a stage begins to fade in
        self.changes_at = tuple(growth * (2 * stage + 1) / (2 * last) for stage in range(last)) if growth else ()
        self.joins_at = self.changes_at
        self.register_buffer("phase", torch.zeros(()))
        self._phase = 0.0  # the same as a number

    def reach(self, progress: float) -> None:
        """Grow to where a run stands of which a share ``progress`` in [0, 1] is over.

        Never back: a budget that is enlarged makes less of what was done, but takes no layers away that were trained.
        """
        self.phase.clamp_(min=phase_at(progress, self.growth, len(self.sizes) - 1))

    def stage(self) -> tuple[int, float]:
        """The stage, and the share in (0, 1] by which it is faded in."""
        if not torch.compiler.is_exporting():  # a graph that is exported branches on no value: it has the stage of the last call before it
            self._phase = self.phase.item()
        phase = min(max(self._phase, 0.0), len(self.sizes) - 1.0)  # a model from elsewhere may say anything
        stage = math.ceil(phase)
        return stage, phase - stage + 1

    def _full(self, image: Tensor, stage: int) -> Tensor:
        for side in self.sizes[stage + 1 :]:
            image = enlarged(image, side)
        return image

    def _small(self, image: Tensor, stage: int) -> Tensor:
        for _ in self.sizes[stage + 1 :]:
            image = reduced(image)
        return image


class ProgressiveGenerator(_Growing, LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1], before the last stage enlarged from smaller ones.

    Leaky rectifiers, after each of which the pixels are normalized. A tanh ends each stage, which the paper does without.
    """

    def __init__(
        self, shape: tuple[int, int, int], *, latent: int, classes: int = 0, width: int = 16, widest: int = 128, growth: float = 0.5
    ) -> None:
        super().__init__(shape[1], growth)
        channels = widths(len(self.sizes), width, widest)[::-1]
        self.join = NormalizedLatents(latent, classes)
        self.first = EqualLinear(self.join.features, self.sizes[0] ** 2 * channels[0], gain=GAIN / 4, bias=False)
        self.first_bias = nn.Parameter(torch.zeros(channels[0]))
        self.second = EqualConv2d(channels[0], channels[0], 3)
        self.blocks = nn.ModuleList(_Doubling(a, b) for a, b in pairwise(channels))
        self.to_rgb = nn.ModuleList(EqualConv2d(c, shape[0], 1, gain=1.0) for c in channels)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        stage, share = self.stage()
        base = self.first(self.join(latent, label)).view(latent.shape[0], self.sizes[0], self.sizes[0], -1) + self.first_bias
        x = pixel_norm(leaky(base.permute(0, 3, 1, 2)))  # the channels last in memory, as in what follows
        x = smaller = pixel_norm(leaky(self.second(x)))
        for side, block in zip(self.sizes[1 : stage + 1], self.blocks, strict=False):
            x, smaller = block(x, side), x
        image = self._image(x, stage)
        if share < 1:
            image = torch.lerp(enlarged(self._image(smaller, stage - 1), self.sizes[stage]), image, share)
        return self._full(image, stage)

    def _image(self, x: Tensor, stage: int) -> Tensor:
        image: Tensor = self.to_rgb[stage](x)
        return image.float().tanh()


class ProgressiveDiscriminator(_Growing, ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32; real ones have to be `faded` before."""

    mixes_batch = True

    def __init__(self, shape: tuple[int, int, int], *, classes: int = 0, width: int = 16, widest: int = 128, growth: float = 0.5) -> None:
        super().__init__(shape[1], growth)
        channels = widths(len(self.sizes), width, widest)[::-1]
        self.from_rgb = nn.ModuleList(EqualConv2d(shape[0], c, 1) for c in channels)
        self.blocks = nn.ModuleList(_Halving(b, a) for a, b in pairwise(channels))
        self.head = SpreadHead(channels[0], self.sizes[0], classes)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        stage, share = self.stage()
        image = self._small(image, stage)
        x = leaky(self.from_rgb[stage](image))
        if stage:
            x = self.blocks[stage - 1](x)
        if share < 1:
            x = torch.lerp(leaky(self.from_rgb[stage - 1](reduced(image))), x, share)
        for level in reversed(range(stage - 1)):
            x = self.blocks[level](x)
        logits: Tensor = self.head(x, label)
        return logits

    def early(self) -> list[list[nn.Module]]:
        """A block for each size of maps, from that of the images on, each with what images of its size become maps by."""
        return [[rgb, block] for rgb, block in zip(list(self.from_rgb)[:0:-1], list(self.blocks)[::-1], strict=True)]

    @property
    def coarseness(self) -> float:
        """Of the stage."""
        return self.sizes[-1] / self.sizes[self.stage()[0]]

    def faded(self, image: Tensor) -> Tensor:
        """Real images (N, C, H, W) as generated ones look now: what their stage cannot show is missing, what is faded in is fainter."""
        stage, share = self.stage()
        small = self._small(image, stage)
        if share < 1:
            small = torch.lerp(enlarged(reduced(small), self.sizes[stage]), small, share)
        return self._full(small, stage)


class _Doubling(nn.Module):
    """(N, inputs, H, W) to (N, outputs, side, side), side 2 H or 1 less: nearest neighbors, two convolutions, normalized pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = EqualConv2d(inputs, outputs, 3), EqualConv2d(outputs, outputs, 3)

    def forward(self, x: Tensor, side: int) -> Tensor:
        x = doubled(x, self.first.scaled(), self.first.bias)[..., :side, :side]
        return pixel_norm(leaky(self.second(pixel_norm(leaky(x)))))


class _Halving(nn.Module):
    """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up: two convolutions, the means of 2x2 places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = EqualConv2d(inputs, inputs, 3), EqualConv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky(self.first(padded(x, 2)))
        return leaky(halved(x, self.second.scaled(), self.second.bias))
