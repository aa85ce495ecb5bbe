"""Layers of equalized learning rate (Karras et al. 2018, section 4.1), and what else the networks made of them share.

Every weight is drawn from N(0, 1) and multiplied by the gain of its layer where it is used. An optimizer that moves all weights by alike
amounts, as Adam does, then moves all layers by alike shares of what they are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.blocks import LabelEmbedding, MinibatchStd, ProjectionHead, padded

GAIN = 2**0.5  # keeps the scale of what a rectifier halves (He et al. 2015)
GROUP = 4  # images whose standard deviation a discriminator is shown
TAPS = (1, 3, 3, 1)  # of the filter that blurs


class EqualLinear(nn.Linear):
    """A linear map, (N, inputs) to (N, outputs), of effective weights from N(0, gain^2 / inputs).

    ``lr_mult`` is its learning rate relative to other layers'; ``start`` is what its biases are at first.
    """

    def __init__(
        self, inputs: int, outputs: int, *, gain: float = GAIN, lr_mult: float = 1.0, bias: bool = True, start: float = 0.0
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.lr_mult, self.scale = lr_mult, gain * lr_mult / math.sqrt(inputs)
        nn.init.normal_(self.weight, 0.0, 1 / lr_mult)
        if bias:
            nn.init.constant_(self.bias, start / lr_mult)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs)."""
        return F.linear(x, self.weight * self.scale, self.bias if self.lr_mult == 1 else self.bias * self.lr_mult)


class EqualConv2d(nn.Conv2d):
    """A convolution, (N, inputs, H, W) to (N, outputs, H', W'), of effective weights from N(0, gain^2 / fan-in)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        gain: float = GAIN,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding, bias=bias)
        self.scale = gain / math.sqrt(inputs * kernel**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def scaled(self) -> Tensor:
        """The effective weights, (outputs, inputs, kernel, kernel)."""
        return self.weight * self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, inputs, H, W)."""
        out: Tensor = self._conv_forward(x, self.scaled(), self.bias)
        return out


class EqualEmbedding(nn.Embedding):
    """A vector for each of several classes, labels (N,) to (N, features), of numbers from N(0, 1 / features)."""

    def forward(self, label: Tensor) -> Tensor:
        """Look up the vectors of labels (N,)."""
        return super().forward(label) / math.sqrt(self.embedding_dim)


class EqualHead(ProjectionHead):
    """The logits (N,) float32 of a `ProjectionHead`, of equalized weights of gain 1."""

    def __init__(self, features: int, classes: int = 0) -> None:
        super().__init__(features, classes)
        self.linear = EqualLinear(features, 1, gain=1.0)
        if classes:
            self.embed = EqualEmbedding(classes, features)


class SpreadHead(nn.Module):
    """How a discriminator of equalized layers ends: the standard deviation of the batch, two layers and the logits."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.spread = MinibatchStd(GROUP)
        self.last = EqualConv2d(channels + 1, channels, 3)
        self.flat = EqualLinear(channels * side**2, channels)
        self.head = EqualHead(channels, classes)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The smallest maps (N, channels, side, side) and, if conditional, labels (N,) to logits (N,) float32."""
        x = leaky(self.last(self.spread(x)))
        x = leaky(self.flat(x.permute(0, 2, 3, 1).flatten(1)))  # this order costs no copy where channels lie last in memory
        logits: Tensor = self.head(x, label)
        return logits


class NormalizedLatents(LabelEmbedding):
    """Latents beside an embedding of their label, as `LabelEmbedding` joins them, each of the two of mean square 1."""

    def shaped(self, vectors: Tensor) -> Tensor:
        """Latents or embeddings (N, latent) of mean square 1."""
        return pixel_norm(vectors)


class Blur(nn.Module):
    """The filter 1-3-3-1 over rows and columns, of sum 1, against what halving and doubling leave of the grid (Zhang 2019)."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernel = np.outer(TAPS, TAPS) / np.sum(TAPS) ** 2
        # by way of numpy it has numbers in networks without memory, too
        self.register_buffer("kernel", torch.from_numpy(kernel.astype(np.float32))[None, None], persistent=False)

    def forward(self, x: Tensor, padding: int, stride: int = 1) -> Tensor:
        """(N, C, H, W) to (N, C, H', W'), as a convolution of kernel 4 makes it, beyond whose borders is zero."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4).contiguous(memory_format=torch.channels_last)
        if stride > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # processors take ten times as long for gradients of strided depthwise convolutions of bfloat16 as for those of all places
            return F.conv2d(x, kernel, None, 1, padding, groups=channels)[..., ::stride, ::stride]
        return F.conv2d(x, kernel, None, stride, padding, groups=channels)


def widths(levels: int, width: int, widest: int) -> list[int]:
    """The channels of maps from the largest to the smallest: ``width``, twice as many in each smaller one, never more than ``widest``.

    >>> widths(5, 16, 100)
    [16, 32, 64, 100, 100]
    """
    return [min(width * 2**level, widest) for level in range(levels)]


def leaky(x: Tensor) -> Tensor:
    """A leaky rectifier of slope 0.2, in place."""
    return F.leaky_relu(x, 0.2, inplace=True)


def pixel_norm(x: Tensor) -> Tensor:
    """(N, C, ...) divided by the root of its mean square over the channels of each place (Karras et al. 2018, section 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def reduced(image: Tensor) -> Tensor:
    """The means of 2x2 places, (N, C, H, W) to half of it, rounded up: of an odd side the last place is one for itself."""
    return F.avg_pool2d(padded(image, 2), 2)


def enlarged(image: Tensor, side: int) -> Tensor:
    """Twice the size by nearest neighbors, cut to (N, C, side, side): `reduced` makes of it what it was."""
    return F.interpolate(image, scale_factor=2, mode="nearest")[..., :side, :side]
