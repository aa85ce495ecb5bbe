"""Images of one's own in the shape of a model, to be put into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data import Images, load
from calotype.data.decode import UnusableError, decode_fitted
from calotype.data.kinds import is_picture
from calotype.data.load import has_a_name, require_images
from calotype.errors import UserError, printable
from calotype.files import expanded
from calotype.losses.discretized import images_of
from calotype.types import ImageSpec


@dataclass(frozen=True)
class Given:
    """Images that were named, brought to a model's shape."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]
    label: Tensor | None  # (N,) int64, where all of them have one of the model's classes
    names: tuple[str, ...]  # what each is called

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class _Part:
    """The images of one source."""

    pixels: NDArray[np.uint8]  # (N, H, W, C)
    labels: NDArray[np.int64] | None
    names: tuple[str, ...]


def given(sources: tuple[str, ...], spec: ImageSpec, count: int) -> Given:
    """The first ``count`` images of each source: image files by themselves, folders, zips, data sets (of those, held-out images).

    Raises:
        UserError: for what is no image or source.
    """
    parts = [_of(source, spec, count) for source in sources]
    image = to_tensor(np.concatenate([part.pixels for part in parts]))
    labels = [part.labels for part in parts if part.labels is not None]
    known = torch.from_numpy(np.concatenate(labels)) if len(labels) == len(parts) else None
    return Given(image, known, tuple(name for part in parts for name in part.names))


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, C) uint8 as (N, C, H, W) float32 in [-1, 1]."""
    return images_of(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2))


def labels_for(images: Images, spec: ImageSpec) -> NDArray[np.int64] | None:
    """The labels of images as a model numbers its classes, (N,); None where there are none, or some that it does not know."""
    if images.labels is None or not set(images.classes) <= set(spec.classes):
        return None
    return np.array([spec.classes.index(name) for name in images.classes], np.int64)[images.labels]


def _of(source: str, spec: ImageSpec, count: int) -> _Part:
    path = expanded(source)
    if path.is_file() and is_picture(path):
        try:
            pixels = decode_fitted(path.read_bytes(), path.name, spec.size, spec.channels, "crop")
        except UnusableError as error:
            raise UserError(f"{source} cannot be used: {error}") from None
        return _Part(pixels[None], None, (printable(path.name),))
    require_images(source)
    own = has_a_name(source)
    split = load(source, size=spec.size, channels=spec.channels, holdout=0.1 if own else 0)
    images = (split.holdout if own else split.train).take(slice(0, count))
    return _Part(np.asarray(images.pixels), labels_for(images, spec), tuple(images.name_of(row) for row in range(len(images))))
