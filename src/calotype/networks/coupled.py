"""Coupled networks (Liu and Tuzel 2016): two generators that share all layers but the last, two discriminators all but the first.

What two domains have in common is decided in the shared layers, so that images of one latent show the same in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from calotype.errors import UserError

Sides = tuple[tuple[int, int, int], tuple[int, int, int]]
"""The shapes (C, H, W) of both domains, which differ in their channels at most."""


class CoupledGenerator(nn.Module):
    """Latents (N, latent) to two images of each, (N, C, H, W) and (N, C', H, W), in [-1, 1].

    Args:
        shared: Latents as maps (N, latent, 1, 1) to what both images are made of.
        own: The last layer of each, before a tanh.
    """

    def __init__(self, shared: nn.Module, own: Iterable[nn.Module]) -> None:
        super().__init__()
        self.shared, self.own = shared, nn.ModuleList(own)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs of latents (N, latent)."""
        hidden = self.shared(latent[:, :, None, None])
        first, second = (last(hidden).float().tanh() for last in self.own)
        return first, second


class CoupledDiscriminator(nn.Module):
    """Images of two domains, (N, C, H, W) and (M, C', H, W), to their logits, (N + M,) float32, each image by itself.

    Args:
        own: The first layer of each domain.
        shared: What follows, to maps.
        head: Vectors (N, F) to logits (N,).
    """

    def __init__(self, own: Iterable[nn.Module], shared: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.own, self.shared, self.head = nn.ModuleList(own), shared, head

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The logits of images of the first domain, then those of the second."""
        seen = torch.cat([layer(images) for layer, images in zip(self.own, (first, second), strict=True)])
        logits: Tensor = self.head(self.shared(seen).permute(0, 2, 3, 1).flatten(1))
        return logits


class TwoScores(nn.Module):
    """Vectors (N, F) to logits (N,) float32: the score of being real less that of being made, whose softmax is the sigmoid of this."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scores = nn.Linear(features, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, always computed in float32."""
        with torch.autocast(features.device.type, enabled=False):
            made, real = self.scores(features.float()).unbind(1)
            logits: Tensor = real - made
            return logits


def of_digits(sides: Sides, latent: int) -> tuple[CoupledGenerator, CoupledDiscriminator]:
    """The networks of the paper's first experiments: 7,842,694 and 427,593 parameters with 100 latents and gray images.

    Raises:
        UserError: for images that are not of 28 pixels.
    """
    if sides[0][1] != 28:
        raise UserError(f"the digits network makes images of 28 pixels, not {sides[0][1]}: take `model.network=dcgan`, or `data.size=28`")
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent, 1024, 4), *_normalized(1024)]
    for inputs, outputs in ((1024, 512), (512, 256), (256, 128)):  # 4 -> 7 -> 13 -> 25
        layers += [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1), *_normalized(outputs)]
    generator = CoupledGenerator(nn.Sequential(*layers), (nn.ConvTranspose2d(128, channels, 6, padding=1) for channels, _, _ in sides))
    shared = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Conv2d(50, 500, 4), nn.PReLU())
    discriminator = CoupledDiscriminator((nn.Conv2d(channels, 20, 5) for channels, _, _ in sides), shared, TwoScores(500))
    for network in (generator, discriminator):
        _init_uniform(network)
    return generator, discriminator


def _normalized(channels: int) -> Sequence[nn.Module]:
    return nn.BatchNorm2d(channels, affine=False), nn.PReLU()


def _init_uniform(module: nn.Module) -> None:
    """Weights that keep the scale of what passes both ways (Glorot and Bengio 2010), with the gain of rectified units; biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight, 2**0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
