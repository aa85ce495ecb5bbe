"""Taking noise out of images without learning anything: what learned denoisers are measured against."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_WORK = 6e8  # pixels times shifts that non-local means may look at: about ten seconds of one core for color
_STRIP = 1 << 20  # pixels worked on at a time


def noise_level(image: Tensor) -> Tensor:
    """The standard deviation of white noise in images (N, C, H, W), (N,): from the median of their finest diagonal details.

    The median of the size of orthonormal Haar coefficients is 0.6745 standard deviations of Gaussian noise (Donoho and Johnstone
    1994); edges are few and hardly move it.
    """
    height, width = (side // 2 * 2 for side in image.shape[2:])
    if not height or not width:
        return image.new_zeros(len(image))  # a line says nothing of it
    a, b = image[:, :, 0:height:2, 0:width:2], image[:, :, 0:height:2, 1:width:2]
    c, d = image[:, :, 1:height:2, 0:width:2], image[:, :, 1:height:2, 1:width:2]
    return ((a - b - c + d) / 2).abs().flatten(1).median(1).values / 0.6745


def local_wiener(image: Tensor, sigma: Tensor, window: int = 5) -> Tensor:
    """Each pixel drawn to the mean of its surroundings, the more the less these vary beyond the noise (Lee 1980).

    Args:
        image: (N, C, H, W).
        sigma: Standard deviation of the noise, (N,).
        window: Pixels a side of the surroundings.
    """
    power = sigma.view(-1, 1, 1, 1) ** 2
    mean = _box(image, window)
    variance = (_box(image.square(), window) - mean.square()).clamp(min=0)
    return mean + (variance - power).clamp(min=0) / torch.maximum(variance, power).clamp(min=1e-12) * (image - mean)


def nl_means(image: Tensor, sigma: Tensor, *, patch: int = 5, reach: int = 6, strength: float = 0.8) -> Tensor:
    """Non-local means (Buades, Coll and Morel 2005): each pixel is the mean of those whose surroundings look like its own.

    The weight of another pixel is exp(-max(d - 2 sigma^2, 0) / h^2), with d the mean squared difference of the two patches over all
    channels. Patch differences are box filters of the images' difference at each shift. The search shrinks for large images, so that
    the time is bounded; memory is, since images are worked on in strips.

    Args:
        image: (N, C, H, W).
        sigma: Standard deviation of the noise, (N,).
        patch: Pixels a side of the patches, odd.
        reach: Pixels on each side that are searched.
        strength: h over sigma.
    """
    while reach > 1 and image.shape[0] * image.shape[2] * image.shape[3] * (2 * reach + 1) ** 2 > _WORK:
        reach -= 1
    height, width = image.shape[2:]
    border = reach + patch // 2
    border = min(border, height - 1, width - 1)
    reach = min(reach, border - patch // 2)
    if reach < 1:
        return local_wiener(image, sigma)
    rows = max(1, _STRIP // width)
    padded = functional.pad(image, (border,) * 4, mode="reflect")
    strips = [
        _nl_strip(padded[:, :, top : min(top + rows, height) + 2 * border], sigma, patch, reach, strength, border)
        for top in range(0, height, rows)
    ]
    return torch.cat(strips, 2)


def _nl_strip(padded: Tensor, sigma: Tensor, patch: int, reach: int, strength: float, border: int) -> Tensor:
    """Non-local means of the inside of images that are ``border`` pixels larger on each side."""
    height, width = padded.shape[2] - 2 * border, padded.shape[3] - 2 * border
    power = sigma.clamp(min=1e-4).view(-1, 1, 1, 1) ** 2
    edge = border - patch // 2
    inside = padded[:, :, border : border + height, border : border + width]
    total, weights = inside.clone(), padded.new_ones(len(padded), 1, height, width)  # of the pixel itself
    for down in range(reach + 1):
        for across in range(-reach if down else 1, reach + 1):
            # two pixels are as alike as each other: one map of weights, as much larger as they lie apart, serves both directions
            top, left = edge - down, edge - max(across, 0)
            tall, wide = height + patch - 1 + down, width + patch - 1 + abs(across)
            near = padded[:, :, top : top + tall, left : left + wide]
            far = padded[:, :, top + down : top + down + tall, left + across : left + across + wide]
            apart = (near - far).square_()
            apart = _sums(apart if apart.shape[1] == 1 else apart.mean(1, keepdim=True), patch).mul_(1 / patch**2)
            weight = apart.sub_(2 * power).clamp_(min=0).div_(-(strength**2) * power).exp_()
            for back in (False, True):
                y, x = (0, max(-across, 0)) if back else (down, max(across, 0))
                one = weight[:, :, y : y + height, x : x + width]
                y, x = (border - down, border - across) if back else (border + down, border + across)
                total.addcmul_(one.expand_as(total), padded[:, :, y : y + height, x : x + width])
                weights += one
    return total / weights


def _sums(x: Tensor, window: int) -> Tensor:
    """Sums over square windows inside of images."""
    for dim in (2, 3):
        count = x.shape[dim] - window + 1
        whole = x.narrow(dim, 0, count).clone()
        for place in range(1, window):
            whole += x.narrow(dim, place, count)
        x = whole
    return x


def _box(image: Tensor, window: int) -> Tensor:
    """Means over square windows, images mirrored beyond their borders."""
    half = window // 2
    padded = functional.pad(image, (half,) * 4, mode="reflect" if min(image.shape[2:]) > half else "replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (window, 1), 1), (1, window), 1)
