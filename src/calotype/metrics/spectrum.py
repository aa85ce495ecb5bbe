"""Power spectra of images: what blur takes away, what noise adds, and the peaks of checkerboard patterns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calotype.degrade.color import REC601
from calotype.errors import UserError

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]
ROUNDING = 1 / (12 * 255**2)  # power of rounding to 8 bits, at every frequency: keeps the logarithm of nothing finite
SMALLEST = 8  # pixels of a side
HALF_NORMAL = 0.324663  # mean of the smaller half of |z|, z standard normal: 4 (phi(0) - phi(.67449))
BATCH = 2**25  # bytes of the float32 images that are worked on at a time


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
    power = [_power(part).reshape(-1, len(ring)) @ weight for part in batches(pixels)]
    return rings / side, np.concatenate(power)


def top_octave(pixels: Pixels) -> Doubles:
    """Power of each image in the highest octave, .25 to .5 cycles per pixel, (N,)."""
    frequencies, power = radial_power(pixels)
    top: Doubles = power[:, frequencies > 0.25].mean(1)
    return top


def kept_detail(pixels: Pixels, truth: Pixels, low: float = 0.25) -> tuple[Doubles, Doubles]:
    """How much of the fine detail of true images is in images made to be like them, (N,), and how much there is, (N,).

    The first is the sum over all frequencies above ``low`` (cycles per pixel) of Re(X T*), X and T being the windowed Fourier
    coefficients of image and truth, the second that of |T|^2. Their ratio is 1 for the truth and the transfer factor for a blurred
    image; noise, and detail that was made up, add nothing on average.
    """
    _check(pixels)
    height, width = pixels.shape[1:3]
    fine = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) > low
    weight = fine * _twice(width, height).reshape(fine.shape)
    parts = [(_coefficients(x), _coefficients(t)) for x, t in zip(batches(pixels), batches(truth), strict=True)]
    kept = np.concatenate([((x * t.conj()).real * weight).sum((1, 2)) for x, t in parts])
    return kept, np.concatenate([((t * t.conj()).real * weight).sum((1, 2)) for _, t in parts])


def grain(pixels: Pixels) -> Doubles:
    """Standard deviation of the noise in each image, (N,), in gray levels of 255 (Donoho & Johnstone 1994).

    The mean magnitude of the smaller half of the finest diagonal Haar coefficients of the luminance, scaled to be the standard deviation
    for Gaussian noise. Edges are in the larger half: this sees noise in images whose own edges drown it in the spectrum, as in line art
    and digits. Where the noise is clipped at black or white it is seen less.
    """
    _check(pixels)
    height, width = (side // 2 * 2 for side in pixels.shape[1:3])
    found = []
    for part in batches(pixels):
        light = _luminance(part[:, :height, :width]) * 255
        detail = np.abs(light[:, ::2, ::2] - light[:, ::2, 1::2] - light[:, 1::2, ::2] + light[:, 1::2, 1::2]).reshape(len(light), -1) / 2
        half = detail.shape[1] // 2
        found.append(np.partition(detail, half, axis=1)[:, :half].mean(1) / HALF_NORMAL)
    return np.concatenate(found)


def checkerboard(pixels: Pixels) -> Doubles:
    """Heights of the spectral peaks that strided upsampling leaves (Odena et al. 2016), per image, (N, 2).

    The first column looks at a period of two pixels (frequency 1/2 along either axis or both), the second at four (1/4). A height is
    the natural logarithm of the power there minus its mean around, averaged over the places. Without a pattern it varies about a
    constant that depends on the slope of the spectrum: a t-test against real images shows one. Images are cut to a multiple of four.
    """
    _check(pixels)
    height, width = (side // 4 * 4 for side in pixels.shape[1:3])
    heights = []
    for part in batches(pixels):
        power = _power(part[:, :height, :width], whole=True) + ROUNDING
        heights.append(np.stack([_peaks(power, height // p, width // p) for p in (2, 4)], 1))
    return np.concatenate(heights)


def batches(pixels: Pixels) -> Iterator[Pixels]:
    """The images in parts whose float32 copies take at most ``BATCH`` bytes, or one by one."""
    step = max(1, BATCH // max(1, 4 * math.prod(pixels.shape[1:])))
    return (pixels[i : i + step] for i in range(0, len(pixels), step))


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
    spectrum = _coefficients(pixels, whole)
    power: Doubles = spectrum.real**2 + spectrum.imag**2
    return power


def _coefficients(pixels: Pixels, whole: bool = False) -> NDArray[np.complex128]:
    light = _luminance(pixels)
    height, width = light.shape[1:]
    window = np.outer(_hann(height), _hann(width))
    light = (light - light.mean((1, 2), keepdims=True)) * (window / np.sqrt((window**2).sum()))
    return np.fft.fft2(light) if whole else np.fft.rfft2(light)


def _luminance(pixels: Pixels) -> Doubles:
    """(N, H, W) in [0, 1]."""
    light: Doubles = pixels[..., 0] / 255.0 if pixels.shape[3] == 1 else pixels @ np.array(REC601) / 255.0
    return light


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
