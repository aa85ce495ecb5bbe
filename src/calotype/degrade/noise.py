"""Noise. The results are neither clipped nor rounded."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, Identity
from calotype.degrade.draw import Range, generators
from calotype.types import Noise

LEVEL = 50.0  # the noise level, on the scale of 0 to 255, that is 1 in the map that a restorer is given
BLIND = -1.0  # what that map holds where the level is not told
TOLD = 0.5  # share of the images of which it is told
SHARED = 1 / 3  # share of the images whose channels have their noise in common, where some have


class GaussianNoise(Degradation):
    """White Gaussian noise, its standard deviation drawn from a range on the scale of 0 to 255.

    Where the level varies a restorer is given a map of it for half of the images (Zhang et al. 2018, FFDNet), so that one model
    works with a level that is told and without one.

    Args:
        level: The range.
        shared: A third of the images get the same noise in all channels, as gray pictures have it that a model of color is given.
    """

    def __init__(self, level: Range, shared: bool = False) -> None:
        self.level, self.shared = level, shared
        self.spec = f"noise:{level}" + (",shared" if shared else "")
        if not level.fixed:
            self.conditioning, self.noise_levels = ("sigma",), level

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Add the noise."""
        level = self.level.draw(noise).to(image.device)
        sigma = level / 127.5
        white = noise.normal(*image.shape[1:])
        if self.shared:
            white = torch.where((noise.uniform() < SHARED).view(-1, 1, 1, 1), white[:, :1], white)
        degraded = image + sigma.view(-1, 1, 1, 1) * white
        if not self.conditioning:
            return Degraded(degraded, Identity(sigma))
        told = torch.where(noise.uniform() < TOLD, level / LEVEL, torch.full_like(level, BLIND))
        return Degraded(degraded, Identity(sigma), told.view(-1, 1, 1, 1).expand(-1, 1, *image.shape[2:]))


class PoissonNoise(Degradation):
    """Photon noise: a white pixel counts ``photons`` on average, drawn from a range, and darker ones in proportion fewer.

    Its operator quotes the root mean square of the noise of each image as if it were Gaussian.
    """

    def __init__(self, photons: Range) -> None:
        self.photons = photons
        self.spec = f"poisson:{photons}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Count photons."""
        photons = self.photons.draw(noise).to(image.device).view(-1, 1, 1, 1)
        light = (image * 0.5 + 0.5).clamp(min=0)
        expected = (light * photons).cpu()
        counts = torch.stack([torch.poisson(e, g) for e, g in zip(expected, generators(noise), strict=True)])
        sigma = 2 * (light.mean((1, 2, 3)) / photons.flatten()).sqrt()
        return Degraded(counts.to(image.device) / photons * 2 - 1, Identity(sigma))
