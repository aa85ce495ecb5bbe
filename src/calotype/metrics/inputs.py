"""What scores are computed of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.features_space import Extracted, FeatureSpace
from calotype.metrics.once import Once


@dataclass(frozen=True)
class InSpace(Once):
    """Images to score, and real ones, as one feature space sees them."""

    drawn: Extracted
    reference: Extracted
    different: tuple[Extracted, Extracted] | None = None  # what stands for both where neighbors count: no image twice


@dataclass(frozen=True)
class Drawn(Once):
    """Images to score, by themselves."""

    pixels: NDArray[np.uint8]  # (N, H, W, C)


@dataclass(frozen=True)
class Published(Once):
    """All images that were drawn, and all training images, in one space."""

    space: FeatureSpace
    drawn: Extracted
    train: Extracted


@dataclass(frozen=True)
class Divided(Once):
    """Images to score, and real ones that their model saw and did not see, in one space."""

    drawn: Extracted
    train: Extracted
    holdout: Extracted


@dataclass(frozen=True)
class Nats(Once):
    """How unlikely a model finds each of some images."""

    nats: NDArray[np.float64]  # (N,)
    shape: tuple[int, ...]  # of an image


@dataclass(frozen=True)
class Quality(Once):
    """How close each of some images comes to its truth."""

    psnr: NDArray[np.float64]  # (N,) dB
    ssim: NDArray[np.float64]  # (N,)
    gain: NDArray[np.float64] | None = None  # (N,) dB beyond the best method that needs no training


@dataclass(frozen=True)
class Beliefs(Once):
    """What a classifier believes of images whose classes are known."""

    labels: NDArray[np.int64]  # (N,) in [0, K)
    log_probabilities: NDArray[np.float64]  # (N, K); of probabilities themselves the smallest would be lost

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The same as probabilities, rows summing to 1, (N, K)."""
        found: NDArray[np.float64] = np.exp(self.log_probabilities)
        return found

    @property
    def named(self) -> NDArray[np.int64]:
        """The class that each image is taken for, (N,)."""
        found: NDArray[np.int64] = self.log_probabilities.argmax(1)
        return found

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that is its class, (N,)."""
        found: NDArray[np.bool_] = self.named == self.labels
        return found
