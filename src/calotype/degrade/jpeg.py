"""JPEG files of low quality."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.draw import Range
from calotype.types import Noise


def compress(image: Tensor, quality: int) -> Tensor:
    """One image (C, H, W) in [-1, 1] as it comes back from a JPEG file: Pillow's encoder, color at half the resolution."""
    levels = image.detach().mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    stream = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(stream, "JPEG", quality=quality)
    decoded = np.array(Image.open(stream, formats=["JPEG"]))
    back = torch.from_numpy(decoded).view(*image.shape[1:], image.shape[0]).permute(2, 0, 1)
    return back.to(image).sub_(127.5).mul_(1 / 127.5)


class Recompressed(Operator):
    """JPEG compression of each image with a quality of its own."""

    linear = False

    def __init__(self, qualities: Sequence[int]) -> None:
        self.qualities = tuple(qualities)

    def forward(self, x: Tensor) -> Tensor:
        """Compressed and read back."""
        return torch.stack([compress(one, quality) for one, quality in zip(x, self.qualities, strict=True)])


class Jpeg(Degradation):
    """JPEG compression, its quality a whole number drawn from a range."""

    def __init__(self, quality: Range) -> None:
        self.quality = quality
        self.spec = f"jpeg:{quality}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Compress the images and read them back."""
        drawn = Range(self.quality.low, self.quality.high + (0 if self.quality.fixed else 1)).draw(noise)
        operator = Recompressed([min(int(quality), int(self.quality.high)) for quality in drawn])
        return Degraded(operator.forward(image), operator)
