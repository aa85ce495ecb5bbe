"""Augmentations that a discriminator sees real and generated images through, so that few images last longer (Zhao et al. 2020).

Each is differentiable and drawn anew for every image: (N, C, H, W) float32 in [-1, 1] to the same shape. Because generated images go
through them too, a generator learns nothing of them. They are for sets of fewer than some 30,000 images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

AugmentationName = Literal["color", "translation", "cutout", "adaptive"]
"""``adaptive`` is that of `calotype.losses.transforms`: more of it the surer the discriminator is of real images."""

TRANSLATION = 0.125  # of the side, the largest shift
CUTOUT = 0.5  # of the side, the square that is left out


def augmented(images: Tensor, names: Sequence[AugmentationName], rng: torch.Generator) -> Tensor:
    """The images through each of the augmentations that are the same all along, in the order of `AUGMENTATIONS`."""
    for name, augment in AUGMENTATIONS.items():
        if name in names:
            images = augment(images, rng)
    return images


def color(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness by up to .5 up or down, saturation times 0 to 2, contrast times .5 to 1.5."""
    shift, saturation, contrast = (torch.rand((len(images), 1, 1, 1), generator=rng, device=images.device) for _ in range(3))
    images = images + (shift - 0.5)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * (2 * saturation)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * (0.5 + contrast)


def translation(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shifted by up to an eighth of the side each way; zeros come in."""
    n, _, height, width = images.shape
    reach = [int(side * TRANSLATION + 0.5) for side in (height, width)]
    down, right = (torch.randint(-r, r + 1, (n, 1), generator=rng, device=images.device) for r in reach)
    rows = torch.arange(height, device=images.device) + down + 1
    columns = torch.arange(width, device=images.device) + right + 1
    framed = functional.pad(images, (1, 1, 1, 1))  # whatever lies outside is taken from the frame
    rows, columns = rows.clamp(0, height + 1), columns.clamp(0, width + 1)
    each = torch.arange(n, device=images.device)[:, None, None]
    return framed.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """A square of half the side, whose middle lies anywhere, becomes zero."""
    n, _, height, width = images.shape
    inside = []
    for axis, side in enumerate((height, width)):
        size = int(side * CUTOUT + 0.5)
        first = torch.randint(0, side + 1 - size % 2, (n, 1), generator=rng, device=images.device) - size // 2
        places = torch.arange(side, device=images.device)
        within = (places >= first) & (places < first + size)
        inside.append(within[:, None, :, None] if axis == 0 else within[:, None, None, :])
    return images.masked_fill(inside[0] & inside[1], 0)


AUGMENTATIONS: dict[AugmentationName, Callable[[Tensor, torch.Generator], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
