"""Networks of styles (Karras et al. 2020, Analyzing and improving the image quality of StyleGAN).

A mapping network makes a style of each latent, and the style chooses the scale of every channel of every convolution of the synthesis,
which starts from a learned constant. Images are the sum of what all sizes contribute. A map of an odd side is doubled and loses its last
row and column; the way down repeats them.

The gain of the activations, the root of 2, is part of the weights before them, where it costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.blocks import padded, size_chain
from calotype.networks.equalized import GAIN, Blur, EqualConv2d, EqualLinear, NormalizedLatents, SpreadHead, leaky, widths
from calotype.settings import Depth, Share, Width

MAPPING_LR = 0.01  # learning rate of the mapping network relative to all others
MEAN_DECAY = 0.995  # of the running mean of styles, at each forward pass in training


@dataclass(frozen=True)
class StyleGeneratorConfig:
    """A convolutional generator whose layers are scaled by styles."""

    network: Literal["style"] = "style"  # convolutional, scaled by styles
    width: Width = 16  # channels of the largest hidden map, which is as large as the image
    widest: Width = 128  # channels that the smallest maps have at most
    styles: Width = 128  # numbers of a style
    depth: Depth = 2  # layers from a latent to its style: 8 in the paper
    mixing: Share = 0.9  # share of the images in training whose coarse and fine layers take the styles of two latents
    norm: ClassVar[str] = "none"


@dataclass(frozen=True)
class StyleDiscriminatorConfig:
    """A convolutional discriminator of residual blocks with blurred halving."""

    network: Literal["style"] = "style"  # convolutional, with blurred halving
    width: Width = 16  # channels of the largest hidden map, which is as large as the image
    widest: Width = 128  # channels that the smallest maps have at most
    residual: bool = True  # whether blocks are added to what comes into them
    norm: ClassVar[str] = "none"
    spectral: ClassVar[bool] = False


class StyleGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1]: ``synthesis`` of the `styles` of latents.

    In training every layer has fresh noise, and styles are mixed; in evaluation the noise is always the same. A tanh ends it, which
    the paper does without.
    """

    has_styles = True

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int,
        classes: int = 0,
        width: int = 16,
        widest: int = 128,
        styles: int = 128,
        depth: int = 2,
        mixing: float = 0.9,
    ) -> None:
        super().__init__()
        self.mixing = mixing
        self.mapping = MappingNetwork(latent, styles, depth, classes)
        self.synthesis = SynthesisNetwork(shape, styles, width, widest)

    def forward(self, latent: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,).

        ``truncation`` is what styles keep of their distance to the mean style (Karras et al. 2019, appendix B): less is more typical.
        """
        images: Tensor = self.synthesis(self.styles(latent, label, truncation))
        return images

    def of_styles(self, styles: Tensor) -> Tensor:
        """Images of the styles of all layers, (N, layers, styles), or of those that all layers share, (N, styles)."""
        own = styles if styles.ndim == 3 else styles[:, None].expand(-1, self.synthesis.layers, -1)
        images: Tensor = self.synthesis(own)
        return images

    def styles(self, latent: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """The styles of all layers, (N, layers, styles), the coarse ones first; in training mixed (Karras et al. 2019, section 3.1)."""
        layers = self.synthesis.layers
        own: Tensor = self.mapping(latent, label, truncation)[:, None].expand(-1, layers, -1)
        if not (self.training and self.mixing):
            return own
        other = self.mapping(torch.randn_like(latent), label, truncation)[:, None]
        n, device = latent.shape[0], latent.device
        crossed = torch.rand(n, 1, 1, device=device) < self.mixing
        fine = torch.arange(layers, device=device)[:, None] >= torch.randint(1, layers, (n, 1, 1), device=device)
        return torch.where(crossed & fine, other, own)


class MappingNetwork(nn.Module):
    """Latents (N, latent), normalized and beside the embedding of their labels, to styles (N, width)."""

    running_mean: Tensor

    def __init__(self, latent: int, width: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.join = NormalizedLatents(latent, classes)
        sizes = [self.join.features] + [width] * depth
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_mult=MAPPING_LR) for a, b in pairwise(sizes))
        self.register_buffer("running_mean", torch.zeros(width))

    def forward(self, latent: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Styles in float32, moved towards their running mean where ``truncation`` is below 1; in training the mean learns of them."""
        with torch.autocast(latent.device.type, enabled=False):  # few numbers, on which all of the image hangs
            x: Tensor = self.join(latent, label)
            for layer in self.layers:
                x = leaky(layer(x))
            if self.training:
                self.running_mean.lerp_(x.detach().mean(0), 1 - MEAN_DECAY)
            return x if truncation == 1 else torch.lerp(self.running_mean, x, truncation)


class SynthesisNetwork(nn.Module):
    """Styles (N, layers, styles) to images (N, C, H, W) in [-1, 1]: a sum of images, one after the layers of each size."""

    def __init__(self, shape: tuple[int, int, int], styles: int, width: int, widest: int) -> None:
        super().__init__()
        self.sizes = size_chain(shape[1])[::-1]
        channels = widths(len(self.sizes), width, widest)[::-1]
        self.layers = 2 * len(self.sizes)  # the style of the image of a size is that of the next larger layer, too
        self.constant = nn.Parameter(torch.randn(channels[0], self.sizes[0], self.sizes[0]))
        self.up = nn.ModuleList(
            _StyledLayer(a, b, styles, side, up=True) for (a, b), side in zip(pairwise(channels), self.sizes[1:], strict=True)
        )
        self.same = nn.ModuleList(_StyledLayer(c, c, styles, side) for c, side in zip(channels, self.sizes, strict=True))
        self.to_rgb = nn.ModuleList(_ToRGB(c, shape[0], styles) for c in channels)

    def forward(self, styles: Tensor) -> Tensor:
        """Images of styles."""
        x = self.same[0](self.constant.expand(styles.shape[0], -1, -1, -1), styles[:, 0])
        image: Tensor = self.to_rgb[0](x, styles[:, 1])
        for level in range(1, len(self.sizes)):
            x = self.up[level - 1](x, styles[:, 2 * level - 1])
            x = self.same[level](x, styles[:, 2 * level])
            side = self.sizes[level]
            # the filter 1-3-3-1 again, that sees the border repeated in place of zeros
            image = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)[..., :side, :side]
            image = image + self.to_rgb[level](x, styles[:, 2 * level + 1])
        return image.tanh()


class ModulatedConv(nn.Module):
    """A convolution with other weights for each image (Karras et al. 2020, section 2.2): (N, inputs, H, W) to (N, outputs, H, W).

    The style scales the inputs of the weights (eq. 1); to ``demodulate`` then scales the weights of each output to the norm ``gain``
    (eq. 3). Scaled are the maps before and after one convolution of all images, which is the same and was measured to be faster than
    weights for each. ``up`` doubles the size and blurs.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, styles: int, *, demodulate: bool = True, gain: float = 1.0, up: bool = False
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.gain = 4 * gain if up else gain  # a doubled map is one of zeros but for every fourth place
        self.scale = self.gain / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = EqualLinear(styles, inputs, gain=1.0, start=1.0)
        self.blur = Blur() if up else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve (N, inputs, H, W) as styles (N, styles) want it."""
        scales, weight = self.affine(style), self.weight * self.scale
        x = x * scales[:, :, None, None].to(x.dtype)
        if self.blur is None:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        else:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1)
        return x * self._strength(scales, weight)[:, :, None, None].to(x.dtype) if self.demodulate else x

    def _strength(self, scales: Tensor, weight: Tensor) -> Tensor:
        """(N, outputs) float32: the gain over the norms of the weights."""
        with torch.autocast(scales.device.type, enabled=False):
            squares = scales.to(weight.dtype).square() @ weight.square().sum((2, 3)).T
            return self.gain * (squares + 1e-8).rsqrt()


class _StyledLayer(nn.Module):
    """A modulated convolution, noise, a bias and a leaky rectifier: (N, inputs, H, W) to (N, outputs, side, side)."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, styles: int, side: int, *, up: bool = False) -> None:
        super().__init__()
        self.side = side
        self.conv = ModulatedConv(inputs, outputs, 3, styles, gain=GAIN, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.strength = nn.Parameter(torch.zeros(1))
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.conv(x, style)[..., : self.side, : self.side]
        noise = torch.randn(x.shape[0], *self.noise.shape[1:], device=x.device) if self.training else self.noise
        return leaky(x + (self.strength * noise).to(x.dtype) + self.bias.to(x.dtype))


class _ToRGB(nn.Module):
    """What a size contributes to the image, (N, channels, H, W) float32: weights for each pixel alone, not demodulated."""

    def __init__(self, inputs: int, channels: int, styles: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, channels, 1, styles, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.conv(x, style)
        return image.float() + self.bias


class StyleDiscriminator(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32: blocks of two convolutions, the second of which halves what was blurred before."""

    mixes_batch = True

    def __init__(self, shape: tuple[int, int, int], *, classes: int = 0, width: int = 16, widest: int = 128, residual: bool = True) -> None:
        super().__init__()
        sizes = size_chain(shape[1])
        channels = widths(len(sizes), width, widest)
        self.from_rgb = EqualConv2d(shape[0], channels[0], 1)
        self.blocks = nn.Sequential(*(_BlurredHalving(a, b, residual) for a, b in pairwise(channels)))
        self.head = SpreadHead(channels[-1], sizes[-1], classes)

    def early(self) -> list[list[nn.Module]]:
        """A block for each size of maps, the first with what images become maps by."""
        first, *others = self.blocks
        return [[self.from_rgb, first], *([block] for block in others)]

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        logits: Tensor = self.head(self.blocks(leaky(self.from_rgb(image))), label)
        return logits


class _BlurredHalving(nn.Module):
    """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up; the sum of two ways, if ``residual``, is as large as either."""

    def __init__(self, inputs: int, outputs: int, residual: bool) -> None:
        super().__init__()
        share = 0.5**0.5 if residual else 1.0  # in the gains, where it costs nothing
        self.blur = Blur()
        self.first = EqualConv2d(inputs, inputs, 3)
        self.second = EqualConv2d(inputs, outputs, 3, stride=2, padding=0, gain=share * GAIN)
        self.skip = EqualConv2d(inputs, outputs, 1, gain=share, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        x = padded(x, 2)
        out = leaky(self.second(self.blur(leaky(self.first(x)), padding=2)))
        return out if self.skip is None else out + self.skip(self.blur(x, padding=1, stride=2))
