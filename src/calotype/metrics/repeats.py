"""Images that are the same as others: within one set, and of one set in another. Nothing here needs images that were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.data.images import digests
from calotype.metrics.manifold import nearest
from calotype.metrics.spectrum import batches

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Pixels = NDArray[np.uint8]

ALIKE = 0.1
"""Root mean square difference, relative to the contrast of an image, up to which another is nearly the same: half of that between the
two most similar of the embedded digits (a test measures it), of which people say at once that they are two."""

PLAIN = 4.0
"""Levels of contrast below which an image is empty: what is all black is nobody's copy."""


@dataclass(frozen=True)
class Twins:
    """Which of N images have a twin among others."""

    index: Integers  # (N,) the other image; -1 where there is none
    exact: NDArray[np.bool_]  # (N,) where it is the same pixel for pixel, or its mirror image

    @property
    def found(self) -> NDArray[np.bool_]:
        """(N,) where there is one."""
        return self.index >= 0


def first_of_each(pixels: Pixels) -> Integers:
    """The rows of (N, H, W, C) at which each different image stands for the first time, rising, (D,)."""
    return np.sort(np.unique(digests(pixels), axis=0, return_index=True)[1])


def twins(x: Pixels, features: Floats, others: Pixels, of_others: Floats, own: Integers | None = None) -> Twins:
    """Which images are the same as one of ``others``, as their mirror image, or nearly the same (`ALIKE`). Empty images have no twin.

    Args:
        x: (N, H, W, C) uint8.
        features: of ``x``, (N, d): nearly the same is looked for at the nearest neighbor in this space.
        others: (M, H, W, C) uint8.
        of_others: their features, (M, d).
        own: (N,) the rows of ``others`` that ``x`` are: no image is its own twin.

    Raises:
        UserError: for features that do not fit each other or hold NaN or infinity.
    """
    index, _ = nearest(features, of_others, own=own)
    contrast = _contrast(x)
    near = (_difference(x, others, index) <= ALIKE * contrast) & (others.shape[0] > (own is not None))
    rows: dict[bytes, list[int]] = {}
    for row, key in enumerate(_keys(others)):
        rows.setdefault(key, []).append(row)
    itself = np.full(len(x), -1) if own is None else own
    same = np.array([next((r for r in rows.get(key, ()) if r != i), -1) for key, i in zip(_keys(x), itself, strict=True)], np.int64)
    full = contrast >= PLAIN
    return Twins(np.where(full & (same >= 0), same, np.where(full & near, index, -1)), full & (same >= 0))


def _keys(pixels: Pixels) -> list[bytes]:
    """What an image has in common with its mirror image, and with no other."""
    return [min(a.tobytes(), b.tobytes()) for a, b in zip(digests(pixels), digests(pixels[:, :, ::-1]), strict=True)]


def _contrast(pixels: Pixels) -> Doubles:
    """Root mean square of each image less the mean of each channel, in levels of 255, (N,)."""
    return np.concatenate([np.sqrt(part.var((1, 2), dtype=np.float64).mean(1)) for part in batches(pixels)])


def _difference(x: Pixels, others: Pixels, index: Integers) -> Doubles:
    """Root mean square difference of each image and one of the others, in levels of 255, (N,)."""
    found, start = [], 0
    for part in batches(x):
        beside = others[index[start : start + len(part)]]
        found.append(np.sqrt(np.square(part.astype(np.float64) - beside).mean((1, 2, 3))))
        start += len(part)
    return np.concatenate(found)
