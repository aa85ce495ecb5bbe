"""Missing pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.draw import written
from calotype.degrade.svd import SVD, Diagonal
from calotype.types import Noise

SHAPES = ("half", "box", "strokes")
_DENSITY = 2 / 1024  # strokes for each pixel: they cover about a fifth of an image of any size
_JOINTS = 4  # straight pieces of a stroke
_PIECE = (4.0, 12.0)  # pixels that each is long
_THICK = (2.0, 6.0)  # and wide


class Masked(Operator):
    """A(x) = m x, with m one where pixels are known and zero elsewhere, (N, 1, H, W)."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """The known pixels; the others are zero, which is mid-gray."""
        return x * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return y * self.mask

    def svd(self) -> SVD:
        """Singular values one and zero, with the images as coordinates."""
        return Diagonal(self.mask)


class Mask(Degradation):
    """Pixels that are missing, and the map of those that are known.

    Args:
        holes: What is missing, one of these for each image at random: "half" (the right one), "box" (a rectangle with sides of a
            quarter to a half of the image's), "strokes" (free-form lines 2 to 6 pixels wide, over about a fifth of the image), or
            the share of pixels that is missing, each by itself.
    """

    conditioning = ("mask",)

    def __init__(self, holes: Sequence[str | float]) -> None:
        self.holes = tuple(holes)
        self.spec = "mask:" + ",".join(hole if isinstance(hole, str) else written(hole) for hole in holes)

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Take the pixels away."""
        height, width = image.shape[2:]
        which = (noise.uniform() * len(self.holes)).long().cpu()
        missing = torch.zeros(len(image), 1, height, width, dtype=torch.bool)
        for index, hole in enumerate(self.holes):
            made = _made(hole, noise, height, width)
            missing = torch.where((which == index).view(-1, 1, 1, 1), made, missing)
        mask = (~missing).to(image)
        return Degraded(image * mask, Masked(mask), mask)


def _made(hole: str | float, noise: Noise, height: int, width: int) -> Tensor:
    """What is missing of each image, (N, 1, height, width) or (1, 1, 1, width), bool."""
    if not isinstance(hole, str):
        return noise.uniform(1, height, width).cpu() < hole
    if hole == "half":
        return (torch.arange(width) >= width // 2).view(1, 1, 1, -1)
    if hole == "box":
        u = noise.uniform(4).cpu()
        rows, columns = (_within(u[:, i], u[:, i + 1], size) for i, size in ((0, height), (2, width)))
        return (rows[:, :, None] & columns[:, None, :])[:, None]
    count = max(1, round(height * width * _DENSITY))
    numbers = noise.uniform(count, 4 + 2 * _JOINTS).cpu().double().numpy()
    return torch.from_numpy(np.stack([_strokes(u, height, width) for u in numbers]))[:, None]


def _within(size: Tensor, place: Tensor, side: int) -> Tensor:
    """Where an interval lies on a side of so many places, (N, side) bool."""
    long = ((0.25 + 0.25 * size) * side).round().clamp(min=1)
    first = (place * (side - long + 1)).floor()
    at = torch.arange(side)
    return (at >= first[:, None]) & (at < (first + long)[:, None])


def _strokes(numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lines that start anywhere and bend a little at each joint, as (height, width) bool."""
    picture = Image.new("1", (width, height))
    pen = ImageDraw.Draw(picture)
    for u in numbers:
        x, y, angle = u[0] * width, u[1] * height, u[2] * 2 * math.pi
        thick = round(_THICK[0] + u[3] * (_THICK[1] - _THICK[0]))
        points = [(x, y)]
        for bend, piece in u[4:].reshape(_JOINTS, 2):
            angle += (bend - 0.5) * math.pi / 2
            step = _PIECE[0] + piece * (_PIECE[1] - _PIECE[0])
            x, y = x + step * math.cos(angle), y + step * math.sin(angle)
            points.append((x, y))
        pen.line(points, fill=1, width=thick, joint="curve")
    return np.array(picture)
