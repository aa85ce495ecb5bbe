"""The pieces that several networks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from calotype.errors import UserError

ActivationName = Literal["leaky_relu", "relu", "tanh", "sigmoid"]
NormName = Literal["batch", "instance", "layer", "group", "none"]

ACTIVATIONS: dict[ActivationName, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def make_norm(name: NormName, channels: int, *, running: bool = True) -> nn.Module:
    """A normalization of (N, channels, H, W) feature maps.

    ``running`` is whether batch normalization keeps running statistics for evaluation. A discriminator does without: those of a
    mixture of real and generated images belong to neither.
    """
    match name:
        case "batch":
            return nn.BatchNorm2d(channels, track_running_stats=running)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "group":
            return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)
        case "none":
            return nn.Identity()


def make_flat_norm(name: NormName, features: int, *, running: bool = True) -> nn.Module:
    """A normalization of (N, features) vectors; as ``make_norm``, but for instance normalization, which needs a map.

    Raises:
        UserError: for instance normalization.
    """
    if name == "instance":
        raise UserError("instance normalization needs feature maps, which the mlp network lacks: use layer, group, batch or none")
    if name == "batch":
        return nn.BatchNorm1d(features, track_running_stats=running)
    return make_norm(name, features)


class MinibatchStd(nn.Module):
    """One more feature: how much the batch varies (Karras et al. 2018, section 3).

    (N, C, ...) -> (N, C + 1, ...). The standard deviation over groups of at most ``group`` neighbors, averaged over all features,
    lets a discriminator notice that generated images are all alike.
    """

    def __init__(self, group: int = 8) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Append the feature."""
        n = len(x)
        group = next(g for g in range(min(self.group, n), 0, -1) if n % g == 0)
        parts = x.float().reshape(n // group, group, *x.shape[1:])
        deviation = (parts.var(1, unbiased=False) + 1e-8).sqrt().flatten(1).mean(1)
        column = deviation.repeat_interleave(group).view(n, *(1,) * (x.ndim - 1)).expand(n, 1, *x.shape[2:])
        return torch.cat([x, column.to(x.dtype)], 1)


class ProjectionHead(nn.Module):
    """Logits of feature vectors, (N, F) -> (N,) float32: a linear map, and with classes the projection of Miyato and Koyama 2018, eq. 3.

    Always computed in float32: 8 bits of mantissa are too few for a logit.
    """

    def __init__(self, features: int, classes: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embed = nn.Embedding(classes, features) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, features**-0.5)

    def forward(self, features: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of features (N, F) given labels (N,), if the head knows classes."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits: Tensor = self.linear(features).squeeze(1)
            if self.embed is not None:
                logits = logits + (features * self.embed(_known(label))).sum(1)
            return logits


class LabelEmbedding(nn.Module):
    """Latents beside an embedding of their label, (N, latent) -> (N, 2 latent); without classes the latents alone."""

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, latent) if classes else None
        self.features = 2 * latent if classes else latent

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Join latents (N, latent) and labels (N,)."""
        if self.embed is None:
            return latent
        return torch.cat([latent, self.embed(_known(label))], 1)


def size_chain(size: int) -> list[int]:
    """The sizes from ``size`` down to a base of 4, 5 or 6, each the half of the one before, rounded up.

    >>> size_chain(64), size_chain(28), size_chain(17)
    ([64, 32, 16, 8, 4], [28, 14, 7, 4], [17, 9, 5])
    """
    sizes = [size]
    while (half := (sizes[-1] + 1) // 2) >= 4:
        sizes.append(half)
    return sizes


def add_spectral_norm(module: nn.Module) -> None:
    """Divide the weight of every layer by its largest singular value (Miyato et al. 2018), with one power iteration a forward pass."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) and not is_parametrized(layer):
            spectral_norm(layer)


def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02), the scales of normalizations from N(1, 0.02), biases zero (Radford et al. 2016, section 4)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def init_scaled(module: nn.Module) -> None:
    """Weights that keep the scale of what passes through layers without normalization (He et al. 2015), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight
            fan_in = weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                # each output pixel of a strided transposed convolution sees only a share of the kernel
                stride = layer.stride[0] if layer.padding[0] else layer.kernel_size[0]
                fan_in = max(1, weight[:, 0].numel() // stride**2)
            nn.init.normal_(weight, 0.0, (2.0 / fan_in) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode for a while, then each of their parts back into the mode it was in."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _known(label: Tensor | None) -> Tensor:
    if label is None:
        raise ValueError("a class-conditional network needs labels")
    return label
