"""Undoing a known blur without learning anything."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.degrade.base import Operator

_QUANTUM = 2 / 255 / 12**0.5  # standard deviation of rounding to 8 bit: the least noise that is assumed


def wiener(image: Tensor, blur: Operator, sigma: Tensor) -> Tensor:
    """The linear filter with the least expected error (Wiener 1949), for a blur over mirrored borders.

    An image continued by its mirror images is periodic, and a symmetric blur of it a product of spectra, without any error at the
    borders. The power of images is taken to fall with the square of the frequency, and scaled to the variance of each.

    Args:
        image: (N, C, H, W), blurred and noisy.
        blur: Keeps the size of images and does the same everywhere within them.
        sigma: Standard deviation of the noise, (N,).
    """
    n, channels, height, width = image.shape
    falls = _natural(height, width, image)
    transfer = _transfer(blur, n, height, width, image)
    power = sigma.clamp(min=_QUANTUM).view(-1, 1, 1) ** 2
    result = []
    for channel in range(channels):  # one at a time: the spectra are large
        seen = image[:, channel]
        mean = seen.mean((1, 2), keepdim=True)
        variance = (seen - mean).square().mean((1, 2), keepdim=True).sub(power).clamp(min=1e-4)
        ratio = power / (variance * falls)
        spectrum = torch.fft.rfft2(_mirrored(seen - mean)) * transfer.conj() / (transfer.abs().square() + ratio)
        result.append(torch.fft.irfft2(spectrum, s=(2 * height, 2 * width))[:, :height, :width] + mean)
    return torch.stack(result, 1)


def _mirrored(image: Tensor) -> Tensor:
    """(N, H, W) to (N, 2 H, 2 W), which continues itself smoothly."""
    wide = torch.cat([image, image.flip(2)], 2)
    return torch.cat([wide, wide.flip(1)], 1)


def _transfer(blur: Operator, n: int, height: int, width: int, like: Tensor) -> Tensor:
    """What the blur multiplies each frequency by, (N, 2 H, W + 1): the spectrum of what it makes of one point amid the image."""
    point = like.new_zeros(n, 1, height, width)
    point[:, :, height // 2, width // 2] = 1
    spread = like.new_zeros(n, 2 * height, 2 * width)
    spread[:, :height, :width] = blur.forward(point)[:, 0]
    spectrum: Tensor = torch.fft.rfft2(spread.roll((-(height // 2), -(width // 2)), (1, 2)))
    return spectrum


def _natural(height: int, width: int, like: Tensor) -> Tensor:
    """How the power of natural images is spread over the frequencies, (2 H, W + 1) with mean one."""
    down = torch.fft.fftfreq(2 * height, device=like.device).square()[:, None]
    across = torch.fft.rfftfreq(2 * width, device=like.device).square()[None]
    fall: Tensor = 1 / (down + across).clamp(min=1 / (4 * height * width))
    return fall / fall.mean()
