"""Deep convolutional GAN (Radford et al. 2016), for images of any size from 8 to 256.

At sizes that are powers of two the networks are the paper's: 1 -> 4 -> 8 -> ... by transposed convolutions of kernel 4 and stride 2, with
``width`` channels in the last hidden map, twice as many in each smaller one, and never more than 8 times ``width``. Elsewhere the sizes
are those of ``size_chain`` (4 -> 7 -> 14 -> 28), and a kernel of 3 makes the odd ones; kernels of 3 and 5 make all of them.

With ``same_size`` there are convolutions of kernel 3 that keep the size as well, which makes the networks those of Miyato et al. (2018),
table 3: the generator ends in one, on a map as large as the image; the discriminator has one before each that halves, and a last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
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
from calotype.networks.conditional_norm import ConditionalNorm, normalized
from calotype.networks.norms import NormName, make_norm
from calotype.settings import Part, Width, unless
from calotype.types import ImageSpec

KernelSide = Literal[3, 4, 5]
WIDEST = 8  # times the width that the smallest maps have at most


@dataclass(frozen=True)
class DCGANGeneratorConfig:
    """A convolutional generator."""

    network: Literal["dcgan"] = "dcgan"  # convolutional
    width: Width = 64  # channels of the largest hidden map
    norm: NormName = "batch"  # normalization of the hidden layers
    kernel: KernelSide = 4  # side of the kernels that double the size
    spectral: bool = False  # spectral normalization
    same_size: bool = False  # end in a convolution that keeps the size, on a map as large as the image
    condition: Literal["input", "norm"] = "input"  # where labels come in: beside the latents, or as gains and biases after normalizations

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        known = "images with labels and a `model.generator.norm`"
        return unless(spec.classes and self.norm != "none", known, "condition")


@dataclass(frozen=True)
class DCGANDiscriminatorConfig:
    """A convolutional discriminator."""

    network: Literal["dcgan"] = "dcgan"  # convolutional
    width: Width = 64  # channels of the largest hidden map
    norm: NormName = "batch"  # normalization of the hidden layers
    dropout: Part = 0.0  # share of the channels that are dropped in training
    spectral: bool = False  # spectral normalization
    minibatch_std: bool = False  # show it how much a batch varies, against mode collapse
    kernel: KernelSide = 4  # side of the kernels that halve the size
    same_size: bool = False  # convolutions that keep the size as well, before each that halves it and at the end


class DCGANGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1]: normalized ReLU layers and a tanh.

    Labels come in beside the latents, or choose the gains and biases of the normalizations where it has any (``condition``).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 100,
        width: int = 64,
        norm: NormName = "batch",
        classes: int = 0,
        kernel: KernelSide = 4,
        spectral: bool = False,
        same_size: bool = False,
        condition: Literal["input", "norm"] = "input",
    ) -> None:
        super().__init__()
        sizes = _sizes(shape)[::-1]
        channels = _channels(len(sizes) - (not same_size), width)[::-1]
        bias = norm == "none"
        in_norms = condition == "norm" and bool(classes) and norm != "none"
        make = partial(ConditionalNorm, norm, classes=classes) if in_norms else partial(make_norm, norm)
        self.join = LabelEmbedding(latent, 0 if in_norms else classes)
        layers: list[nn.Module] = [nn.ConvTranspose2d(self.join.features, channels[0], sizes[0], bias=bias)]
        *hidden, last = zip(pairwise([*sizes, *sizes[-1:] * same_size]), pairwise([*channels, shape[0]]), strict=True)
        for (small, large), (fan_in, fan_out) in hidden:
            layers += [make(fan_in), nn.ReLU(inplace=True), _doubling(fan_in, fan_out, small, large, kernel, bias=bias)]
        (small, large), (fan_in, fan_out) = last
        layers += [make(fan_in), nn.ReLU(inplace=True)]
        layers.append(
            nn.Conv2d(fan_in, fan_out, 3, padding=1) if same_size else _doubling(fan_in, fan_out, small, large, kernel, bias=True)
        )
        self.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
        (init_scaled if norm == "none" and not spectral else init_normal)(self)
        if spectral:
            add_spectral_norm(self, embeddings=False)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        out: Tensor = self.join(latent, label)[:, :, None, None]
        for layer in self.layers:
            out = normalized(layer, out, label)
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
        kernel: KernelSide = 4,
        same_size: bool = False,
    ) -> None:
        super().__init__()
        self.mixes_batch = norm == "batch" or minibatch_std
        sizes = _sizes(shape)
        plan = list(zip(_channels(len(sizes) - 1, width), pairwise(sizes), strict=True))
        if same_size:  # a convolution from a size to the same one
            pairs = [(outputs, step) for outputs, (large, small) in plan for step in ((large, large), (large, small))]
            plan = [*pairs, (_channels(len(sizes), width)[-1], (sizes[-1], sizes[-1]))]
        layers: list[nn.Module] = []
        previous = shape[0]
        for i, (outputs, (large, small)) in enumerate(plan):
            if minibatch_std and i == len(plan) - 1:  # before the last convolution, which can make something of it
                layers.append(MinibatchStd())
                previous += 1
            of_norm = make_norm(norm if i else "none", outputs, running=False)
            layers += [_halving(previous, outputs, large, small, kernel, bias=isinstance(of_norm, nn.Identity)), of_norm]
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            if dropout > 0:
                layers.append(nn.Dropout2d(dropout))
            previous = outputs
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
            if blocks:  # of small images the spread of the batch comes first, which has no weights
                blocks[-1].append(layer)
        return blocks

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        features = self.layers(image).permute(0, 2, 3, 1).flatten(1)  # this order costs no copy where channels lie last in memory
        logits: Tensor = self.head(features, label)
        return logits


def _sizes(shape: tuple[int, int, int]) -> list[int]:
    """From the image down to the base."""
    if not 8 <= shape[1] <= 256:
        raise UserError(f"the dcgan network takes images of 8 to 256 pixels, not {shape[1]}: give another `data.size`, or mlp networks")
    return size_chain(shape[1])


def _channels(maps: int, width: int) -> list[int]:
    """Of so many maps, from the largest to the smallest."""
    return [width * min(2**i, WIDEST) for i in range(maps)]


def _doubling(fan_in: int, fan_out: int, small: int, large: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
    side = _side(small, large, kernel)
    padding = (side - 1) // 2
    missing = large - (2 * (small - 1) - 2 * padding + side)  # one row and column, of even sizes by odd kernels
    return nn.ConvTranspose2d(fan_in, fan_out, side, stride=2, padding=padding, output_padding=missing, bias=bias)


def _halving(fan_in: int, fan_out: int, large: int, small: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    """A convolution from one size to the other, be it the same."""
    if large == small:
        return nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=bias)
    side = _side(small, large, kernel)
    return nn.Conv2d(fan_in, fan_out, side, stride=2, padding=(side - 1) // 2, bias=bias)


def _side(small: int, large: int, kernel: int) -> int:
    """The kernel that leads with stride 2 from one size to the other: an even one only doubles, 3 gives one less than double."""
    return kernel if kernel % 2 or large == 2 * small else 3
