"""Networks that make an image of another of the same size: a residual one and a U-Net. Any height and width from 8 on will do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.networks.blocks import init_normal, padded
from calotype.networks.norms import NormName, make_norm


class ResNetTranslator(nn.Module):
    """Down, residual blocks, up, with instance normalization and reflected borders (Johnson et al. 2016; Zhu et al. 2017, section 4).

    Args:
        channels: Of the image that comes in.
        out: Channels of the image that goes out.
        width: Channels of the first layer; they double with every halving.
        halvings: How often the map is halved before the residual blocks.
        blocks: Residual blocks.
    """

    def __init__(self, channels: int, out: int, *, width: int, halvings: int, blocks: int) -> None:
        super().__init__()
        self.multiple = 2**halvings
        wide = width * self.multiple
        self.head = _layer(nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect", bias=False), width)
        self.down = nn.ModuleList(
            _layer(nn.Conv2d(width << i, width << i + 1, 3, 2, 1, bias=False), width << i + 1) for i in range(halvings)
        )
        self.blocks = nn.ModuleList(_Residual(wide) for _ in range(blocks))
        self.up = nn.ModuleList(
            _layer(nn.ConvTranspose2d(width << i + 1, width << i, 3, 2, 1, output_padding=1, bias=False), width << i)
            for i in reversed(range(halvings))
        )
        self.tail = nn.Conv2d(width, out, 7, padding=3, padding_mode="reflect")
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H, W) in [-1, 1]."""
        height, width = x.shape[2:]
        h = self.encode(x)[-1]
        for layer in self.up:
            h = layer(h)
        return torch.tanh(self.tail(h).float())[:, :, :height, :width]

    def encode(self, x: Tensor) -> list[Tensor]:
        """What every layer of the first half makes of ``x`` (N, channels, H, W): ``x`` itself, head, halvings, blocks."""
        made = [padded(x, self.multiple)]
        for layer in (self.head, *self.down, *self.blocks):
            made.append(layer(made[-1]))
        return made


class UNetTranslator(nn.Module):
    """An encoder of 4x4 convolutions that halve the map, and its mirror image, joined by skips (Isola et al. 2017, section 3.2.1).

    Args:
        channels: Of the image that comes in.
        out: Channels of the image that goes out.
        width: Channels of the first layer; they double with every halving up to eight times as many.
        halvings: How often the map is halved.
        norm: Normalization of all layers but the first and the innermost.
        dropout: Share of the features dropped, in training, in the three innermost layers of the way up.
    """

    def __init__(self, channels: int, out: int, *, width: int, halvings: int, norm: NormName, dropout: float) -> None:
        super().__init__()
        self.multiple = 2**halvings
        sizes = [channels, *(width * min(2**i, 8) for i in range(halvings))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i in range(halvings):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            normal = 0 < i < halvings - 1
            layers.append(nn.Conv2d(sizes[i], sizes[i + 1], 4, 2, 1, bias=not normal))
            if normal:
                layers.append(make_norm(norm, sizes[i + 1]))
            self.down.append(nn.Sequential(*layers))
        for i in reversed(range(halvings)):
            wide = sizes[i + 1] * (1 if i == halvings - 1 else 2)  # all but the innermost get the skip as well
            layers = [nn.ReLU(), nn.ConvTranspose2d(wide, sizes[i] if i else out, 4, 2, 1, bias=not i)]
            if i:
                layers.append(make_norm(norm, sizes[i]))
            if i >= max(1, halvings - 3) and dropout:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        init_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H, W) in [-1, 1]."""
        height, width = x.shape[2:]
        h, skips = padded(x, self.multiple), []
        for layer in self.down:
            h = layer(h)
            skips.append(h)
        for layer, skip in zip(self.up, [None, *skips[-2::-1]], strict=True):
            h = layer(h if skip is None else torch.cat([h, skip], 1))
        return torch.tanh(h.float())[:, :, :height, :width]


class PatchProjector(nn.Module):
    """Features of some places of several maps, each brought to one length by a network of two layers (Park et al. 2020, section 3.2).

    Args:
        channels: Of each map.
        width: Numbers that a place becomes.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width)) for c in channels)
        init_normal(self)

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Of maps (N, C, H, W) and places (P,) int64, numbers of pixels row by row: (N, P, width) each, float32, of length one."""
        found = []
        for features, place, head in zip(maps, places, self.heads, strict=True):
            chosen = features.flatten(2)[:, :, place].transpose(1, 2)
            found.append(functional.normalize(head(chosen).float(), dim=2))
        return found


def halvings_of_unet(size: int) -> int:
    """As many halvings as leave a map of two pixels a side.

    >>> [halvings_of_unet(size) for size in (8, 28, 32, 256)]
    [2, 4, 4, 7]
    """
    return max(1, math.ceil(math.log2(size)) - 1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _layer(nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False), width)
        second = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Sequential(second, make_norm("instance", width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(self.first(x))
        return out


def _layer(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, make_norm("instance", width), nn.ReLU(inplace=True))
