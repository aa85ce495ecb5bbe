"""What a classifier makes of many images: their features, and the logits of their classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.capabilities import Classifies, HasLabelsOnly
from calotype.data.images import Pixels, Progress
from calotype.networks.blocks import evaluating
from calotype.types import Model

_PIXELS = 250 * 32 * 32  # of the images that go through a network at a time


@dataclass(frozen=True)
class Predictions:
    """Logits of N images, and the features that they follow from."""

    logits: NDArray[np.float64]  # (N, K)
    features: NDArray[np.float32]  # (N, d)

    def __len__(self) -> int:
        return len(self.logits)


def in_batches(pixels: Pixels, device: torch.device | str, progress: Progress | None = None) -> Iterator[Tensor]:
    """Images (N, H, W, C) uint8 as models see them, (n, C, H, W) float32 in [-1, 1], some at a time."""
    step = max(1, _PIXELS // pixels.shape[1] ** 2)
    for first in range(0, len(pixels), step):
        rows = torch.from_numpy(np.array(pixels[first : first + step])).to(device)
        yield rows.permute(0, 3, 1, 2).float().sub_(127.5).mul_(1 / 127.5)  # as `calotype.data.Loader` does
        if progress is not None:
            progress(min(first + step, len(pixels)), len(pixels))


@torch.no_grad()
def labels_only(model: Model, pixels: Pixels, device: torch.device | str) -> NDArray[np.int64] | None:
    """The classes (N,) that images are taken for by the network that learned from the labels alone; None where the model has none."""
    if not isinstance(model, HasLabelsOnly):
        return None
    named = []
    with evaluating(model):
        for image in in_batches(pixels, device):
            logits = model.labels_only_logits(image)
            if logits is None:
                return None
            named.append(logits.argmax(1).cpu().numpy())
    return np.concatenate(named)


@torch.no_grad()
def predictions(
    model: Model, pixels: Pixels, device: torch.device | str, progress: Progress | None = None, *, mirrored: bool = False
) -> Predictions:
    """What a classifier on ``device`` makes of images (N, H, W, C) uint8 of its own shape, in batches; they vary in nothing.

    Where ``mirrored``, the features of an image are the mean of its own and those of its mirror image, and so are its logits.

    Raises:
        TypeError: for a model that tells no classes apart.
    """
    if not isinstance(model, Classifies):
        raise TypeError(f"{type(model).__name__} tells no classes apart")
    logits, features = [], []
    with evaluating(model):
        for image in in_batches(pixels, device, progress):
            found = model.features(image)
            if mirrored:
                found = (found + model.features(image.flip(3))) / 2
            features.append(found.float().cpu().numpy())
            logits.append(model.logits_of(found).double().cpu().numpy())
    if not logits:
        return Predictions(np.empty((0, len(model.spec.classes))), np.empty((0, 0), np.float32))
    return Predictions(np.concatenate(logits), np.concatenate(features))
