"""Light and color set right without learning anything."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.degrade.color import Luma

_TAIL = 0.005  # share of the pixels that may be clipped at either end
_SAMPLE = 1 << 20  # pixels that quantiles are taken of


def stretch(image: Tensor) -> Tensor:
    """Each image (N, C, H, W) stretched to the full range, but for half a percent of the values at either end."""
    values = image.flatten(1)
    values = values[:, :: max(1, values.shape[1] // _SAMPLE)].sort(1).values
    cut = int(_TAIL * (values.shape[1] - 1))
    low, high = values[:, cut].view(-1, 1, 1, 1), values[:, values.shape[1] - 1 - cut].view(-1, 1, 1, 1)
    return ((image - low) / (high - low).clamp(min=1 / 255) * 2 - 1).clamp(-1, 1)


def equalize(image: Tensor) -> Tensor:
    """Each image with a luma that is uniform over all levels; all channels go through the same curve."""
    luma = Luma().forward(image) if image.shape[1] == 3 else image
    result = []
    for one, gray in zip(image, luma, strict=True):
        counts = torch.histc(gray.float(), 256, -1, 1)
        share = (counts.cumsum(0) - counts / 2) / counts.sum()
        result.append(share[((one + 1) * 127.5).round().long().clamp(0, 255)] * 2 - 1)
    return torch.stack(result)
