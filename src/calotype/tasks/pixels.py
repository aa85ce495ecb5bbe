"""Images of one's own in the shape of a model, to be put into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data import Images, load
from calotype.data.decode import UnusableError, decode_fitted
from calotype.data.download import PUBLIC
from calotype.data.embedded import NAMES
from calotype.data.kinds import looks_like_image
from calotype.engine.images import open_images
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.files import expanded
from calotype.losses.discretized import images_of
from calotype.types import ImageSpec


@dataclass(frozen=True)
class Given:
    """Images that were named, brought to a model's shape."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]
    label: Tensor | None  # (N,) int64, where all of them have one of the model's classes

    def __len__(self) -> int:
        return len(self.image)


def given(sources: tuple[str, ...], spec: ImageSpec, count: int) -> Given:
    """The first ``count`` images of each source: image files by themselves, folders, zips, data sets (of those, held-out images).

    Raises:
        UserError: for what is no image or source.
    """
    parts = [_of(source, spec, count) for source in sources]
    labels = [label for _, label in parts]
    image = to_tensor(np.concatenate([pixels for pixels, _ in parts]))
    return Given(image, torch.from_numpy(np.concatenate(labels)) if all(x is not None for x in labels) else None)  # type: ignore[arg-type]


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, C) uint8 as (N, C, H, W) float32 in [-1, 1]."""
    return images_of(torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2))


def labels_for(images: Images, spec: ImageSpec) -> NDArray[np.int64] | None:
    """The labels of images as a model numbers its classes, (N,); None where there are none, or some that it does not know."""
    if images.labels is None or not set(images.classes) <= set(spec.classes):
        return None
    return np.array([spec.classes.index(name) for name in images.classes], np.int64)[images.labels]


def training_images(run: Path) -> Images:
    """The images that a run was trained on. Raises `UserError` for a model by itself, which does not know them."""
    try:
        data = Run.open(run).read_config()[0].data
    except UserError:
        raise UserError(f"{run} is a model by itself: name the images to look for neighbors in with --data") from None
    return open_images(data).train


def _of(source: str, spec: ImageSpec, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    path = expanded(source)
    if path.is_file():
        with path.open("rb") as file:
            picture = looks_like_image(file.read(64))
        if picture:
            try:
                return decode_fitted(path.read_bytes(), path.name, spec.size, spec.channels, "crop")[None], None
            except UnusableError as error:
                raise UserError(f"{source} cannot be used: {error}") from None
    own = source in NAMES or source in PUBLIC
    split = load(source, size=spec.size, channels=spec.channels, holdout=0.1 if own else 0)
    images = split.holdout if own else split.train
    labels = labels_for(images, spec)
    return np.asarray(images.pixels[:count]), None if labels is None else labels[:count]
