"""Named transforms: pairs of images to learn translation from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from calotype.degrade.base import Degradation, Degraded, Identity, NonlinearOperator, Operator, round8
from calotype.degrade.color import Luma
from calotype.errors import UserError
from calotype.types import Noise

_STEEP = 2.5  # how fast lines of an edge map become black


class Same(Degradation):
    """The image itself."""

    spec = "identity"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Nothing happens."""
        return Degraded(image, Identity())


class Negative(Operator):
    """A(x) = -x."""

    def forward(self, x: Tensor) -> Tensor:
        """The negative."""
        return -x

    def adjoint(self, y: Tensor) -> Tensor:
        """The negative."""
        return -y


class Invert(Degradation):
    """The negative: black becomes white."""

    spec = "invert"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Invert the images."""
        return Degraded(-image, Negative())


class Edges(Degradation):
    """A drawing of the outlines, dark on white: the gradient of the slightly blurred luma (Sobel's), 8-bit, one channel."""

    spec = "edges"

    def channels(self, channels: int) -> int:
        """One."""
        return 1

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Draw the images."""
        return Degraded(round8(_drawn(image)), NonlinearOperator(_drawn))


class Season(Degradation):
    """From summer to winter: green turns to snow, the rest loses color, turns bluish and lighter; 8-bit, always the same."""

    spec = "season"

    def channels(self, channels: int) -> int:
        """Three. Raises `UserError` for images without color."""
        if channels != 3:
            raise UserError("season shifts colors, and these images have none: give color images, or another transform such as invert")
        return 3

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Let it snow."""
        return Degraded(round8(_winter(image)), NonlinearOperator(_winter))


def _drawn(x: Tensor) -> Tensor:
    luma = Luma().forward(x) if x.shape[1] == 3 else x
    smooth = luma.new_tensor([1.0, 2.0, 1.0]) / 4
    slope = luma.new_tensor([-1.0, 0.0, 1.0]) / 2
    padded = functional.pad(luma, (2, 2, 2, 2), mode="replicate")
    blurred = functional.conv2d(padded, torch.outer(smooth, smooth)[None, None])
    across = functional.conv2d(blurred, torch.outer(smooth, slope)[None, None])
    down = functional.conv2d(blurred, torch.outer(slope, smooth)[None, None])
    return 1 - 2 * torch.tanh(_STEEP * (across.square() + down.square() + 1e-12).sqrt())


def _winter(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        raise UserError("season changes colors, and these images are gray: give others")
    shares = (x + 1) / 2
    red, green, blue = shares.unbind(1)
    luma = Luma().forward(shares)[:, 0]
    leaves = (2 * green - red - blue).clamp(min=0)
    light = 0.2 + 0.75 * luma + 0.5 * leaves
    faded = torch.stack([light + 0.4 * (part - luma) for part in (red, green - 0.5 * leaves, blue)], 1)
    tint = x.new_tensor([-0.04, 0.0, 0.06]).view(1, 3, 1, 1)
    return (faded + tint).clamp(0, 1) * 2 - 1
