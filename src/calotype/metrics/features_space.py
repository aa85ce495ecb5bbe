"""A feature space: what turns images into the vectors that scores compare, and the name that every such score carries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.images import Progress
from calotype.errors import UserError

Features = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Extract = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""(n, C, H, W) float32 in [0, 255] -> features (n, d) and, where the network tells classes apart, probabilities (n, K)."""


@dataclass(frozen=True)
class Extracted:
    """What a feature space makes of N images."""

    features: Features  # (N, d) float32
    probabilities: Features | None = None  # (N, K) float32, rows sum to 1; None where the network tells no classes apart

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Extracted:
        """The same for some of the images."""
        return Extracted(self.features[rows], None if self.probabilities is None else self.probabilities[rows])

    def updated(self, rows: NDArray[np.int64], other: Extracted) -> Extracted:
        """The same with ``other`` in the place of some of the images."""
        features, beliefs = self.features.copy(), None
        features[rows] = other.features
        if self.probabilities is not None and other.probabilities is not None:
            beliefs = self.probabilities.copy()
            beliefs[rows] = other.probabilities
        return Extracted(features, beliefs)


@dataclass(frozen=True)
class FeatureSpace:
    """A fixed network, one of its layers, and the hash of its weights: scores of different spaces cannot be compared."""

    name: str  # "digits", "random0", "inception" ...
    layer: str  # "penultimate", "pool" ...
    dimension: int  # d
    hash: str  # the first 8 hexadecimal digits of the SHA-256 of the weights
    extract: Extract
    size: int | None = None  # height and width of the images it takes; None for any
    channels: int | None = None  # None for 1 and 3
    classes: tuple[str, ...] = ()  # that its probabilities tell apart
    accuracy: float | None = None  # of the network on images that it never saw, where known
    batch: int = 250  # images at a time
    device: str = "cpu"
    slow: bool = False  # whether it takes so long that a report looks at a part of a large set; published scores are of all images
    network: str = ""  # that others trained, by its published name: what was trained through it is not judged in it

    @property
    def label(self) -> str:
        """What a score says of where it was computed: name, hash, layer and dimension."""
        return f"{self.name}@{self.hash}, {self.layer}, {self.dimension}"

    @torch.no_grad()
    def of(self, pixels: Pixels, progress: Progress | None = None) -> Extracted:
        """Features of (N, H, W, C) uint8 images, in batches; the same pixels give the same numbers.

        ``progress`` is called with how many of how many images are done.

        Raises:
            UserError: for images of a size or number of channels that the network does not take.
        """
        self._check(pixels)
        features, probabilities = [], []
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with exact:
            for first in range(0, len(pixels), self.batch):
                rows = torch.from_numpy(np.array(pixels[first : first + self.batch]))  # a copy, for what is mapped cannot be written
                found, beliefs = self.extract(rows.to(self.device).permute(0, 3, 1, 2).float())
                features.append(found.float().cpu().numpy())
                if beliefs is not None:
                    probabilities.append(beliefs.float().cpu().numpy())
                if progress is not None:
                    progress(min(first + self.batch, len(pixels)), len(pixels))
        if not features:
            return Extracted(
                np.empty((0, self.dimension), np.float32), np.empty((0, len(self.classes)), np.float32) if self.classes else None
            )
        return Extracted(np.concatenate(features), np.concatenate(probabilities) if probabilities else None)

    def _check(self, pixels: Pixels) -> None:
        if pixels.ndim != 4 or pixels.dtype != np.uint8 or pixels.shape[1] != pixels.shape[2]:
            raise UserError(f"features are made from square uint8 images (N, H, W, C), not from {pixels.dtype} {pixels.shape}")
        self.require(int(pixels.shape[1]), int(pixels.shape[3]))

    def require(self, size: int, channels: int) -> None:
        """Raise `UserError` where the network does not take images of this size and number of channels."""
        if (self.size in (None, size)) and (self.channels in (None, channels)) and channels in (1, 3):
            return
        kind = {1: "gray", 3: "color", None: "gray or color"}[self.channels]
        wanted = f"{kind} images" + (f" of {self.size}x{self.size}" if self.size else "")
        given = {1: "gray", 3: "color"}.get(channels, f"{channels}-channel")
        raise UserError(
            f"the features {self.name!r} are of {wanted}, and these are {given} of {size}x{size}: choose other `features`, such as random"
        )


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of named tensors, whatever file they came from."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous().numpy()
        whole.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        whole.update(values.tobytes())
    return whole.hexdigest()[:8]
