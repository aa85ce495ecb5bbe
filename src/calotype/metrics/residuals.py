"""What tells generated images from real ones whatever they show: statistics of their finest detail, as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.degrade.color import REC601
from calotype.errors import UserError
from calotype.metrics.features_kinds import random
from calotype.metrics.spectrum import batches
from calotype.types import ImageSpec

Pixels = NDArray[np.uint8]
Singles = NDArray[np.float32]
SMALLEST = 16  # pixels a side
LEVELS = 2  # residuals are told apart from -LEVELS to LEVELS steps
ORDER = 3  # neighbors in a row whose residuals are counted together
CELLS = 16  # at most so many frequencies along either axis
BINS = 16  # of the values of a plane


def co_occurrences(pixels: Pixels) -> Singles:
    """How often residuals of neighboring pixels occur together (after Fridrich & Kodovsky 2012, the spatial rich model).

    A residual is what a high-pass filter leaves: first differences along either axis, the Laplacian, and the 3x3 kernel of Ker and
    Boehme, which predicts a pixel from its eight neighbors. It is divided by a step, rounded and cut to [-2, 2]; three in a row or column
    give one of 125 values, of which those that differ by sign or direction are one. The square roots of their shares are the features,
    so that their variance does not depend on how frequent they are. Luminance is looked at in two steps of each residual, the
    differences of red and blue from it in one (generators differ from cameras in color most, Nataraj et al. 2019).

    Args:
        pixels: (N, H, W, C) uint8.

    Returns:
        (N, d) float32.
    """
    parts = []
    for place, plane in enumerate(_planes(pixels)):
        for residual, fine, coarse in _residuals(plane):
            for step in (fine, coarse) if place == 0 else (fine,):
                parts.append(_shares(np.clip(np.rint(residual / step), -LEVELS, LEVELS).astype(np.int16) + LEVELS))
    return np.sqrt(np.concatenate(parts, 1))


def spectra(pixels: Pixels) -> Singles:
    """Logarithms of the power at each frequency, under a Hann window (Frank et al. 2020 tell generators by it), (N, d) float32.

    Of the two axes at most 16 frequencies each, neighbors taken together; upwards and downwards together.
    """
    parts = []
    for plane in _planes(pixels):
        height, width = plane.shape[1:]
        window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
        power = np.abs(np.fft.rfft2((plane - plane.mean((1, 2), keepdims=True)) * window)) ** 2
        rows = np.abs(np.rint(np.fft.fftfreq(height) * height)).astype(int)
        cell = [np.minimum(at * CELLS // (side // 2 + 1), CELLS - 1) for at, side in ((rows, height), (np.arange(width // 2 + 1), width))]
        place = (cell[0][:, None] * CELLS + cell[1]).ravel()
        used, inverse, count = np.unique(place, return_inverse=True, return_counts=True)
        sums = np.zeros((len(plane), len(used)), np.float32)
        for column in range(len(used)):
            sums[:, column] = power.reshape(len(plane), -1)[:, inverse == column].sum(1)
        parts.append(np.log1p(sums / count / (height * width)))
    return np.concatenate(parts, 1).astype(np.float32)


def levels(pixels: Pixels) -> Singles:
    """Square roots of the shares of 16 ranges of values, and of both ends by themselves, in each plane, (N, d) float32."""
    parts = []
    for place, plane in enumerate(_planes(pixels)):
        low = 0.0 if place == 0 else -128.0
        bins = np.clip(((plane - low) * (BINS / 256)).astype(np.int64), 0, BINS - 1).reshape(len(plane), -1)
        ends = [np.isclose(plane, end).mean((1, 2))[:, None] for end in ((0, 255) if place == 0 else (0,))]
        parts += [_counted(bins, BINS) / bins.shape[1], *ends]
    found: Singles = np.sqrt(np.concatenate(parts, 1)).astype(np.float32)
    return found


def content(pixels: Pixels) -> Singles:
    """What a fixed random network sees (`calotype.metrics.features`), (N, 64) float32: shapes and layout, coarsely."""
    return random(ImageSpec(pixels.shape[1], pixels.shape[3]))[0].of(pixels).features


GROUPS: Mapping[str, Callable[[Pixels], Singles]] = {
    "co-occurrences": co_occurrences,
    "spectra": spectra,
    "levels": levels,
    "content": content,
}
"""What a detector can look at, by name."""


def residual_features(pixels: Pixels, groups: Sequence[str] = tuple(GROUPS)) -> Singles:
    """Features of (N, H, W, C) uint8 images by all of ``groups`` side by side, (N, d) float32; each row depends on its image alone.

    Raises:
        UserError: for images smaller than 16x16, or of another layout.
    """
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or min(pixels.shape[1:3]) < SMALLEST:
        raise UserError(f"residuals need images (N, H, W, 1 or 3) of at least {SMALLEST}x{SMALLEST} pixels, not {pixels.shape}")
    with torch.no_grad():
        found = [np.concatenate([GROUPS[name](part) for name in groups], 1) for part in batches(pixels)]
    return np.concatenate(found)


def _planes(pixels: Pixels) -> Iterator[Singles]:
    """Luminance, and of color images the differences of red and blue from it, (N, H, W) each, in levels of 255."""
    x = pixels.astype(np.float32)
    if x.shape[3] == 1:
        yield x[..., 0]
        return
    light: Singles = x @ np.array(REC601, np.float32)
    yield light
    yield x[..., 0] - light
    yield x[..., 2] - light


def _residuals(p: Singles) -> Iterator[tuple[Singles, float, float]]:
    """Residuals of a plane (N, H, W), each with a fine and a coarse step in levels."""
    yield p[:, :, 1:] - p[:, :, :-1], 3.0, 12.0
    yield p[:, 1:] - p[:, :-1], 3.0, 12.0
    center = p[:, 1:-1, 1:-1]
    beside = p[:, 1:-1, :-2] + p[:, 1:-1, 2:] + p[:, :-2, 1:-1] + p[:, 2:, 1:-1]
    corners = p[:, :-2, :-2] + p[:, :-2, 2:] + p[:, 2:, :-2] + p[:, 2:, 2:]
    yield beside - 4 * center, 6.0, 24.0
    yield 2 * beside - corners - 4 * center, 6.0, 24.0


def _shares(steps: NDArray[np.int16]) -> Singles:
    """The shares of what three neighbors in a row or column can be, those that differ by sign or direction being one, (N, d)."""
    base, (table, kinds) = 2 * LEVELS + 1, _alike()
    total = np.zeros((len(steps), kinds), np.float32)
    for axis in (1, 2):
        moved = np.moveaxis(steps, axis, 2)
        length = moved.shape[2] - ORDER + 1
        place = np.zeros(moved[:, :, :length].shape, np.int16)
        for offset in range(ORDER):
            place = place * base + moved[:, :, offset : offset + length]
        total += _counted(table[place].reshape(len(steps), -1), kinds) / place[0].size
    half: Singles = (total / 2).astype(np.float32)
    return half


def _counted(bins: NDArray[np.int64], kinds: int) -> Singles:
    """How often each of ``kinds`` occurs in each row of (N, L), (N, kinds)."""
    count = len(bins)
    whole = (bins + np.arange(count)[:, None] * kinds).ravel()
    return np.bincount(whole, minlength=count * kinds).reshape(count, kinds).astype(np.float32)


@cache
def _alike() -> tuple[NDArray[np.int64], int]:
    """Of each value of three neighbors the number of its kind, (125,), and how many kinds there are."""
    base = 2 * LEVELS + 1
    digits = np.stack(np.unravel_index(np.arange(base**ORDER), (base,) * ORDER))
    same = [digits, digits[::-1], base - 1 - digits, base - 1 - digits[::-1]]
    least = np.min([np.ravel_multi_index(tuple(one), (base,) * ORDER) for one in same], axis=0)
    kinds, table = np.unique(least, return_inverse=True)
    return table.astype(np.int64), len(kinds)
