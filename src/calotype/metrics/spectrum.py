"""Power spectra of images: what blur takes away, what noise adds, and the peaks of checkerboard patterns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.manifold import Z95
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
ROUNDING = 1 / (12 * 255**2)  # power of rounding to 8 bits, at every frequency: keeps the logarithm of nothing finite
SMALLEST = 8  # pixels of a side
HALF_NORMAL = 0.324663  # mean of the smaller half of |z|, z standard normal: 4 (phi(0) - phi(.67449))
BATCH = 1024  # images transformed at a time


def radial_power(pixels: Pixels) -> tuple[Doubles, Doubles]:
    """The power spectrum of each image, averaged over rings of equal frequency.

    The luminance in [0, 1] loses its mean, is weighted by a Hann window (else the jump between opposite borders leaks into all
    frequencies) and Fourier transformed; power is scaled such that white noise of variance v has power v everywhere.

    Args:
        pixels: (N, H, W, C) uint8 with one or three channels.

    Returns:
        Frequencies (F,) in cycles per pixel, in steps of 1 / min(H, W) up to .5, and power (N, F) in units of squared luminance.

    Raises:
        UserError: for images smaller than 8x8 or of another layout.
    """
    _check(pixels)
    height, width = pixels.shape[1:3]
    side = min(height, width)
    ring = np.rint(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) * side).astype(int).ravel()
    rings = np.arange(1, side // 2 + 1)
    weight = (ring[:, None] == rings) * _twice(width, height)[:, None]
    weight /= weight.sum(0)
    power = [_power(pixels[i : i + BATCH]).reshape(-1, len(ring)) @ weight for i in range(0, len(pixels), BATCH)]
    return rings / side, np.concatenate(power)


def top_octave(pixels: Pixels) -> Doubles:
    """Power of each image in the highest octave, .25 to .5 cycles per pixel, (N,)."""
    frequencies, power = radial_power(pixels)
    top: Doubles = power[:, frequencies > 0.25].mean(1)
    return top


def band_effect(generated: Pixels, real: Pixels) -> Estimate:
    """The natural logarithm of the power in the top octave of generated images relative to that of real ones, with a 95% interval.

    Below 0 is blur, above 0 noise or edges that are too hard. Mean powers are compared; their errors are those of independent images
    (delta method).

    Raises:
        UserError: for fewer than two images of a kind, or images smaller than 8x8.
    """
    log, variance = 0.0, 0.0
    for sign, pixels in ((1, generated), (-1, real)):
        power = _several(top_octave(pixels)) + ROUNDING
        log += sign * math.log(power.mean())
        variance += float(power.var(ddof=1)) / len(power) / float(power.mean()) ** 2
    margin = Z95 * math.sqrt(variance)
    return Estimate(log, (log - margin, log + margin))


def grain(pixels: Pixels) -> Doubles:
    """Standard deviation of the noise in each image, (N,), in gray levels of 255 (Donoho & Johnstone 1994).

    The mean magnitude of the smaller half of the finest diagonal Haar coefficients of the luminance, scaled to be the standard deviation
    for Gaussian noise. Edges are in the larger half: this sees noise in images whose own edges drown it in the spectrum, as in line art
    and digits. Where the noise is clipped at black or white it is seen less.
    """
    _check(pixels)
    height, width = (side // 2 * 2 for side in pixels.shape[1:3])
    light = _luminance(pixels[:, :height, :width]) * 255
    detail = np.abs(light[:, ::2, ::2] - light[:, ::2, 1::2] - light[:, 1::2, ::2] + light[:, 1::2, 1::2]).reshape(len(light), -1) / 2
    half = detail.shape[1] // 2
    lower: Doubles = np.partition(detail, half, axis=1)[:, :half].mean(1) / HALF_NORMAL
    return lower


def grain_effect(generated: Pixels, real: Pixels) -> Estimate:
    """Mean `grain` of generated images minus that of real ones, in gray levels of 255, with a 95% interval for independent images."""
    some, others = _several(grain(generated)), _several(grain(real))
    value = float(some.mean() - others.mean())
    margin = Z95 * math.sqrt(float(some.var(ddof=1)) / len(some) + float(others.var(ddof=1)) / len(others))
    return Estimate(value, (value - margin, value + margin))


def checkerboard(pixels: Pixels) -> Doubles:
    """Heights of the spectral peaks that strided upsampling leaves (Odena et al. 2016), per image, (N, 2).

    The first column looks at a period of two pixels (frequency 1/2 along either axis or both), the second at four (1/4). A height is
    the natural logarithm of the power there minus its mean around, averaged over the places. Without a pattern it varies about a
    constant that depends on the slope of the spectrum: a t-test against real images shows one. Images are cut to a multiple of four.
    """
    _check(pixels)
    height, width = (side // 4 * 4 for side in pixels.shape[1:3])
    heights = []
    for i in range(0, len(pixels), BATCH):
        power = _power(pixels[i : i + BATCH, :height, :width], whole=True) + ROUNDING
        heights.append(np.stack([_peaks(power, height // p, width // p) for p in (2, 4)], 1))
    return np.concatenate(heights)


def _peaks(power: Doubles, row: int, column: int) -> Doubles:
    """Mean log height at (row, 0), (0, column) and (row, column) over the ring of bins two away: the window smears a peak over one."""
    around = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if max(abs(i), abs(j)) == 2]
    total = np.zeros(len(power))
    for r, c in ((row, 0), (0, column), (row, column)):
        near = np.stack([power[:, (r + i) % power.shape[1], (c + j) % power.shape[2]] for i, j in around])
        total += np.log(power[:, r, c]) - np.log(near).mean(0)
    return total / 3


def _power(pixels: Pixels, whole: bool = False) -> Doubles:
    """Squared Fourier coefficients of mean-free, windowed luminance: (N, H, W // 2 + 1), or (N, H, W) where ``whole``."""
    light = _luminance(pixels)
    height, width = light.shape[1:]
    window = np.outer(_hann(height), _hann(width))
    light = (light - light.mean((1, 2), keepdims=True)) * (window / np.sqrt((window**2).sum()))
    spectrum = np.fft.fft2(light) if whole else np.fft.rfft2(light)
    power: Doubles = spectrum.real**2 + spectrum.imag**2
    return power


def _luminance(pixels: Pixels) -> Doubles:
    """(N, H, W) in [0, 1]."""
    light: Doubles = pixels[..., 0] / 255.0 if pixels.shape[3] == 1 else pixels @ np.array(LUMA) / 255.0
    return light


def _several(values: Doubles) -> Doubles:
    if len(values) < 2:
        raise UserError("a comparison of spectra needs at least two images of each kind")
    return values


def _hann(n: int) -> Doubles:
    return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)


def _twice(width: int, height: int) -> Doubles:
    """How often each coefficient of a real transform occurs in the whole one, flattened."""
    columns = np.arange(width // 2 + 1)
    return np.tile(np.where((columns == 0) | (2 * columns == width), 1.0, 2.0), height)


def _check(pixels: Pixels) -> None:
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or not len(pixels):
        raise UserError(f"a spectrum needs images (N, H, W, 1 or 3), not {pixels.shape}")
    if min(pixels.shape[1:3]) < SMALLEST:
        raise UserError(f"a spectrum needs images of at least {SMALLEST}x{SMALLEST} pixels, not {pixels.shape[1]}x{pixels.shape[2]}")
