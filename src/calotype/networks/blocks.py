"""The pieces that several networks are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from calotype.networks.norms import make_norm

Layer = TypeVar("Layer", bound=nn.Module)

ActivationName = Literal["leaky_relu", "relu", "tanh", "sigmoid", "maxout"]

PIECES = 5  # linear functions of which a maxout unit is the largest

FREQUENCIES = 32  # of the Fourier features of the time
LARGEST_FIRST = 48  # pixels a side of the first map of a `Stem`: larger images are halved on their way in


class Maxout(nn.Module):
    """(N, PIECES * units) to (N, units): of each unit the largest of its linear functions (Goodfellow et al. 2013)."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the largest of neighbors."""
        return x.reshape(x.shape[0], -1, PIECES).amax(2)


ACTIVATIONS: dict[ActivationName, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "maxout": Maxout,
}


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
        n = x.shape[0]
        group = next(g for g in range(min(self.group, n), 0, -1) if n % g == 0)
        parts = x.float().reshape(n // group, group, *x.shape[1:])
        # the variance, fifty times as fast as by `Tensor.var`
        deviation = ((parts - parts.mean(1, keepdim=True)).square().mean(1) + 1e-8).sqrt().flatten(1).mean(1)
        column = deviation.repeat_interleave(group).view(n, *(1,) * (x.ndim - 1)).expand(n, 1, *x.shape[2:])
        return torch.cat([x, column.to(x.dtype)], 1)


class ProjectionHead(nn.Module):
    """Logits of feature vectors, (N, F) -> (N,) float32: a linear map, and with classes the projection of Miyato and Koyama 2018, eq. 3.

    Always computed in float32: 8 bits of mantissa are too few for a logit.
    """

    def __init__(self, features: int, classes: int = 0, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=bias)
        self.embed = nn.Embedding(classes, features) if classes else None
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, features**-0.5)

    def forward(self, features: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of features (N, F) given labels (N,), if the head knows classes."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits: Tensor = self.linear(features).squeeze(1)
            if self.embed is not None:
                logits = logits + (features * self.embed(known(label))).sum(1)
            return logits


class LabelEmbedding(nn.Module):
    """Latents beside an embedding of their label, (N, latent) -> (N, 2 latent); without classes the latents alone.

    ``scale`` multiplies the embedding: a label that is heard as loudly as all latents together may be all that is heard.
    """

    scale = 1.0

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, latent) if classes else None
        self.features = 2 * latent if classes else latent

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Join latents (N, latent) and labels (N,)."""
        if self.embed is None:
            return self.shaped(latent)
        return torch.cat([self.shaped(latent), self.scale * self.shaped(self.embed(known(label)))], 1)

    def shaped(self, vectors: Tensor) -> Tensor:
        """What becomes of latents and of embeddings, (N, latent), before they are joined: nothing."""
        return vectors


class TimeEmbedding(nn.Module):
    """Fourier features of the time (Tancik et al. 2020) and a learned vector of the class, through two layers.

    Of ``told`` further numbers (N, told) there is a learned map as well; where none are given they are zero.
    """

    frequencies: Tensor

    def __init__(self, size: int, classes: int, told: int = 0) -> None:
        super().__init__()
        # fixed numbers and not drawn ones: the same network at every seed
        self.register_buffer("frequencies", 2 * math.pi * torch.special.ndtri((torch.arange(FREQUENCIES) + 0.5) / FREQUENCIES))
        self.first = nn.Linear(2 * FREQUENCIES, size)
        self.second = nn.Linear(size, size)
        self.label = nn.Embedding(classes + 1, size) if classes else None  # the last row means "no label"
        self.told = nn.Linear(told, size, bias=False) if told else None

    def forward(self, time: Tensor, label: Tensor | None, told: Tensor | None = None) -> Tensor:
        """(N,) times and labels to (N, size)."""
        angle = time[:, None] * self.frequencies
        hidden: Tensor = self.second(F.silu(self.first(torch.cat([angle.cos(), angle.sin()], dim=1))))
        if self.label is not None:
            missing = torch.full((time.shape[0],), self.label.num_embeddings - 1, device=time.device) if label is None else label
            hidden = hidden + self.label(missing)
        if self.told is not None and told is not None:
            hidden = hidden + self.told(told)
        return F.silu(hidden)


class FeatureClassifier(nn.Module):
    """A network that tells classes apart by features: logits are a linear ``head`` of these, whatever they are."""

    head: nn.Linear
    dropout: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        """Features (N, d) float32 of images (N, C, H, W) in [-1, 1]."""
        raise NotImplementedError

    def logits_of(self, features: Tensor) -> Tensor:
        """Logits (N, classes) float32 of features (N, d)."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.head(self.dropout(features))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) float32 of images (N, C, H, W) in [-1, 1]."""
        return self.logits_of(self.features(x))


class Stem(nn.Module):
    """Images to the first map: one convolution, and for large images as many more as it takes to halve them to 48 pixels or fewer.

    The papers stop at 32 pixels, where this is their first layer.
    """

    def __init__(self, channels: int, width: int, size: int, *, last: bool) -> None:
        super().__init__()
        halvings = 0
        while -(-size // (1 << halvings)) > LARGEST_FIRST:
            halvings += 1
        self.layers = nn.ModuleList(
            nn.Conv2d(width if i else channels, width, 3, 2 if i < halvings else 1, padding=1, bias=False) for i in range(halvings + 1)
        )
        self.norms = nn.ModuleList(make_norm("batch", width) for _ in range(halvings + last))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, width, h, w); the last layer is normalized only where that was asked for with ``last``."""
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < len(self.norms):
                x = F.relu(self.norms[i](x), inplace=True)
        return x


def size_chain(size: int) -> list[int]:
    """The sizes from ``size`` down to a base of 4, 5 or 6, each the half of the one before, rounded up.

    >>> size_chain(64), size_chain(28), size_chain(17)
    ([64, 32, 16, 8, 4], [28, 14, 7, 4], [17, 9, 5])
    """
    sizes = [size]
    while (half := (sizes[-1] + 1) // 2) >= 4:
        sizes.append(half)
    return sizes


def padded(x: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) with its last row and column repeated until both sides are multiples."""
    down, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    if not (down or right):
        return x
    # autocast pads in float32, which would go on from here
    return F.pad(x, (0, right, 0, down), mode="replicate").to(x.dtype)


def fitted(picture: Tensor, out: int) -> Tensor:
    """(N, C, H, W) with ``out`` channels: gray repeated, color averaged."""
    if picture.shape[1] == out:
        return picture
    return picture.expand(-1, out, -1, -1) if picture.shape[1] == 1 else picture.mean(1, keepdim=True)


def add_spectral_norm(module: nn.Module, *, eps: float = 1e-12, embeddings: bool = True) -> None:
    """Divide the weight of every layer by its largest singular value (Miyato et al. 2018), with one power iteration a forward pass.

    Generators leave their ``embeddings`` of classes as they are (Zhang et al. 2019).
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, *((nn.Embedding,) if embeddings else ()))
    for layer in list(module.modules()):
        if not isinstance(layer, kinds) or is_parametrized(layer):
            continue
        if layer.weight.is_meta:
            dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            register_parametrization(layer, "weight", _UncomputedSpectralNorm(layer.weight, dim=dim, eps=eps))
        else:
            spectral_norm(layer, eps=eps)


class _UncomputedSpectralNorm(parametrizations._SpectralNorm):
    """That of weights without memory, which only shapes are asked of: to iterate as on others would take seconds for nothing."""

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        pass


def zeroed(layer: Layer) -> Layer:
    """The same layer with every weight at zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02), the scales of normalizations from N(1, 0.02), biases zero (Radford et al. 2016, section 4)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm) and layer.affine:
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


def known(label: Tensor | None) -> Tensor:
    """The labels that a class-conditional network cannot do without. Raises ``ValueError`` where there are none."""
    if label is None:
        raise ValueError("a class-conditional network needs labels")
    return label
