"""Whether the two images of a pair that was drawn from noise belong together: pixel by pixel, and by what either is taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from calotype.metrics.metric import Metric
from calotype.metrics.once import Once
from calotype.metrics.score import Estimate


@dataclass(frozen=True)
class DrawnPairs(Once):
    """The second images of pairs, and what they should be: what is known to make the one kind of the other, applied to the first."""

    second: Tensor  # (N, C, H, W) in [-1, 1]
    asked: Tensor  # the same shape

    @property
    def strangers(self) -> DrawnPairs:
        """The same images, each beside what another one asks for: what chance gives."""
        return DrawnPairs(self.second, self.asked.roll(1, 0))


@dataclass(frozen=True)
class PairKinds(Once):
    """The class that each image of N pairs is taken for by a classifier of its own kind of images."""

    first: NDArray[np.int64]  # (N,)
    second: NDArray[np.int64]  # (N,)


def pixel_agreement(pairs: DrawnPairs) -> NDArray[np.float64]:
    """The share of the pixels of each pair that are light in both images or dark in both, (N,) in [0, 1] (after Liu and Tuzel 2016)."""
    alike = (pairs.second > 0) == (pairs.asked > 0)
    shares: NDArray[np.float64] = alike.flatten(1).double().mean(1).cpu().numpy()
    return shares


PIXELS = Metric(
    "pixel agreement",
    "How many pixels of the second image of a pair are light or dark as the first asks for, where it is known what makes one of the other.",
    "higher",
    DrawnPairs,
    lambda pairs: Estimate.mean(pixel_agreement(pairs)),
    bounds=(0.0, 1.0),
)
KINDS = Metric(
    "class agreement",
    "How many of the pairs show the same class in both images, as two classifiers see it that know one kind of images each.",
    "higher",
    PairKinds,
    lambda pairs: Estimate.mean((pairs.first == pairs.second).astype(np.float64)),
    bounds=(0.0, 1.0),
)
