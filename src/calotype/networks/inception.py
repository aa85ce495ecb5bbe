"""Inception v3 as the Frechet inception distance and the inception score know it: the TensorFlow graph of 2015-12-05.

The network is that of Szegedy et al. 2016 ("Rethinking the Inception Architecture"), with the peculiarities of the frozen
graph that Salimans et al. 2016 and Heusel et al. 2017 measured with: 1008 outputs; average pools within blocks that do not
count their padding; a max pool in place of the average pool in the last block; bilinear resizing to 299x299 as in
TensorFlow 1 (corner of a pixel, not its center, no antialiasing); input (x - 128) / 128. Names and shapes of the parameters are
those of the port that pytorch-fid distributes, so that its file can be loaded unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 299
FEATURES = 2048
OUTPUTS = 1008


class ConvBnRelu(nn.Module):
    """A convolution without bias, batch normalization (epsilon 0.001) and ReLU."""

    def __init__(self, a: int, b: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(a, b, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(b, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, b, H', W')."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def average(x: Tensor) -> Tensor:
    """The mean of 3x3 neighbors, of those only that lie within the map, as TensorFlow pools with padding."""
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35 maps: 1x1, 5x5, twice 3x3, and the pool."""

    def __init__(self, a: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnRelu(a, 64, 1)
        self.branch5x5_1 = ConvBnRelu(a, 48, 1)
        self.branch5x5_2 = ConvBnRelu(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvBnRelu(a, 64, 1)
        self.branch3x3dbl_2 = ConvBnRelu(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBnRelu(96, 96, 3, padding=1)
        self.branch_pool = ConvBnRelu(a, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, 224 + pool, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(average(x))], 1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    def __init__(self, a: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBnRelu(a, 384, 3, 2)
        self.branch3x3dbl_1 = ConvBnRelu(a, 64, 1)
        self.branch3x3dbl_2 = ConvBnRelu(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBnRelu(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, a + 480, H', W')."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """17x17 maps: 7x7 taken apart into 1x7 and 7x1, ``inner`` channels wide."""

    def __init__(self, a: int, inner: int) -> None:
        super().__init__()
        row: tuple[tuple[int, int], tuple[int, int]] = ((1, 7), (0, 3))
        column: tuple[tuple[int, int], tuple[int, int]] = ((7, 1), (3, 0))
        self.branch1x1 = ConvBnRelu(a, 192, 1)
        self.branch7x7_1 = ConvBnRelu(a, inner, 1)
        self.branch7x7_2 = ConvBnRelu(inner, inner, row[0], padding=row[1])
        self.branch7x7_3 = ConvBnRelu(inner, 192, column[0], padding=column[1])
        self.branch7x7dbl_1 = ConvBnRelu(a, inner, 1)
        self.branch7x7dbl_2 = ConvBnRelu(inner, inner, column[0], padding=column[1])
        self.branch7x7dbl_3 = ConvBnRelu(inner, inner, row[0], padding=row[1])
        self.branch7x7dbl_4 = ConvBnRelu(inner, inner, column[0], padding=column[1])
        self.branch7x7dbl_5 = ConvBnRelu(inner, 192, row[0], padding=row[1])
        self.branch_pool = ConvBnRelu(a, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, 768, H, W)."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], 1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    def __init__(self, a: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBnRelu(a, 192, 1)
        self.branch3x3_2 = ConvBnRelu(192, 320, 3, 2)
        self.branch7x7x3_1 = ConvBnRelu(a, 192, 1)
        self.branch7x7x3_2 = ConvBnRelu(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvBnRelu(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvBnRelu(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, a + 512, H', W')."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, functional.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """8x8 maps: 3x3 spread into 1x3 beside 3x1. The last one of the graph takes the maximum where the first averages."""

    def __init__(self, a: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = ConvBnRelu(a, 320, 1)
        self.branch3x3_1 = ConvBnRelu(a, 384, 1)
        self.branch3x3_2a = ConvBnRelu(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvBnRelu(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvBnRelu(a, 448, 1)
        self.branch3x3dbl_2 = ConvBnRelu(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvBnRelu(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvBnRelu(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvBnRelu(a, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, a, H, W) -> (N, 2048, H, W)."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.maximum else average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    """The network from pixels to the 2048 numbers of ``pool_3`` and to the logits; see the head of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBnRelu(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvBnRelu(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvBnRelu(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvBnRelu(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBnRelu(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, OUTPUTS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 2048) and logits (N, 1008) of images (N, C, H, W) float32 in [0, 255], gray or color.

        The logits are without their bias: the inception score was defined on the product of features and weights alone
        (Salimans et al. 2016, whose program reads the matrix of the last layer and leaves out its bias), over all 1008 outputs.
        """
        x = (resize(x.expand(-1, 3, -1, -1), SIZE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features = x.mean((2, 3))
        return features, functional.linear(features, self.fc.weight)


def resize(x: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, C, size, size), bilinear as TensorFlow 1 did by default (``align_corners=False``, no half pixels).

    Pixel i of the result lies at i * H / size of the source; the two pixels around it are mixed, without antialiasing, and
    the last pixel is its own neighbor.
    """
    return _along(_along(x, size, 2), size, 3)


def _along(x: Tensor, size: int, dim: int) -> Tensor:
    length = x.shape[dim]
    if length == size:
        return x
    # in float32, as the graph computes it: the scale first, then its multiples
    at = torch.arange(size, dtype=torch.float32) * (torch.tensor(float(length)) / size)
    low = at.floor().long().clamp(max=length - 1)
    share = (at - low).to(x.device, x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - dim))
    high = (low + 1).clamp(max=length - 1)
    a, b = x.index_select(dim, low.to(x.device)), x.index_select(dim, high.to(x.device))
    return a + (b - a) * share
