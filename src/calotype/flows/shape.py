"""What folds an image and factors parts of it out: the multi-scale architecture (Dinh et al. 2017, sections 3.6 and 3.7)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.flows.base import Transform, bounded, parts


class Squeeze(Transform):
    """Every 2x2 square of pixels becomes one with four times the channels: (N, C, H, W) to (N, 4 C, H / 2, W / 2)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Nothing is stretched: the log-determinant is zero."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Unfold."""
        return F.pixel_shuffle(z, 2)


class Patches(Transform):
    """Squares of ``side`` x ``side`` pixels as tokens: (N, C, size, size) to (N, (size / side)^2, C side^2), row by row."""

    def __init__(self, side: int, size: int) -> None:
        super().__init__()
        self.side, self.rows = side, size // side

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Nothing is stretched: the log-determinant is zero."""
        return F.pixel_unshuffle(x, self.side).flatten(2).transpose(1, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Side by side again."""
        return F.pixel_shuffle(z.transpose(1, 2).reshape(z.shape[0], -1, self.rows, self.rows), self.side)


class Flat(Transform):
    """(N, *shape) to (N, D)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Nothing is stretched: the log-determinant is zero."""
        return x.flatten(1), x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The shape back."""
        return z.view(-1, *self.shape)


class Standardize(Transform):
    """A normal distribution made standard whose mean and log-scale a network draws from other features.

    With latents z = (x - mean) exp(-log_scale) every prior of a flow, learned or not, is the standard normal one.

    Args:
        network: features to (N, 2 C, ...): means, then raw log-scales.
        bound: the largest absolute log-scale.
    """

    def __init__(self, network: nn.Module, bound: float) -> None:
        super().__init__()
        self.network, self.bound = network, bound

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(x - mean) exp(-log_scale); unchanged without context."""
        if context is None:
            return x, x.new_zeros(len(x))
        mean, log_scale = self._affine(x, context)
        return (x - mean) * torch.exp(-log_scale), -log_scale.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        if context is None:
            return super().local(x)
        mean, log_scale = self._affine(x, context)
        return (x - mean) * torch.exp(-log_scale), -log_scale.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Mean + exp(log_scale) z; unchanged without context."""
        if context is None:
            return z
        mean, log_scale = self._affine(z, context)
        return torch.addcmul(mean, z, log_scale.exp())

    def _affine(self, like: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.network(context).to(like.dtype).chunk(2, 1)
        return mean.view_as(like), bounded(raw, self.bound).view_as(like)


class MultiScale(Transform):
    """Levels of transforms, between which half of the channels become latents: (N, C, H, W) to (N, C H W).

    Args:
        levels: the transforms of each level.
        splits: for every level but the last what standardizes the first half of its channels given the others.
        shapes: (C, H, W) of what every level puts out, before its split.
    """

    def __init__(self, levels: Sequence[Transform], splits: Sequence[Standardize], shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.splits = nn.ModuleList(splits)
        self.shapes = tuple((c // 2, h, w) if i < len(splits) else (c, h, w) for i, (c, h, w) in enumerate(shapes))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents of the first level first."""
        latents, total = [], x.new_zeros(len(x))
        for index, level in enumerate(parts(self.levels)):
            x, log_abs_det = level(x, context)
            total = total + log_abs_det
            if index < len(self.splits):
                latent, x = x.chunk(2, 1)
                latent, log_abs_det = self.splits[index](latent, x)
                latents.append(latent.flatten(1))
                total = total + log_abs_det
        return torch.cat([*latents, x.flatten(1)], 1), total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """From all latents the image."""
        latents = torch.split(z, [math.prod(shape) for shape in self.shapes], 1)
        x = latents[-1].view(-1, *self.shapes[-1])
        levels, splits = parts(self.levels), parts(self.splits)
        for index in reversed(range(len(levels))):
            if index < len(splits):
                x = torch.cat([splits[index].inverse(latents[index].view(-1, *self.shapes[index]), x), x], 1)
            x = levels[index].inverse(x, context)
        return x

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Level by level."""
        latents = []
        for index, level in enumerate(parts(self.levels)):
            x = level.initialize(x, context)
            if index < len(self.splits):
                latent, x = x.chunk(2, 1)
                latents.append(self.splits[index](latent, x)[0].flatten(1))
        return torch.cat([*latents, x.flatten(1)], 1)
