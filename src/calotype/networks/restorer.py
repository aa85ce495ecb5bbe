"""Networks that make a good image of a degraded one: fully convolutional, for sources of any size.

Each takes (N, channels + maps, h, w) and gives (N, out, scale * h, scale * w).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.degrade.resize import cubic
from calotype.networks.blocks import fitted, padded
from calotype.networks.body import BlockName, Body
from calotype.types import Source

ROUNDS = 6  # of smoothing at each size, where holes are filled


class ResidualRestorer(nn.Module):
    """Predicts what to add to the source, brought to the size of the result by bicubic interpolation; it starts at adding nothing.

    With residual blocks and no ``levels`` this is EDSR with the skip from input to output that all later networks have (Lim et al. 2017);
    with NAF blocks and levels it is NAFNet up to the number of blocks of each level (Chen et al. 2022). Sides that are no multiple of what
    the network needs are padded by their last pixels. ``Body`` explains the arguments.
    """

    def __init__(
        self, source: Source, out: int, *, width: int, depth: int, levels: int = 0, unshuffle: int = 1, block: BlockName = "residual"
    ) -> None:
        super().__init__()
        self.source, self.out = source, out
        maps = source.channels + len(source.conditioning)
        self.body = Body(maps, width=width, depth=depth, levels=levels, unshuffle=unshuffle, block=block)
        self.tail = nn.Conv2d(width, out * (unshuffle * source.scale) ** 2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, source: Tensor) -> Tensor:
        """(N, channels + maps, h, w) to (N, out, scale * h, scale * w)."""
        height, width = (side * self.source.scale for side in source.shape[2:])
        x = padded(source, self.body.multiple)
        change = functional.pixel_shuffle(self.tail(self.body(x)), self.body.unshuffle * self.source.scale)
        restored: Tensor = (enlarged(x, self.source, self.out) + change)[:, :, :height, :width]
        return restored


class DnCNN(nn.Module):
    """A plain stack of convolutions with batch normalization that predicts what is wrong with the image (Zhang et al. 2017).

    Smaller sources are interpolated first, as in the paper's section 3.4.
    """

    def __init__(self, source: Source, out: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.source, self.out = source, out
        layers: list[nn.Module] = [nn.Conv2d(source.channels + len(source.conditioning), width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, out, 3, padding=1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, source: Tensor) -> Tensor:
        """(N, channels + maps, h, w) to (N, out, scale * h, scale * w)."""
        x = source
        if self.source.scale > 1:
            x = interpolated(source.float(), self.source.scale)
        restored: Tensor = fitted(x[:, : self.source.channels], self.out) - self.layers(x)
        return restored


class FSRCNN(nn.Module):
    """Works at the size of the source and enlarges in its last layer, a transposed convolution (Dong et al. 2016, FSRCNN(d, s, m)).

    Args:
        source: What comes in.
        out: Channels of the result.
        width: d, the channels of the outer layers; s, those of the inner ones, is 12 for the 56 of the paper.
        depth: m, the inner layers.
    """

    def __init__(self, source: Source, out: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.source = source
        narrow = max(4, width * 12 // 56)
        layers: list[nn.Module] = [nn.Conv2d(source.channels + len(source.conditioning), width, 5, padding=2), nn.PReLU(width)]
        layers += [nn.Conv2d(width, narrow, 1), nn.PReLU(narrow)]
        for _ in range(depth):
            layers += [nn.Conv2d(narrow, narrow, 3, padding=1), nn.PReLU(narrow)]
        layers += [nn.Conv2d(narrow, width, 1), nn.PReLU(width)]
        self.layers = nn.Sequential(*layers)
        self.enlarge = nn.ConvTranspose2d(width, out, 9, stride=source.scale, padding=4, output_padding=source.scale - 1)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.25)
        nn.init.normal_(self.enlarge.weight, std=0.001)

    def forward(self, source: Tensor) -> Tensor:
        """(N, channels + maps, h, w) to (N, out, scale * h, scale * w)."""
        enlarged: Tensor = self.enlarge(self.layers(source))
        return enlarged


class Curves(nn.Module):
    """Levels, then curves: x to (x - black) gain, then x + a x (1 - x) over and over, all on [0, 1] and with maps for every pixel.

    The curves are those of Zero-DCE, monotone, with black and white kept (Guo et al. 2020, eq. 3). The maps are computed from a smaller
    image and interpolated, as in its successor (Li et al. 2021): the network is fast and its view wide. It starts at changing nothing.

    Args:
        source: What comes in.
        out: Channels of the result.
        width: Channels.
        depth: Convolutions before the last one.
        unshuffle: Pixels a side that are one of the smaller image, their mean.
    """

    ITERATIONS = 8

    def __init__(self, source: Source, out: int, *, width: int, depth: int, unshuffle: int) -> None:
        super().__init__()
        self.source, self.out, self.unshuffle, self.multiple = source, out, unshuffle, unshuffle
        wide = [source.channels + len(source.conditioning), *[width] * depth]
        layers: list[nn.Module] = []
        for before, after in pairwise(wide):  # zeros around an image would look like darkness
            layers += [nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate"), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.tail = nn.Conv2d(width, out * (2 + self.ITERATIONS), 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, source: Tensor) -> Tensor:
        """(N, channels + maps, h, w) to (N, out, h, w)."""
        height, width = source.shape[2:]
        small = functional.avg_pool2d(padded(source, self.unshuffle), self.unshuffle)
        maps = torch.tanh(self.tail(self.layers(small)).float())
        maps = functional.interpolate(maps, scale_factor=self.unshuffle, mode="bilinear", align_corners=False)[:, :, :height, :width]
        black, gain, *curves = maps.chunk(2 + self.ITERATIONS, 1)
        light = fitted(source[:, : self.source.channels].float(), self.out) / 2 + 0.5
        light = ((light - black) * torch.exp(2 * gain)).clamp(0, 1)
        for curve in curves:
            light = light + curve * light * (1 - light)
        return light * 2 - 1


def enlarged(x: Tensor, source: Source, out: int) -> Tensor:
    """The picture in the first channels of (N, C', h, w) in the size and with the channels of the result."""
    picture = x[:, : source.channels]
    if source.scale > 1:
        picture = interpolated(picture.float(), source.scale)
    return fitted(picture, out)


def interpolated(x: Tensor, scale: int) -> Tensor:
    """(N, C, h, w) ``scale`` times larger by bicubic interpolation (Keys 1981, a = -3/4), the outermost pixels replicated.

    In a graph that is exported it is a convolution, the same up to rounding: onnxruntime's own operator is slow.
    """
    if not torch.compiler.is_exporting():
        return functional.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    # of a pixel's place among the finer ones: what the five pixels about it weigh
    weights = [[cubic((place + 0.5) / scale - 0.5 - tap, -0.75) for tap in range(-2, 3)] for place in range(scale)]
    rows = torch.tensor(weights, device=x.device)
    kernel = (rows[:, None, :, None] * rows[None, :, None, :]).reshape(scale**2, 1, 5, 5).repeat(x.shape[1], 1, 1, 1)
    wide = functional.pad(x, (2, 2, 2, 2), mode="replicate")
    return functional.pixel_shuffle(functional.conv2d(wide, kernel, groups=x.shape[1]), scale)


def filled(picture: Tensor, known: Tensor) -> Tensor:
    """Images (N, C, H, W) with smooth colors where ``known`` (N, 1, H, W) is zero: pull and push (Gortler et al. 1996, section 4.4).

    Means of the known pixels of ever larger squares, interpolated back into the holes, each from the smallest squares that are not empty;
    a few rounds of Jacobi at every size bring it near the solution of Laplace's equation.
    """
    height, width = picture.shape[2:]
    if max(height, width) == 1:
        return picture * known
    share = functional.avg_pool2d(padded(known, 2), 2)
    mean = functional.avg_pool2d(padded(picture * known, 2), 2) / share.clamp(min=1e-6)
    coarse = filled(mean, (share > 0).to(known.dtype))
    smooth = functional.interpolate(coarse, size=(height + height % 2, width + width % 2), mode="bilinear", align_corners=False)
    made = torch.where(known > 0, picture, smooth[:, :, :height, :width])
    for _ in range(ROUNDS):
        near = functional.pad(made, (1, 1, 1, 1), mode="replicate")
        mean = (near[:, :, 1:-1, :-2] + near[:, :, 1:-1, 2:] + near[:, :, :-2, 1:-1] + near[:, :, 2:, 1:-1]) / 4
        made = torch.where(known > 0, picture, mean)
    return made
