"""How far an image is from all that a classifier learned from: the distance to training images in its features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.confidence import Doubles

Features = NDArray[np.float32]

FALSE_ALARMS = 0.05  # the share of images of the known kinds that are called unlike them
NEIGHBOR = 10  # the nearest training image that counts: a single one may be an outlier itself
REMEMBERED, OF_CLASS = 1_000, 20  # training images whose features are kept, or so many times the classes where that is more
_CHUNK = 500  # images that are compared at a time


@dataclass(frozen=True)
class KnownImages:
    """What is kept of training images: the directions of their features, (M, d) float32 of length 1."""

    directions: Features

    @staticmethod
    def of(features: Features) -> KnownImages:
        """Of features (M, d) as the network makes them."""
        return KnownImages(_directions(features))

    def distances(self, features: Features) -> Doubles:
        """From each of N images, with features (N, d), to its tenth nearest training image, (N,) in [0, 2] (Sun et al. 2022).

        Between directions, for how long a vector is tells how sure the network is more than what it sees.
        """
        asked, found = _directions(features), []
        place = min(NEIGHBOR, len(self.directions)) - 1
        for first in range(0, len(asked), _CHUNK):
            likeness = asked[first : first + _CHUNK] @ self.directions.T
            nearest = -np.partition(-likeness, place, axis=1)[:, place].astype(np.float64)
            found.append(np.sqrt(np.maximum(0.0, 2 - 2 * nearest)))
        return np.concatenate(found) if found else np.empty(0)


def distance_limit(distances: Doubles, false_alarms: float = FALSE_ALARMS) -> float | None:
    """The distance beyond which an image counts as unlike the known ones: of such images ``false_alarms`` lie beyond it on average.

    The k-th largest of N distances of images that nothing was learned from, k = floor(a (N + 1)): what it promises holds whatever their
    distribution (split conformal prediction, Vovk et al. 2005). None where there are too few for that.
    """
    place = math.floor(false_alarms * (len(distances) + 1))
    return None if place < 1 else float(np.sort(distances)[-place])


def _directions(features: Features) -> Features:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    found: Features = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found
