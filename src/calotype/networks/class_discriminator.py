"""A discriminator that tells classes apart, and all of them from generated images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from calotype.networks.blocks import FeatureClassifier, init_scaled, size_chain

FEATURES = 128  # numbers of the penultimate layer
WIDEST = 4  # times the width that the smallest maps have at most


class InputNoise(nn.Module):
    """Normal noise added in training (Salimans et al. 2016), nothing afterwards."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        """Add noise to ``x`` of any shape."""
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x


class ClassDiscriminator(FeatureClassifier):
    """Images (N, C, H, W) to the logits of K classes, after the discriminators of Salimans et al. 2016: weights are normalized
    (Salimans & Kingma 2016), noise goes into the images and dropout into the maps.

    The class of generated images has the logit 0, which is no restriction: only differences of logits count (section 5 there). An image is
    then real with probability Z / (Z + 1), where Z is the sum of exp of its logits.

    Args:
        channels: of the images, 1 or 3.
        classes: to tell apart.
        size: height and width of the images, 8 or more.
        width: channels of the first map; each smaller one has twice as many, up to four times.
        dropout: share of the channels of maps, and of the features, that is dropped in training.
        noise: standard deviation of the noise on images in training, which reach from -1 to 1.
    """

    dimension = FEATURES

    def __init__(self, channels: int, classes: int, size: int, *, width: int, dropout: float, noise: float) -> None:
        super().__init__()
        self.noise = InputNoise(noise)
        sizes = size_chain(size)
        widths = [channels, *(width * min(2**level, WIDEST) for level in range(len(sizes) - 1))]
        self.levels = nn.ModuleList(_level(a, b, again=level > 0, dropout=dropout) for level, (a, b) in enumerate(pairwise(widths)))
        self.penultimate = nn.Linear(widths[-1] * sizes[-1] ** 2, FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, classes)
        init_scaled(self)
        for layer in list(self.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight_norm(layer)

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, FEATURES) float32, of images (N, C, H, W) in [-1, 1]."""
        x = self.noise(x)
        for level in self.levels:
            x = level(x)
        return F.leaky_relu(self.penultimate(x.permute(0, 2, 3, 1).flatten(1)), 0.2).float()

    def named_layers(self) -> dict[str, nn.Module]:
        """The maps that can be looked at, from the image on."""
        return {f"level {number}": level for number, level in enumerate(self.levels, 1)}


def _level(inputs: int, outputs: int, *, again: bool, dropout: float) -> nn.Module:
    """A convolution that halves the size, and ``again`` one that keeps it."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    if again:
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Dropout2d(dropout))
