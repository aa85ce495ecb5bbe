"""Random changes of place and color that an image model can be trained through without drawing them.

Two models use them. A GAN shows its discriminator all images through them, with as much probability as it takes (Karras et al. 2020,
Training generative adversarial networks with limited data, appendix B): a generator can tell which images are usual as long as most
are left alone. A diffusion model is told what was done to each training image, and asked for images to which nothing was done (Karras
et al. 2022, appendix F.2). Both are non-leaking by that. All of it is differentiable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SCALE, STRETCH, SHIFT = 0.2, 0.2, 0.125  # standard deviations: two of log2 of a size, one as a share of the side
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # standard deviations: of values in [-1, 1], and two of log2 of a factor
TOLD = 8  # numbers that say what was done to the places of an image


def adaptive(images: Tensor, share: float | Tensor, rng: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] through every change of place and color, each with probability ``share`` for each image.

    The result may leave [-1, 1]. ``share`` 0 gives the images as they are.
    """
    dice = _Dice(len(images), share, rng)
    with torch.autocast(images.device.type, enabled=False):  # places in bfloat16 would be a quarter of a pixel off
        return _recolored(_moved(images, _quarters(dice) @ _places(dice)[0]), _colors(dice))


def augmented_and_told(images: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) whose places were changed, each way with probability ``share``, and what was done (N, ``TOLD``).

    Upside down, scaled, turned, stretched and shifted; zeros say that nothing was done. Mirror images are no part of it: whether they
    are as good as the images is a matter of the data.
    """
    with torch.autocast(images.device.type, enabled=False):
        matrix, told = _places(_Dice(len(images), share, rng), flips=True)
        changed = told.ne(0).any(1)
        return torch.where(changed[:, None, None, None], _moved(images, matrix), images), told


@dataclass(frozen=True)
class _Dice:
    """Random numbers (n,)."""

    n: int
    share: float | Tensor  # probability that something is done at all
    rng: torch.Generator

    def on(self) -> Tensor:
        """1 where it is done, else 0."""
        return (self._uniform() < self.share).float()

    def normal(self) -> Tensor:
        return torch.randn(self.n, generator=self.rng, device=self.rng.device)

    def angle(self) -> Tensor:
        return (self._uniform() * 2 - 1) * math.pi

    def below(self, count: int) -> Tensor:
        """Whole numbers from 0, where it is done, each as likely as the others."""
        return self.on() * (self._uniform() * count).floor()

    def _uniform(self) -> Tensor:
        return torch.rand(self.n, generator=self.rng, device=self.rng.device)


def _places(dice: _Dice, *, flips: bool = False) -> tuple[Tensor, Tensor]:
    """Matrices (N, 3, 3) from places of the result to places of the image, both in [-1, 1], and what they do (N, ``TOLD``)."""
    scale, stretch, turn = dice.on() * dice.normal(), dice.on() * dice.normal(), dice.on() * dice.angle()
    along, moved = dice.angle(), dice.on()
    right, down = moved * dice.normal(), moved * dice.normal()
    upside = dice.below(2) if flips else torch.zeros_like(scale)
    size = torch.exp2(-SCALE * scale)
    matrix = _diagonal(torch.ones_like(scale), 1 - 2 * upside) @ _diagonal(size, size) @ _turn(turn)
    factor = torch.exp2(-STRETCH * stretch)
    matrix = _turn(along) @ _diagonal(factor, 1 / factor) @ _turn(-along) @ matrix
    matrix = _shift(-2 * SHIFT * right, -2 * SHIFT * down) @ matrix
    told = [upside, scale, turn.cos() - 1, turn.sin(), stretch * (2 * along).cos(), stretch * (2 * along).sin(), right, down]
    return matrix, torch.stack(told, dim=1)


def _quarters(dice: _Dice) -> Tensor:
    """Matrices (N, 3, 3) of mirror images and quarter turns."""
    mirrored, quarters = dice.below(2), dice.below(4)
    return _diagonal(1 - 2 * mirrored, torch.ones_like(mirrored)) @ _turn(quarters * (math.pi / 2))


def _colors(dice: _Dice) -> Tensor:
    """Matrices (N, 3, 4) from colors with a one behind them to colors."""
    brightness, contrast = dice.on() * BRIGHTNESS * dice.normal(), torch.exp2(dice.on() * CONTRAST * dice.normal())
    inverted, hue, saturation = dice.below(2), dice.on() * dice.angle(), torch.exp2(dice.on() * SATURATION * dice.normal())
    device = hue.device
    gray = torch.full((3, 3), 1 / 3, device=device)  # onto the axis of grays
    color = torch.eye(3, device=device) - gray
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=device) / math.sqrt(3)
    around = color * hue.cos()[:, None, None] + cross * hue.sin()[:, None, None]  # Rodrigues, of what is not gray
    matrix = gray * (1 - 2 * inverted)[:, None, None] + around * saturation[:, None, None]
    matrix = matrix * contrast[:, None, None]
    offset = matrix.sum(2, keepdim=True) * brightness[:, None, None]  # brightness comes first
    return torch.cat([matrix, offset], dim=2)


def _moved(images: Tensor, matrix: Tensor) -> Tensor:
    """The images sampled bilinearly at the places that the matrices (N, 3, 3) lead to; beyond the border lies the mirror image."""
    grid = functional.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolored(images: Tensor, matrix: Tensor) -> Tensor:
    """Images of three channels, or gray ones, through color matrices (N, 3, 4); what is gray stays so."""
    matrix = matrix.to(images.dtype)
    if images.shape[1] == 1:
        return images * matrix[:, :, :3].sum(2).mean(1)[:, None, None, None] + matrix[:, :, 3].mean(1)[:, None, None, None]
    return torch.einsum("nij,njhw->nihw", matrix[:, :, :3], images) + matrix[:, :, 3, None, None]


def _diagonal(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _turn(angle: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [torch.stack(row, dim=1) for row in ((cos, -sin, zero), (sin, cos, zero), (zero, zero, torch.ones_like(angle)))]
    return torch.stack(rows, dim=1)


def _shift(x: Tensor, y: Tensor) -> Tensor:
    matrix = torch.eye(3, device=x.device).repeat(len(x), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix
