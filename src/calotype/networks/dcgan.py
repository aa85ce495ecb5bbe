"""Deep convolutional GAN (Radford et al. 2016), for images of any size from 8 to 256.

At sizes that are powers of two the networks are the paper's: 1 -> 4 -> 8 -> ... by transposed convolutions of kernel 4 and stride 2, with
``width`` channels in the last hidden map, twice as many in each smaller one, and never more than 8 times ``width``. Elsewhere the sizes
are those of ``size_chain`` (4 -> 7 -> 14 -> 28), and a kernel of 3 makes the odd ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from calotype.errors import UserError
from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.blocks import (
    LabelEmbedding,
    MinibatchStd,
    ProjectionHead,
    add_spectral_norm,
    init_normal,
    init_scaled,
    size_chain,
)
from calotype.networks.norms import NormName, make_norm
from calotype.settings import Part, Width


@dataclass(frozen=True)
class DCGANGeneratorConfig:
    """A convolutional generator."""

    network: Literal["dcgan"] = "dcgan"  # convolutional
    width: Width = 64  # channels of the largest hidden map
    norm: NormName = "batch"  # normalization of the hidden layers


@dataclass(frozen=True)
class DCGANDiscriminatorConfig:
    """A convolutional discriminator."""

    network: Literal["dcgan"] = "dcgan"  # convolutional
    width: Width = 64  # channels of the largest hidden map
    norm: NormName = "batch"  # normalization of the hidden layers
    dropout: Part = 0.0  # share of the channels that are dropped in training
    spectral: bool = False  # spectral normalization
    minibatch_std: bool = False  # show it how much a batch varies, against mode collapse


class DCGANGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1]: normalized ReLU layers and a tanh."""

    def __init__(
        self, shape: tuple[int, int, int], *, latent: int = 100, width: int = 64, norm: NormName = "batch", classes: int = 0
    ) -> None:
        super().__init__()
        sizes, channels = _plan(shape, width)
        sizes, channels = sizes[::-1], channels[::-1]
        bias = norm == "none"
        self.join = LabelEmbedding(latent, classes)
        layers: list[nn.Module] = [nn.ConvTranspose2d(self.join.features, channels[0], sizes[0], bias=bias)]
        for (small, large), (fan_in, fan_out) in zip(pairwise(sizes[:-1]), pairwise(channels), strict=True):
            layers += [make_norm(norm, fan_in), nn.ReLU(inplace=True)]
            layers.append(nn.ConvTranspose2d(fan_in, fan_out, _kernel(small, large), stride=2, padding=1, bias=bias))
        layers += [make_norm(norm, channels[-1]), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(channels[-1], shape[0], _kernel(sizes[-2], sizes[-1]), stride=2, padding=1))
        self.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
        (init_scaled if norm == "none" else init_normal)(self)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        out: Tensor = self.layers(self.join(latent, label)[:, :, None, None])
        return out.float().tanh()


class DCGANDiscriminator(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32: strided convolutions, LeakyReLU 0.2, normalized but for the first."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 64,
        norm: NormName = "batch",
        dropout: float = 0.0,
        classes: int = 0,
        spectral: bool = False,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        self.mixes_batch = norm == "batch" or minibatch_std
        sizes, channels = _plan(shape, width)
        layers: list[nn.Module] = []
        previous = shape[0]
        for i, (large, small) in enumerate(pairwise(sizes)):
            if minibatch_std and i == len(channels) - 1:  # before the last convolution, which can make something of it
                layers.append(MinibatchStd())
                previous += 1
            of_norm = make_norm(norm if i else "none", channels[i], running=False)
            bias = isinstance(of_norm, nn.Identity)
            layers += [nn.Conv2d(previous, channels[i], _kernel(small, large), stride=2, padding=1, bias=bias), of_norm]
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            if dropout > 0:
                layers.append(nn.Dropout2d(dropout))
            previous = channels[i]
        self.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
        # over the whole map, as the paper's last convolution, which ends in 1x1
        self.head = ProjectionHead(previous * sizes[-1] ** 2, classes)
        (init_scaled if norm == "none" and not spectral else init_normal)(self)
        if spectral:
            add_spectral_norm(self)

    def early(self) -> list[list[nn.Module]]:
        """A convolution and its normalization each."""
        blocks: list[list[nn.Module]] = []
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                blocks.append([])
            blocks[-1].append(layer)
        return blocks

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        features = self.layers(image).permute(0, 2, 3, 1).flatten(1)  # this order costs no copy where channels lie last in memory
        logits: Tensor = self.head(features, label)
        return logits


def _plan(shape: tuple[int, int, int], width: int) -> tuple[list[int], list[int]]:
    """Sizes from the image down to the base, and the channels of each map after the image."""
    size = shape[1]
    if not 8 <= size <= 256:
        raise UserError(f"the dcgan network takes images of 8 to 256 pixels, not {size}: give another `data.size`, or mlp networks")
    sizes = size_chain(size)
    return sizes, [width * min(2**i, 8) for i in range(len(sizes) - 1)]


def _kernel(small: int, large: int) -> int:
    """The kernel that leads with stride 2 and padding 1 from one size to the other: 4 doubles, 3 gives one less than double."""
    return 4 if large == 2 * small else 3
