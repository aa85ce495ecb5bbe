"""A light generator with skip-layer excitation (Liu et al. 2021, FastGAN), for few photographs and few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.adversary import LatentGenerator
from calotype.networks.blocks import LabelEmbedding, size_chain
from calotype.networks.resampling import doubled
from calotype.settings import Width

WIDEST = 8  # times the width that the smallest maps have at most


@dataclass(frozen=True)
class SkipGeneratorConfig:
    """A convolutional generator in which small maps choose the channels of large ones."""

    network: Literal["skip"] = "skip"  # convolutional, with skip-layer excitation
    width: Width = 32  # channels of the largest hidden map, which is half as large as the image
    norm: ClassVar[str] = "batch"


class Grow(nn.Module):
    """Twice the size by nearest neighbors, a 3x3 convolution, batch normalization, a gated linear unit (Dauphin et al. 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * outputs, inputs, 3, 3))
        nn.init.orthogonal_(self.weight)
        self.norm = nn.BatchNorm2d(2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        out: Tensor = F.glu(self.norm(doubled(x, self.weight)), dim=1)
        return out


class Excite(nn.Module):
    """Weights in (0, 1) for the channels of a large map, from a small one (Liu et al. 2021, section 3.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gather = nn.Conv2d(inputs, outputs, 4)
        self.choose = nn.Conv2d(outputs, outputs, 1)

    def forward(self, large: Tensor, small: Tensor) -> Tensor:
        """(N, outputs, H, W) and (N, inputs, h, w) to (N, outputs, H, W)."""
        weights: Tensor = self.choose(F.silu(self.gather(F.adaptive_avg_pool2d(small, 4)))).sigmoid()
        return large * weights


class SkipGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1]; a map of an odd side is doubled and loses its last row and column.

    Every map but the smallest two is weighed channel by channel by the map of a quarter of its side. No transposed convolution is
    learned: they leave checkerboards.
    """

    def __init__(self, shape: tuple[int, int, int], *, latent: int, width: int = 32, classes: int = 0) -> None:
        super().__init__()
        if not 8 <= shape[1] <= 256:
            raise UserError(f"the skip network takes images of 8 to 256 pixels, not {shape[1]}: give another `data.size`")
        self.sizes = size_chain(shape[1])[::-1]
        channels = [width * min(2**level, WIDEST) for level in reversed(range(len(self.sizes) - 1))]
        self.base = self.sizes[0]
        self.join = LabelEmbedding(latent, classes)
        self.first = nn.Linear(self.join.features, 2 * channels[0] * self.base**2, bias=False)
        self.first_norm = nn.BatchNorm2d(2 * channels[0])
        self.grow = nn.ModuleList(Grow(a, b) for a, b in pairwise(channels))
        self.excite = nn.ModuleList(Excite(a, b) for a, b in zip(channels, channels[2:], strict=False))
        self.last = nn.Parameter(torch.empty(shape[0], channels[-1], 3, 3))
        self.last_bias = nn.Parameter(torch.zeros(shape[0], 1, 1))
        nn.init.orthogonal_(self.last)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        joined = self.first(self.join(latent, label))
        # the channels lie last, as in what follows
        hidden = joined.view(latent.shape[0], self.base, self.base, -1).permute(0, 3, 1, 2)
        maps = [F.glu(self.first_norm(hidden), dim=1)]
        for level, grow in enumerate(self.grow):
            side = self.sizes[level + 1]
            hidden = grow(maps[-1])[..., :side, :side]
            maps.append(self.excite[level - 1](hidden, maps[level - 1]) if level else hidden)
        out = doubled(maps[-1], self.last)[..., : self.sizes[-1], : self.sizes[-1]] + self.last_bias
        return out.float().tanh()
