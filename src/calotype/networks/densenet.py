"""Densely connected networks for small images (Huang et al. 2017, Densely connected convolutional networks)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.blocks import FeatureClassifier, Stem, init_scaled
from calotype.networks.norms import make_norm

BOTTLENECK = 4  # channels between the two convolutions of a layer, in units of the growth


class DenseLayer(nn.Module):
    """All maps so far through 1x1 and 3x3 convolutions, each after batch normalization and a ReLU, to ``growth`` more (DenseNet-B)."""

    def __init__(self, inputs: int, growth: int, dropout: float) -> None:
        super().__init__()
        between = BOTTLENECK * growth
        self.norms = nn.ModuleList([make_norm("batch", inputs), make_norm("batch", between)])
        self.squeeze = nn.Conv2d(inputs, between, 1, bias=False)
        self.grow = nn.Conv2d(between, growth, 3, padding=1, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, inputs + growth, H, W)."""
        hidden = self.squeeze(F.relu(self.norms[0](x), inplace=True))
        new = self.grow(F.relu(self.norms[1](hidden), inplace=True))
        if self.dropout:
            new = F.dropout(new, self.dropout, self.training)
        return torch.cat([x, new.to(x.dtype)], 1)


class Transition(nn.Module):
    """Between two dense blocks: fewer channels by a 1x1 convolution (DenseNet-C), half the size by means of 2x2 places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = make_norm("batch", inputs)
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up."""
        mixed: Tensor = self.mix(F.relu(self.norm(x), inplace=True))
        return F.avg_pool2d(mixed, 2, ceil_mode=True, count_include_pad=False)


class DenseNet(FeatureClassifier):
    """Three dense blocks, in which every layer sees what all layers before it made, then the means of the last maps.

    With 100 layers, a growth of 12 and a compression of .5, on color images of 32 pixels and ten classes, it is the paper's DenseNet-BC of
    .77 M parameters.

    Args:
        channels: of the images, 1 or 3.
        classes: to tell apart.
        size: height and width of the images.
        depth: 6n + 4 layers.
        growth: channels that each layer adds.
        compression: the share of the channels that is kept between two blocks.
        dropout: share of the numbers of each new map that is dropped in training.

    Raises:
        UserError: for another depth.
    """

    def __init__(
        self, channels: int, classes: int, size: int, *, depth: int = 100, growth: int = 12, compression: float = 0.5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UserError(f"a dense network has 6n + 4 layers, such as 22, 40 or 100, not {depth}: give another `model.depth`")
        width = 2 * growth
        self.stem = Stem(channels, width, size, last=False)
        parts: list[nn.Module] = []
        for block in range(3):
            for _ in range((depth - 4) // 6):
                parts.append(DenseLayer(width, growth, dropout))
                width += growth
            if block < 2:
                kept = max(1, math.floor(compression * width))
                parts.append(Transition(width, kept))
                width = kept
        self.parts = nn.Sequential(*parts)
        self.norm = make_norm("batch", width)
        self.dimension = width
        self.head = nn.Linear(width, classes)
        init_scaled(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)

    def features(self, x: Tensor) -> Tensor:
        """Means of the last maps, (N, dimension) float32, of images (N, C, H, W) in [-1, 1]."""
        maps = F.relu(self.norm(self.parts(self.stem(x))), inplace=True)
        return maps.float().mean((2, 3))
