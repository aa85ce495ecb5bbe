"""Losing color."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.svd import Axes
from calotype.errors import UserError
from calotype.types import Noise

REC601 = (0.299, 0.587, 0.114)  # shares of red, green and blue in what an eye takes for brightness
_PILLOW = (19595, 38470, 7471)  # the same as Pillow adds them up, in 1/65536


class Luma(Operator):
    """The Rec. 601 luma of color images."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1, H, W)."""
        return (x * x.new_tensor(REC601).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 3, H, W)."""
        return y * y.new_tensor(REC601).view(1, 3, 1, 1)

    def axes(self) -> Axes:
        """The shares as a matrix over the channels."""
        return Axes(channels=torch.tensor([[REC601]], dtype=torch.float64))


class Gray(Degradation):
    """Color images in shades of gray, 8-bit and to the last bit as Pillow makes them; its operator does not round."""

    spec = "gray"

    def channels(self, channels: int) -> int:
        """One. Raises `UserError` for images that have no color to lose."""
        if channels != 3:
            raise UserError("gray takes color away, and these images have none: give color images, or leave gray out")
        return 1

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Take the color away."""
        return Degraded(gray8(image), Luma())


def gray8(image: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] to the (N, 1, H, W) that Pillow's ``convert("L")`` gives of the same 8-bit pixels."""
    levels = image.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.int32)
    shares = torch.tensor(_PILLOW, dtype=torch.int32, device=image.device).view(1, 3, 1, 1)
    luma = ((levels * shares).sum(1, keepdim=True, dtype=torch.int32) + 0x8000) >> 16
    return luma.to(image.dtype).sub_(127.5).mul_(1 / 127.5)
