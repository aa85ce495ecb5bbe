"""A small convolutional network that tells classes apart, and whose inner layer is a feature space."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.networks.blocks import FeatureClassifier, init_scaled, size_chain
from calotype.networks.norms import make_norm
from calotype.precise import pooled

GAIN = 8.0  # of the random features, so that they vary by about one


class Recognizer(FeatureClassifier):
    """A plain convolutional classifier (after Simonyan and Zisserman 2015, with group normalization, Wu and He 2018).

    One convolution at full size, then two at each half of it down to a base of 4 to 6 pixels; the means of the last maps over
    a 2x2 grid go through one linear layer to the features. No layer looks at other images of the batch, in training or after
    it, so that the features of an image are a function of this image alone.

    Args:
        channels: of the images, 1 or 3.
        classes: to tell apart.
        size: height and width of the images, 8 or more.
        width: channels of the first maps; each later level has twice as many, up to four times.
        features: numbers of the penultimate layer.
        dropout: share of the features dropped in training.
        picture: side of the coarse picture that a linear layer draws from the features; 0 for none.
    """

    def __init__(
        self, channels: int, classes: int, size: int, *, width: int = 16, features: int = 64, dropout: float = 0.0, picture: int = 0
    ) -> None:
        super().__init__()
        # normalized, the first maps would be the same at any contrast
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(inplace=True))
        levels = len(size_chain(size)) - 1
        widths = [width * min(2**level, 4) for level in range(1, levels + 1)]
        before = [width, *widths]
        self.levels = nn.ModuleList(nn.Sequential(_stage(a, b), _stage(b, b)) for a, b in zip(before, widths, strict=False))
        self.penultimate = nn.Linear(4 * before[-1], features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.drawing = (
            nn.Sequential(nn.Linear(features, channels * picture**2), nn.Unflatten(1, (channels, picture, picture))) if picture else None
        )
        init_scaled(self)
        nn.init.normal_(self.head.weight, 0.0, features**-0.5)

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, features) float32, of images (N, C, H, W) in [-1, 1]."""
        x = self.stem(x)
        for level in self.levels:
            x = level(functional.max_pool2d(x, 2, ceil_mode=True))
        with torch.autocast(x.device.type, enabled=False):
            return functional.silu(self.penultimate(pooled(x.float(), 2).flatten(1)))

    def picture_of(self, features: Tensor) -> Tensor:
        """The coarse picture (N, C, picture, picture) float32 that the features (N, features) remember."""
        if self.drawing is None:
            raise ValueError("this recognizer was built to draw no picture")
        with torch.autocast(features.device.type, enabled=False):
            drawn: Tensor = self.drawing(features)
        return drawn


def _stage(a: int, b: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), make_norm("group", b), nn.SiLU(inplace=True))


class RandomNetwork(nn.Module):
    """A fixed random network: features for images that nobody labelled (random embeddings as in Naeem et al. 2020).

    Each level convolves with random filters, rectifies both signs and halves the size; means over a 2x2 grid of every level,
    relative to the mean of all channels there (else the sheer amount of edges would outweigh everything), are mixed at random
    into ``dimension`` numbers. The first filters have mean zero, so that brightness alone says little. The weights are uniform
    numbers of numpy's ``RandomState``, whose streams are frozen: the same everywhere.

    Args:
        channels: of the images, 1 or 3.
        seed: What the weights follow from.
        widths: filters of the levels.
        saved: Whether the weights are part of what is saved of a model that has this network.
    """

    dimension = 64

    def __init__(self, channels: int, seed: int, widths: tuple[int, ...] = (32, 48, 64), saved: bool = True) -> None:
        super().__init__()
        rng = np.random.RandomState(seed)
        before = channels
        for level, width in enumerate(widths):
            weight = _uniform(rng, (width, before, 5 if level == 0 else 3, 5 if level == 0 else 3))
            if level == 0:
                weight = weight - weight.mean((2, 3), keepdim=True)
            self.register_buffer(f"filter{level}", weight, persistent=saved)
            before = 2 * width
        self.levels = len(widths)
        self.register_buffer("mix", GAIN * _uniform(rng, (self.dimension, 4 * 2 * sum(widths))), persistent=saved)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each level sees of images (N, C, H, W) in [-1, 1], (N, channels, h, w), each half the size of the one before."""
        seen = []
        for level in range(self.levels):
            weight = self.get_buffer(f"filter{level}")
            x = functional.conv2d(functional.pad(x, (weight.shape[-1] // 2,) * 4, mode="replicate"), weight)
            signs = (functional.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in (x.relu(), (-x).relu()))
            x = torch.cat([*signs], 1)
            seen.append(x)
        return seen

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, dimension) of images (N, C, H, W) in [-1, 1], H and W at least 8."""
        seen = [pooled(m - m.mean(1, keepdim=True), 2).flatten(1) for m in self.maps(x)]
        return functional.linear(torch.cat(seen, 1), self.get_buffer("mix"))


def _uniform(rng: np.random.RandomState, shape: tuple[int, ...]) -> Tensor:
    """Weights that keep the second moment of what comes in, exactly the same on every machine."""
    fan_in = int(np.prod(shape[1:]))
    return torch.from_numpy(((2 * rng.random_sample(shape) - 1) * np.sqrt(3.0 / fan_in)).astype(np.float32))
