"""A discriminator that judges patches, not pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calotype.networks.blocks import init_normal
from calotype.networks.norms import make_norm


class PatchGAN(nn.Module):
    """A logit for every patch (Isola et al. 2017, section 3.2.2): ``halvings`` strided convolutions, then two more, all 4x4.

    With three halvings each logit sees 70x70 pixels, the published size; with two it sees 34, with one 16.

    Args:
        channels: Of the images, with those of the source where it is shown too.
        width: Channels of the first convolution; they double with every further one, up to eight times as many.
        halvings: Convolutions with a stride of two.
    """

    def __init__(self, channels: int, *, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        now = width
        for i in range(1, halvings + 1):
            wide = width * min(2**i, 8)
            strided = nn.Conv2d(now, wide, 4, 2 if i < halvings else 1, 1, bias=False)  # the normalization has its own
            layers += [strided, make_norm("instance", wide), nn.LeakyReLU(0.2, inplace=True)]
            now = wide
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(now, 1, 4, 1, 1)
        init_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to float32 logits (N, h, w), one a patch."""
        features = self.body(images)
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.head(features.float()).squeeze(1)
        return logits


def patch_size(halvings: int) -> int:
    """Pixels a side that one logit sees.

    >>> [patch_size(n) for n in (1, 2, 3)]
    [16, 34, 70]
    """
    side = 7
    for _ in range(halvings):
        side = 2 * side + 2
    return side


def halvings_for(size: int) -> int:
    """As many halvings, three at most, as make a patch no more than a quarter larger than images of ``size`` pixels a side.

    A patch that spans a small image knows where in it things are: with smaller ones, translations drift by fractions of a pixel.

    >>> [halvings_for(size) for size in (8, 28, 64, 256)]
    [1, 2, 3, 3]
    """
    return max((n for n in (1, 2, 3) if 4 * patch_size(n) <= 5 * size), default=1)
