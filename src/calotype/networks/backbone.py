"""What encoders and decoders of images share: residual blocks on maps that halve, and the way from maps back to pixels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.blocks import zeroed
from calotype.networks.norms import ChannelNorm

FOLD = 2  # pixels a side that stems fold into channels
LARGEST_BASE = 8  # pixels a side of the lowest map


class Residual(nn.Module):
    """Two convolutions added to what they are given, starting as the identity (He et al. 2016), (N, channels, H, W) to the same."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = ChannelNorm()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x``."""
        hidden = F.silu(self.norm(self.first(F.silu(self.norm(x)))))
        out: Tensor = x + self.second(self.dropout(hidden))
        return out


def map_sizes(size: int) -> list[int]:
    """Sides of the maps of an image of ``size`` pixels, largest first: folded once, then halved until they are at most 8.

    The image is padded to ``FOLD`` times the first of them.

    >>> map_sizes(28), map_sizes(8), map_sizes(33), map_sizes(64)
    ([14, 7], [4], [20, 10, 5], [32, 16, 8])
    """
    halvings = 0
    while -(-size // (FOLD << halvings)) > LARGEST_BASE:
        halvings += 1
    base = -(-size // (FOLD << halvings))
    return [base << k for k in reversed(range(halvings + 1))]


class ConvBackbone(nn.Module):
    """Images to a feature map of each size of ``map_sizes``, largest first."""

    def __init__(self, shape: tuple[int, int, int], *, width: int, depth: int) -> None:
        super().__init__()
        self.sizes = map_sizes(shape[1])
        self.widths = [width << k for k in range(len(self.sizes))]
        self.padding = FOLD * self.sizes[0] - shape[1]
        self.stem = nn.Conv2d(shape[0] * FOLD**2, width, 3, padding=1)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(self.widths))
        self.levels = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(depth))) for w in self.widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps (N, width, h, w) of images (N, C, H, W)."""
        hidden = self.stem(F.pixel_unshuffle(F.pad(image, (0, self.padding, 0, self.padding), value=-1.0), FOLD))
        maps: list[Tensor] = []
        for level, blocks in enumerate(self.levels):
            hidden = blocks(self.shrink[level - 1](hidden) if level else hidden)
            maps.append(hidden)
        return maps


class Head(nn.Module):
    """Maps (N, width, h, w), folded once, to ``outputs`` numbers for each sub-pixel of an image: (N, outputs * C, H, W) float32."""

    def __init__(self, shape: tuple[int, int, int], width: int, outputs: int) -> None:
        super().__init__()
        self.size = shape[1]
        self.norm = ChannelNorm()
        self.out = nn.Conv2d(width, outputs * shape[0] * FOLD**2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalize, project, unfold, crop."""
        out = F.pixel_shuffle(self.out(F.silu(self.norm(hidden))), FOLD)
        return out[..., : self.size, : self.size].float()
