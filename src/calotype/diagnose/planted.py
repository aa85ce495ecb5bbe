"""Known failures, planted into real images: a scale to read scores on, and a test of every verdict.

All take and return (N, H, W, C) uint8, with as many images as before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.spectrum import batches

Pixels = NDArray[np.uint8]
Rng = np.random.Generator


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """A Gaussian blur of ``sigma`` pixels."""
    radius = max(1, int(np.ceil(3 * sigma)))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    return np.concatenate([_filtered(part, weights.astype(np.float32)) for part in batches(pixels)])


def noise(pixels: Pixels, levels: float, rng: Rng) -> Pixels:
    """Gaussian noise with a standard deviation of so many levels of 255."""
    return np.concatenate([_bytes(part + np.float32(levels) * rng.standard_normal(part.shape, np.float32)) for part in batches(pixels)])


def collapse(pixels: Pixels, labels: NDArray[np.int64], count: int, rng: Rng) -> Pixels:
    """``count`` classes replaced by more images of the others, no two of which are the same pixel by pixel."""
    gone = rng.choice(np.unique(labels), count, replace=False)
    kept = np.flatnonzero(~np.isin(labels, gone))
    return _unlike(pixels[rng.permutation(np.concatenate([kept, rng.choice(kept, len(pixels) - len(kept))]))], rng)


def copies(pixels: Pixels, train: Pixels, rate: float, rng: Rng, pale: float = 1.0) -> Pixels:
    """A share of the images replaced by training images, whose contrast about middle gray is multiplied by ``pale``."""
    count = round(rate * len(pixels))
    out = pixels.copy()
    taken = train[rng.choice(len(train), count, replace=count > len(train))]
    out[rng.choice(len(out), count, replace=False)] = _bytes(127.5 + pale * (taken.astype(np.float32) - 127.5))
    return out


def repeats(pixels: Pixels, share: float, rng: Rng) -> Pixels:
    """A share of the images replaced by one of them, pixel by pixel."""
    out = pixels.copy()
    out[rng.choice(len(out), round(share * len(out)), replace=False)] = pixels[0]
    return out


def shrink(pixels: Pixels, share: float, rng: Rng) -> Pixels:
    """Only a share of the images is different; the others repeat them, but no two are the same pixel by pixel."""
    kept = rng.choice(len(pixels), max(1, round(share * len(pixels))), replace=False)
    return _unlike(pixels[rng.choice(kept, len(pixels))], rng)


def swap(pixels: Pixels, rng: Rng) -> Pixels:
    """The left half of each image beside the right half of another: right in every detail, wrong as a whole."""
    other, middle = pixels[rng.permutation(len(pixels))], pixels.shape[2] // 2
    return np.concatenate([pixels[:, :, :middle], other[:, :, middle:]], axis=2)


def _unlike(pixels: Pixels, rng: Rng) -> Pixels:
    """The same images, told apart by the last bit of one byte in fifty: repeats to the byte are a failure of their own."""
    unlike: Pixels = pixels ^ (rng.random(pixels.shape, np.float32) < 0.02)
    return unlike


def _filtered(pixels: Pixels, weights: NDArray[np.float32]) -> Pixels:
    """The images under a separable filter that sees the border repeated."""
    x, radius = pixels.astype(np.float32), len(weights) // 2
    for axis in (1, 2):
        margin = [(0, 0)] * 4
        margin[axis] = (radius, radius)
        wide, size = np.pad(x, margin, mode="edge"), x.shape[axis]
        x = np.zeros_like(x)
        for i, weight in enumerate(weights):
            x += weight * wide[:, i : i + size] if axis == 1 else weight * wide[:, :, i : i + size]
    return _bytes(x)


def _bytes(x: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
