"""Whether noise that was found in an image has the signs of a key, with a p-value that is exact whatever was found.

The null hypothesis is that the image has nothing to do with the key. The signs of its patterns are independent fair coins then, given all
that was found: the distribution of the statistic follows from the sizes of the noise alone, and rests on no model of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from calotype.provenance.watermark import NONCES, WatermarkKey

ALPHA = 1e-3
"""The false positive rate at which a watermark counts as found."""

STEP, MOST = 0.25, 12  # of the weights: the fineness, relative to the root mean square of the noise found, and the largest
_AT_ONCE = 1 << 23  # signs in memory
_ROWS = 256  # images whose sums with all of these are in memory


@dataclass(frozen=True)
class WatermarkMatch:
    """How well the pattern that fits an image best fits it."""

    p: float  # probability that the best of all patterns fits so well in an image that has nothing to do with the key
    nonce: int  # of that pattern
    agreeing: float  # share of the signs that agree with it

    @property
    def found(self) -> bool:
        """Whether the watermark counts as found, at a false positive rate of `ALPHA`."""
        return self.p <= ALPHA


def best_matches(noise: NDArray[np.float32], key: WatermarkKey, nonces: int = NONCES) -> list[WatermarkMatch]:
    """The pattern of ``key`` that fits the noise of each image best.

    The statistic is the sum of whole weights of the signs that agree: weights rise with the size of the noise, for where it is small its
    sign is hardly known. Of the largest of ``nonces`` independent sums of one distribution the p-value is exact.

    Args:
        noise: (N, D) found in images, as `calotype.capabilities.Inverts` gives it.
        key: whose watermark is looked for.
        nonces: patterns that are tried, from 0 on.
    """
    signed = np.empty(noise.shape, np.float32)
    parts = [slice(start, start + _ROWS) for start in range(0, len(noise), _ROWS)]
    for rows in parts:
        signed[rows] = whole_weights(noise[rows]) * np.where(noise[rows] < 0, -1, 1)
    best, place = np.full(len(noise), -np.inf), np.zeros(len(noise), int)
    for first, patterns in _patterns(key, noise.shape[1], nonces):
        columns = patterns.T.astype(np.float32)
        for rows in parts:
            sums = signed[rows] @ columns  # of whole numbers below 2 ** 24: exact
            highest = sums.max(1)
            higher = highest > best[rows]
            place[rows] = np.where(higher, first + sums.argmax(1), place[rows])
            best[rows] = np.where(higher, highest, best[rows])
    return [match_of(row, key, nonce, nonces) for row, nonce in zip(noise, place.tolist(), strict=True)]


def match_of(noise: NDArray[np.float32], key: WatermarkKey, nonce: int, nonces: int = NONCES) -> WatermarkMatch:
    """How well one pattern of ``key`` fits the noise (D,) of an image, with the p-value that it has as the best of ``nonces``."""
    (weights,) = whole_weights(noise[None])
    agrees = np.where(noise < 0, -1, 1) == key.signs(nonce, len(noise))
    p = tail(np.bincount(weights, minlength=MOST + 1), int(weights[agrees].sum()))
    return WatermarkMatch(-math.expm1(nonces * math.log1p(-p)) if p < 1 else 1.0, nonce, float(agrees.mean()))


def whole_weights(noise: NDArray[np.float32]) -> NDArray[np.int64]:
    """Weights (N, D) from 0 to `MOST` of noise: its size in steps of `STEP` times its root mean square. Without noise all are 0."""
    scale = np.sqrt(np.square(noise, dtype=np.float64).mean(1, keepdims=True))
    return np.minimum(np.rint(np.abs(noise) / np.where(scale > 0, STEP * scale, 1.0)), MOST).astype(np.int64)


def tail(counts: NDArray[np.int64], least: int) -> float:
    """P(T >= ``least``) of the sum T of independent fair choices between 0 and w, of which there are ``counts[w]`` for each weight w.

    The distribution is that of an exponential family tilted until its mean is ``least`` (Esscher 1932), found by one Fourier transform, and
    tilted back: the far tail keeps its relative precision.
    """
    weights = np.arange(len(counts))
    whole = int((weights * counts).sum())
    if least <= 0:
        return 1.0
    if least > whole:
        return 0.0
    if least == whole:
        return 0.5 ** int(counts[1:].sum())

    def excess(tilt: float) -> float:
        return float((weights * counts * expit(tilt * weights)).sum()) - least

    tilt = brentq(excess, 0.0, 64.0) if excess(0.0) < 0 else 0.0
    chance = expit(tilt * weights)
    waves = np.exp(2j * np.pi * np.arange((whole + 1) // 2 + 1) / (whole + 1))
    spectrum = np.ones(len(waves), complex)
    for weight, count in enumerate(counts.tolist()):
        if weight and count:
            spectrum *= (1 - chance[weight] + chance[weight] * waves**weight) ** count
    # numpy's convention has the other sign: a real distribution is that of the conjugate
    tilted = np.fft.irfft(spectrum.conj(), whole + 1)[least:].clip(min=0)
    log_mean = float((counts * (np.logaddexp(0, tilt * weights) - math.log(2))).sum())
    return float(min(1.0, (tilted * np.exp(log_mean - tilt * np.arange(least, whole + 1))).sum()))


def _patterns(key: WatermarkKey, length: int, nonces: int) -> Iterator[tuple[int, NDArray[np.int8]]]:
    """Patterns (K, length) with the number of the first, as many at once as memory likes."""
    at_once = max(1, _AT_ONCE // length)
    for first in range(0, nonces, at_once):
        yield first, np.stack([key.signs(nonce, length) for nonce in range(first, min(first + at_once, nonces))])
