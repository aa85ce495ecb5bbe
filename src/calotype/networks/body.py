"""Residual blocks, flat or in the shape of a U: the body of networks that make images of images of the same size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.networks.norms import AffineChannelNorm

BlockName = Literal["residual", "naf"]


class ResidualBlock(nn.Module):
    """Two convolutions and a skip, without normalization (Lim et al. 2017, EDSR)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        out: Tensor = x + self.second(functional.relu(self.first(x), inplace=True))
        return out


class NAFBlock(nn.Module):
    """Gates and simplified channel attention instead of activations (Chen et al. 2022, NAFNet, figure 3c and eq. 4 to 6).

    The attention sees the mean of the whole image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.spread = AffineChannelNorm(width), nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention, self.gather = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.second_norm, self.widen, self.narrow = AffineChannelNorm(width), nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        h = _gate(self.depthwise(self.spread(self.norm(x))))
        x = x + self.beta * self.gather(h * self.attention(h.mean((2, 3), keepdim=True)))
        out: Tensor = x + self.gamma * self.narrow(_gate(self.widen(self.second_norm(x))))
        return out


BLOCKS: dict[BlockName, type[ResidualBlock] | type[NAFBlock]] = {"residual": ResidualBlock, "naf": NAFBlock}


class Body(nn.Module):
    """Blocks at one resolution, or in the shape of a U: features of an image, one place for ``unshuffle`` pixels a side.

    Args:
        channels: Of what comes in.
        width: Channels at the finest resolution; each halving doubles them.
        depth: Blocks at the coarsest resolution; one on each side of every finer one.
        levels: Halvings of the resolution.
        unshuffle: Pixels a side that become one place of the finest resolution.
        block: What the blocks are.
    """

    def __init__(self, channels: int, *, width: int, depth: int, levels: int, unshuffle: int, block: BlockName) -> None:
        super().__init__()
        make = BLOCKS[block]
        self.unshuffle, self.multiple = unshuffle, unshuffle * 2**levels
        wide = [width * 2**level for level in range(levels + 1)]
        self.head = nn.Conv2d(channels * unshuffle**2, width, 3, padding=1)
        self.before = nn.ModuleList(make(w) for w in wide[:-1])
        self.down = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in wide[:-1])
        self.middle = nn.Sequential(*(make(wide[-1]) for _ in range(depth)))
        self.up = nn.ModuleList(nn.Conv2d(2 * w, 4 * w, 1, bias=False) for w in reversed(wide[:-1]))
        self.after = nn.ModuleList(make(w) for w in reversed(wide[:-1]))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W), sides multiples of ``multiple``, to (N, width, H / unshuffle, W / unshuffle)."""
        h: Tensor = functional.leaky_relu(self.head(functional.pixel_unshuffle(x, self.unshuffle)), 0.1)
        skips: list[Tensor] = []
        for block, down in zip(self.before, self.down, strict=True):
            skips.append(block(h))
            h = down(skips[-1])
        h = self.middle(h)
        for up, block in zip(self.up, self.after, strict=True):
            h = block(functional.pixel_shuffle(up(h), 2) + skips.pop())
        return h


def _gate(x: Tensor) -> Tensor:
    """Half of the channels times the other half (SimpleGate)."""
    a, b = x.chunk(2, 1)
    return a * b
