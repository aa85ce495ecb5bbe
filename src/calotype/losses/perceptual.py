"""How different two images look to a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SEED = 1861  # of the random network that trainings look through: no score uses it
WIDTHS = (16, 24, 32)  # of that network, half of those of scores: it looks at every batch
STAGES = 5  # of a network of photographs, from edges at half the size to parts of objects at a sixteenth
SMALLEST = 16  # pixels a side below which there is too little to see
FLOOR = 0.05  # features smaller than this count as little as in an even surface


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The distance of two sets of feature maps (after Zhang et al. 2018, eq. 1, without learned weights), (N,) float32.

    At every place the features of one level are divided by their root mean square, so that a difference counts relative to how much
    there is to see. The squared differences are averaged over channels and places, and summed over the levels. Networks with random
    weights are known to serve for this, trained ones serve better; this is not LPIPS, whose weights were fitted to what people said.

    Args:
        a: For each level (N, C, h, w).
        b: Of the other images, the same shapes.
    """
    total: Tensor | None = None
    for left, right in zip(a, b, strict=True):
        apart = (_unit(left.float()) - _unit(right.float())).square().mean((1, 2, 3))
        total = apart if total is None else total + apart
    assert total is not None
    return total


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().mean(1, keepdim=True) + FLOOR**2).sqrt()


def perceptual(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The mean of `feature_distance` over the images, a scalar to minimize."""
    return torch.mean(feature_distance(a, b))
