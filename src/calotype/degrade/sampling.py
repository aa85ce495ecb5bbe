"""Losing pixels: smaller images."""

from __future__ import annotations

from torch import Tensor

from calotype.degrade.base import Degradation, Degraded
from calotype.degrade.resize import bicubic, resize
from calotype.degrade.taps import Separable
from calotype.types import Noise


class Downsample(Degradation):
    """Bicubic downsampling to 8-bit images as MATLAB does it, the standard degradation of super-resolution.

    Its operator is the same without rounding.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.spec = f"downsample:{scale}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Make them smaller."""
        height, width = image.shape[2] // self.scale, image.shape[3] // self.scale
        operator = Separable(bicubic(image.shape[2], height), bicubic(image.shape[3], width))
        return Degraded(resize(image, height, width, eight_bit=True), operator)
