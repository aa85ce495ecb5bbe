"""Features of photographs: EfficientNet-Lite0 with the ImageNet weights of a package that holds nothing else. Nothing is downloaded."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from calotype.metrics.features_space import Extract, FeatureSpace
from calotype.networks.efficientnet import FEATURES, prepared
from calotype.networks.published import LITE0, lite

PHOTOS = LITE0
INPUT = 128  # pixels a side that images are brought to: 224 take three times as long, and at 96 fewer photographs are like their kind
STAGE, WIDTH = 5, 192  # the sixth stage, whose means tell kinds apart best in pictures of 32 and 64 pixels, and its channels
DIMENSION = 128  # of the projection: a short report has 400 images, and a distance needs more of them than dimensions
PROJECTION_SEED = 1861  # constant forever: it names the projection
FULL_INPUT = 224
_BATCH = 16  # images: with more at a time the maps outgrow the caches of a processor


def photos(device: torch.device | str = "cpu") -> FeatureSpace:
    """What everything but gray digits is judged in: kinds of objects, materials and scenes, in images of any size from 8 pixels on.

    The means of the maps behind the sixth stage, of length 1, under a fixed random orthogonal projection to 128 numbers. A random one
    keeps distances up to a small error whatever the images are (Johnson & Lindenstrauss 1984). Axes learned from other pictures keep no
    more of what tells kinds apart, and axes learned from the data at hand would make scores of different data incomparable:
    ``benchmarks/results/photo_features.md`` has the numbers.

    Raises:
        UserError: as `published`.
    """
    network, device = lite(PHOTOS, str(device)), str(device)
    mix = torch.from_numpy(_projection()).to(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        means = network.maps(_laid(x, INPUT), STAGE + 1)[STAGE].mean((2, 3))
        return functional.normalize(means) @ mix, None

    return _space("photos", f"stage 6 at {INPUT}px, projected", DIMENSION, extract, device)


def photos_full(device: torch.device | str = "cpu") -> FeatureSpace:
    """The 1280 means of the head at the 224 pixels of its training, as they are: for scores as other programs compute them.

    They take more than 1,280 images, four times as long as `photos`, and are no better for small pictures.

    Raises:
        UserError: as `published`.
    """
    network, device = lite(PHOTOS, str(device)), str(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return network(_laid(x, FULL_INPUT))[0], None

    return _space("photos-full", f"head at {FULL_INPUT}px", FEATURES, extract, device)


def _space(name: str, layer: str, dimension: int, extract: Extract, device: str) -> FeatureSpace:
    batch = _BATCH if device == "cpu" else 16 * _BATCH
    return FeatureSpace(name, layer, dimension, PHOTOS.sha256[:8], extract, batch=batch, device=device, slow=True, network=PHOTOS.network)


def _laid(x: Tensor, size: int) -> Tensor:
    return prepared(x, size).contiguous(memory_format=torch.channels_last)


def _projection() -> NDArray[np.float32]:
    """Orthonormal columns (192, 128), uniform among all such, scaled so that the mean square of a number is that of a unit vector's."""
    drawn = np.random.RandomState(PROJECTION_SEED).standard_normal((WIDTH, DIMENSION))
    axes, upper = np.linalg.qr(drawn)
    scaled: NDArray[np.float64] = axes * np.sign(np.diag(upper)) * np.sqrt(WIDTH)
    return scaled.astype(np.float32)
