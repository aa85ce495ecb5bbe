"""Encoders and decoders: images to vectors of numbers and back."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.backbone import ConvBackbone, Head, Residual, map_sizes
from calotype.networks.posterior import ClassPrior, moments


class ConvEncoder(nn.Module):
    """Images (N, C, H, W) to vectors (N, outputs) through residual blocks on pixel-unshuffled maps.

    Args:
        shape: (C, H, W) of the images, of any size of at least 8.
        outputs: numbers of each vector.
        width: channels of the first map; every lower one has twice as many.
        depth: residual blocks of each map.
    """

    def __init__(self, shape: tuple[int, int, int], outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.backbone = ConvBackbone(shape, width=width, depth=depth)
        self.out = nn.Linear(self.backbone.widths[-1] * self.backbone.sizes[-1] ** 2, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Vectors (N, outputs) of images (N, C, H, W)."""
        out: Tensor = self.out(self.backbone(image)[-1].flatten(1))
        return out


class ConvDecoder(nn.Module):
    """Vectors (N, latent), and labels, to (N, outputs * C, H, W): the mirror image of `ConvEncoder`.

    Args:
        shape: (C, H, W) of the images.
        latent: numbers of each vector.
        outputs: numbers for each sub-pixel.
        width: channels of the largest map; every lower one has twice as many.
        depth: residual blocks of each map.
        classes: labels 0 to ``classes - 1``; 0 for none.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, outputs: int, *, width: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.decoder = ConvMapDecoder(shape, outputs, width=width, depth=depth)
        self.start = nn.Linear(latent, prod(self.decoder.base))
        self.label = nn.Embedding(classes, prod(self.decoder.base)) if classes else None

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """What the decoder says of each sub-pixel of images of latents (N, latent) and, if conditional, labels (N,)."""
        hidden = self.start(latent)
        if self.label is not None and label is not None:
            hidden = hidden + self.label(label)
        out: Tensor = self.decoder(hidden.view(-1, *self.decoder.base))
        return out


class ConvMapDecoder(nn.Module):
    """The lowest feature map of a `ConvBackbone`, (N, *base), to ``outputs`` numbers for each sub-pixel of an image."""

    def __init__(self, shape: tuple[int, int, int], outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        sizes = map_sizes(shape[1])
        widths = [width << k for k in range(len(sizes))]
        self.base = (widths[-1], sizes[-1], sizes[-1])
        self.levels = nn.ModuleList(nn.Sequential(*(Residual(w) for _ in range(depth))) for w in widths)
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.head = Head(shape, width, outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, *base) to (N, outputs * C, H, W)."""
        for level in reversed(range(len(self.levels))):
            hidden = self.levels[level](hidden)
            if level:
                hidden = F.pixel_shuffle(self.grow[level - 1](hidden), 2)
        out: Tensor = self.head(hidden)
        return out


class MLPEncoder(nn.Module):
    """Images (N, C, H, W) to vectors (N, outputs) through ``depth`` hidden layers of ``width`` units; none is a linear map."""

    def __init__(self, shape: tuple[int, int, int], outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        sizes = [prod(shape)] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], outputs)

    def forward(self, image: Tensor) -> Tensor:
        """Vectors (N, outputs) of images (N, C, H, W)."""
        hidden = image.flatten(1)
        for layer in self.hidden:
            hidden = F.silu(layer(hidden))
        out: Tensor = self.out(hidden)
        return out


class MLPDecoder(nn.Module):
    """Vectors (N, latent), and labels, to (N, outputs * C, H, W) through ``depth`` hidden layers; none is a linear map."""

    def __init__(self, shape: tuple[int, int, int], latent: int, outputs: int, *, width: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.shape = (outputs * shape[0], *shape[1:])
        sizes = [latent + classes] + [width] * depth
        self.classes = classes
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], prod(self.shape))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """What the decoder says of each sub-pixel of images of latents (N, latent) and, if conditional, labels (N,)."""
        hidden = latent
        if self.classes and label is not None:
            hidden = torch.cat([hidden, F.one_hot(label, self.classes).to(hidden.dtype)], 1)
        for layer in self.hidden:
            hidden = F.silu(layer(hidden))
        out: Tensor = self.out(hidden)
        return out.float().view(-1, *self.shape)


class SharedScale(nn.Module):
    """A decoder of means, and one learned logarithm of a scale for all sub-pixels (Rybkin et al. 2021)."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, 2 C, H, W): the means, then the logarithms."""
        mean = self.decoder(latent, label)
        return torch.cat([mean, self.log_scale.expand_as(mean)], dim=1)


class Autoencoder(nn.Module):
    """An encoder to the moments of latents, their prior, and a decoder back: what is trained together."""

    def __init__(self, encoder: nn.Module, prior: ClassPrior, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        self.decoder = decoder

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale of the posterior, (N, z) float32 each."""
        return moments(self.encoder(image))

    def decode(self, standard: Tensor, label: Tensor | None = None) -> Tensor:
        """What the decoder says of each sub-pixel, (N, outputs * C, H, W), given latents (N, z) in units of the prior."""
        out: Tensor = self.decoder(self.prior(standard, label), label)
        return out
