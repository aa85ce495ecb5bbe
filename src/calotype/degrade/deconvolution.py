"""Undoing a known blur without learning anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from calotype.degrade.base import Operator

_QUANTUM = 2 / 255 / 12**0.5  # standard deviation of rounding to 8 bit: the least noise that is assumed
_FALL = 2.4  # how steeply the power of natural images falls with the frequency (Tolhurst, Tadmor and Chao 1992: amplitudes by 1.2)
_ROUNDS = 12  # of conjugate gradients at most
_CLOSE = 1e-3  # residual over the first one, where they end


def wiener(image: Tensor, blur: Operator, sigma: Tensor) -> Tensor:
    """The linear filter with the least expected error (Wiener 1949), for a blur A over mirrored borders: (A* A + R) x = A* y.

    The power of images is taken to fall with the frequency to the power 2.4, and scaled to the variance of each; R is the power of the
    noise over it. An image continued by its mirror images is periodic, and R and symmetric blurs are products of its spectrum: for
    these the spectra give the solution at once. For others, such as motion, they are the preconditioner of conjugate gradients.

    Args:
        image: (N, C, H, W), blurred and noisy.
        blur: Linear, keeps the size of images and does the same everywhere within them.
        sigma: Standard deviation of the noise, (N,).
    """
    gains = _gains(blur, image)
    falls = _natural(image)
    power = sigma.clamp(min=_QUANTUM).view(-1, 1, 1, 1) ** 2
    mean = image.mean((2, 3), keepdim=True)
    result = []
    for seen in (image - mean).split_with_sizes([1] * image.shape[1], 1):  # a channel at a time: the spectra are large
        variance = seen.square().mean((1, 2, 3), keepdim=True).sub(power).clamp(min=1e-4)
        result.append(_solve(seen, blur, gains, power / (variance * falls)))
    return torch.cat(result, 1) + mean


def _solve(seen: Tensor, blur: Operator, gains: Tensor, ratio: Tensor) -> Tensor:
    """Preconditioned conjugate gradients, each image (N, 1, H, W) with its own steps."""
    residual = blur.adjoint(seen)
    x, direction, before = torch.zeros_like(seen), torch.zeros_like(seen), torch.ones_like(seen[:, :, :1, :1])
    goal = _CLOSE**2 * residual.square().sum((1, 2, 3), keepdim=True)
    for _ in range(_ROUNDS):
        step = _filtered(residual, 1 / (gains + ratio))
        power = (residual * step).sum((1, 2, 3), keepdim=True)
        direction, before = step + power / before.clamp(min=1e-20) * direction, power
        ahead = blur.adjoint(blur.forward(direction)) + _filtered(direction, ratio)
        length = power / (direction * ahead).sum((1, 2, 3), keepdim=True).clamp(min=1e-20)
        x, residual = x + length * direction, residual - length * ahead
        if bool((residual.square().sum((1, 2, 3), keepdim=True) <= goal).all()):
            break
    return x


def _filtered(image: Tensor, gain: Tensor) -> Tensor:
    """Each frequency of the mirrored image times a gain, (N or 1, 1, 2 H, W + 1)."""
    height, width = image.shape[2:]
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(_mirrored(image)) * gain, s=(2 * height, 2 * width))
    return filtered[:, :, :height, :width]


def _mirrored(image: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 1, 2 H, 2 W), which continues itself smoothly."""
    wide = torch.cat([image, image.flip(3)], 3)
    return torch.cat([wide, wide.flip(2)], 2)


def _gains(blur: Operator, image: Tensor) -> Tensor:
    """What A* A multiplies each frequency by, (N, 1, 2 H, W + 1), the mean of the blur and its mirror image.

    From what the blur makes of one point amid the image.
    """
    n, _, height, width = image.shape
    point = image.new_zeros(n, 1, height, width)
    point[:, :, height // 2, width // 2] = 1
    spread = functional.pad(blur.forward(point), (0, width, 0, height))
    gains: Tensor = torch.fft.rfft2(spread).abs().square()
    opposite: Tensor = torch.fft.rfft2(spread.flip(2)).abs().square()
    return gains.add_(opposite).div_(2)


def _natural(like: Tensor) -> Tensor:
    """How the power of natural images is spread over the frequencies, (2 H, W + 1) with mean one."""
    height, width = like.shape[2:]
    down = torch.fft.fftfreq(2 * height, device=like.device).square()[:, None]
    across = torch.fft.rfftfreq(2 * width, device=like.device).square()[None]
    fall: Tensor = (down + across).clamp(min=1 / (4 * height * width)) ** (-_FALL / 2)
    return fall / fall.mean()
