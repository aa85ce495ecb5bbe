"""A ladder of latents: maps of numbers at several sizes, each drawn given all above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.backbone import ConvBackbone, Head, Residual
from calotype.networks.blocks import zeroed
from calotype.networks.norms import ChannelNorm
from calotype.networks.posterior import ClassPrior, moments


class LevelPosterior(NamedTuple):
    """The posterior of one level, and the latents drawn from it, all of one shape."""

    mean: Tensor
    log_scale: Tensor
    latent: Tensor


Draw = Callable[[Tensor, Tensor], Tensor]
"""Latents, given the mean and the logarithm of the scale of their posterior."""


class LatentBlock(nn.Module):
    """One level of latents between two states of the decoder, all (N, width, h, w) maps.

    Latents are numbers with a standard normal prior. What they mean is decided from above: each channel of them is scaled by a
    function of the state before it joins that state, which is a normal prior with learned mean and scale, written so that every
    unit of every level is measured against the same N(0, 1). The posterior starts as the prior.

    Args:
        width: channels of the states.
        channels: latents at each position.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = ChannelNorm()
        self.prior = nn.Conv2d(width, width, 3, padding=1)
        self.outlook = nn.Conv2d(width, width + channels, 1)
        self.posterior = nn.Conv2d(2 * width, width, 1)
        self.moments = zeroed(nn.Conv2d(width, 2 * channels, 1))
        self.join = nn.Conv2d(channels, width, 1)
        self.after = Residual(width)

    def expect(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state before its latents are known, and the logarithm of the scale of each of them."""
        hidden = self.outlook(F.silu(self.norm(self.prior(F.silu(self.norm(state))))))
        return state + hidden[:, : -self.channels], hidden[:, -self.channels :].float()

    def observe(self, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale of the posterior, (N, channels, h, w) float32, given what the encoder saw."""
        hidden = self.posterior(F.silu(self.norm(torch.cat([state, features], dim=1))))
        return moments(self.moments(F.silu(self.norm(hidden))))

    def settle(self, state: Tensor, log_scale: Tensor, latent: Tensor) -> Tensor:
        """The state once the latents (N, channels, h, w) are known."""
        out: Tensor = self.after(state + self.join(latent * log_scale.exp()))
        return out


class Ladder(nn.Module):
    """A vector of latents, then maps of them from the smallest size to the largest (Sønderby et al. 2016; Child 2021).

    An encoder goes up to a feature map of each size; the decoder comes down, and at each latent block the posterior sees its state and the
    encoder's map.

    Args:
        shape: (C, H, W) of the images, of any size of at least 8.
        outputs: numbers for each sub-pixel.
        latent: numbers of the vector at the top.
        channels: latents at each position of a map.
        latent_blocks: maps of latents of each size.
        width: channels of the largest map; every smaller one has twice as many.
        depth: residual blocks of each size in the encoder.
        classes: labels 0 to ``classes - 1``; 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        latent: int,
        channels: int,
        latent_blocks: int,
        width: int,
        depth: int,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = ConvBackbone(shape, width=width, depth=depth)
        widths, sizes = self.encoder.widths, self.encoder.sizes
        self.base = (widths[-1], sizes[-1], sizes[-1])
        self.shapes = [(latent,)] + [(channels, s, s) for s in reversed(sizes) for _ in range(latent_blocks)]
        self.moments = nn.Linear(prod(self.base), 2 * latent)
        self.prior = ClassPrior(latent, classes)
        self.start = nn.Linear(latent, prod(self.base))
        self.label = nn.Embedding(classes, prod(self.base)) if classes else None
        self.levels = nn.ModuleList(nn.ModuleList(LatentBlock(w, channels) for _ in range(latent_blocks)) for w in widths)
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.head = Head(shape, width, outputs)

    def infer(self, features: Sequence[Tensor], draw: Draw, label: Tensor | None = None) -> tuple[Tensor, list[LevelPosterior]]:
        """Come down along what the encoder saw.

        Args:
            features: the encoder's map of each size, largest first.
            draw: makes latents of each posterior.
            label: (N,) labels where there are classes.

        Returns:
            What the decoder says of each sub-pixel, (N, outputs * C, H, W), and the levels from top to bottom.
        """
        mean, log_scale = self.prior.standardize(*moments(self.moments(features[-1].flatten(1))), label)
        levels = [LevelPosterior(mean, log_scale, draw(mean, log_scale))]

        def know(block: LatentBlock, state: Tensor, size: int) -> Tensor:
            mean, log_scale = block.observe(state, features[size])
            levels.append(LevelPosterior(mean, log_scale, draw(mean, log_scale)))
            return levels[-1].latent

        return self._descend(levels[0].latent, know, label), levels

    def forward(self, latents: Sequence[Tensor], label: Tensor | None = None) -> Tensor:
        """What the decoder says of each sub-pixel, (N, outputs * C, H, W), given the latents of every level, of ``shapes``."""
        rest = iter(latents)
        return self._descend(next(rest), lambda block, state, size: next(rest), label)

    def _descend(self, top: Tensor, know: Callable[[LatentBlock, Tensor, int], Tensor], label: Tensor | None) -> Tensor:
        state = self.start(self.prior(top, label))
        if self.label is not None and label is not None:
            state = state + self.label(label)
        state = state.view(-1, *self.base)
        for size in reversed(range(len(self.levels))):
            for block in self.levels[size]:  # type: ignore[attr-defined]
                state, scale = block.expect(state)
                state = block.settle(state, scale, know(block, state, size))
            if size:
                state = F.pixel_shuffle(self.grow[size - 1](state), 2)
        out: Tensor = self.head(state)
        return out
