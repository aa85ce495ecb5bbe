"""Fully connected networks: small, quick, and without any idea of what an image is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.blocks import (
    ACTIVATIONS,
    PIECES,
    ActivationName,
    LabelEmbedding,
    MinibatchStd,
    ProjectionHead,
    add_spectral_norm,
)
from calotype.networks.norms import NormName, make_flat_norm
from calotype.settings import Depth, Part, Width


@dataclass(frozen=True)
class MLPGeneratorConfig:
    """A fully connected generator."""

    network: Literal["mlp"] = "mlp"  # fully connected
    width: Width = 256  # units of a hidden layer
    depth: Depth = 3  # hidden layers
    activation: ActivationName = "leaky_relu"  # of the hidden layers
    norm: NormName = "batch"  # normalization of the hidden layers
    spectral: bool = False  # spectral normalization


@dataclass(frozen=True)
class MLPDiscriminatorConfig:
    """A fully connected discriminator."""

    network: Literal["mlp"] = "mlp"  # fully connected
    width: Width = 256  # units of a hidden layer
    depth: Depth = 3  # hidden layers
    activation: ActivationName = "leaky_relu"  # of the hidden layers
    norm: NormName = "none"  # normalization of the hidden layers
    dropout: Part = 0.0  # share of the features that are dropped in training
    spectral: bool = False  # spectral normalization
    minibatch_std: bool = False  # show it how much a batch varies, against mode collapse


class MLPGenerator(LatentGenerator):
    """Latents (N, latent) to images (N, C, H, W) in [-1, 1] through ``depth`` hidden layers of ``width`` units."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 64,
        width: int = 256,
        depth: int = 3,
        activation: ActivationName = "leaky_relu",
        norm: NormName = "none",
        dropout: float = 0.0,
        classes: int = 0,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.join = LabelEmbedding(latent, classes)
        self.hidden = _hidden([self.join.features] + [width] * depth, activation, lambda n: make_flat_norm(norm, n), dropout)
        self.out = nn.Linear(width, prod(shape))
        if spectral:
            add_spectral_norm(self, embeddings=False)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images of latents (N, latent) and, if conditional, labels (N,)."""
        out: Tensor = self.out(self.hidden(self.join(latent, label)))
        return out.float().tanh().view(-1, *self.shape)


class MLPDiscriminator(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32 through ``depth`` hidden layers of ``width`` units."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 256,
        depth: int = 3,
        activation: ActivationName = "leaky_relu",
        norm: NormName = "none",
        dropout: float = 0.0,
        classes: int = 0,
        spectral: bool = False,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        self.mixes_batch = norm == "batch" or minibatch_std
        self.hidden = _hidden([prod(shape)] + [width] * depth, activation, lambda n: make_flat_norm(norm, n, running=False), dropout)
        self.spread = MinibatchStd() if minibatch_std else nn.Identity()
        last = width + minibatch_std
        self.mix = nn.Sequential(*_layer(last, width, activation)) if minibatch_std else nn.Identity()
        self.head = ProjectionHead(width, classes)
        if spectral:
            add_spectral_norm(self)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, if conditional, their labels (N,)."""
        logits: Tensor = self.head(self.mix(self.spread(self.hidden(image.flatten(1)))), label)
        return logits

    def named_layers(self) -> dict[str, nn.Module]:
        """As `ImageDiscriminator` has it: its hidden layers."""
        linear = [layer for layer in self.hidden if isinstance(layer, nn.Linear)]
        return {f"layer {number}": layer for number, layer in enumerate(linear, 1)}


def _layer(fan_in: int, units: int, activation: ActivationName, norm: Callable[[int], nn.Module] = nn.Identity) -> list[nn.Module]:
    """A linear map of whatever an activation takes for so many units."""
    fan_out = units * (PIECES if activation == "maxout" else 1)
    normalize = norm(fan_out)
    # batch norm subtracts whatever a bias adds
    return [nn.Linear(fan_in, fan_out, bias=not isinstance(normalize, nn.BatchNorm1d)), normalize, ACTIVATIONS[activation]()]


def _hidden(sizes: list[int], activation: ActivationName, norm: Callable[[int], nn.Module], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += _layer(fan_in, fan_out, activation, norm)
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
