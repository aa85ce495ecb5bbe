"""The way from one image to another through the latents, still and moving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calotype import pictures
from calotype.explanation.codes import Codes
from calotype.explanation.section import Exhibit, Pixels, Strip
from calotype.tasks import latents
from calotype.types import Noise

WAYS, STEPS = 4, 8
CELLS = 9  # images that move at once
STOPS = 4  # drawn images that each of them passes


@dataclass(frozen=True)
class Interpolations:
    """Images on the way from one to another."""

    images: Pixels  # (ways * steps, H, W, C)
    steps: int
    jump: float  # the largest step of a way relative to its mean step, in root mean squared differences of pixels; the mean over ways

    name = "interpolation"
    title = "From one image to another"
    says = (
        "Each row goes in even steps from one drawn image to another. Where all images on the way are as good as its ends, the model "
        "has learned what lies between images; where it jumps or fades, it has learned single images."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """One strip."""
        caption = f"Along great circles of the latents. The largest step of a row is {self.jump:.1f} times its mean step: 1 is even."
        return [Strip(caption, self.images, self.steps)]

    def data(self) -> dict[str, Any]:
        """How even the ways are."""
        return {"ways": len(self.images) // self.steps, "steps": self.steps, "largest_step": self.jump}


def interpolations(codes: Codes, seed: int, label: int | None = None, ways: int = WAYS, steps: int = STEPS) -> Interpolations:
    """Rows between the images that a seed draws: of a conditional model a class for each row, or ``label`` for all."""
    shape = codes.model.latent_shape
    ends = Noise(2 * ways, seed).normal(*shape).view(ways, 2, *shape)
    told = codes.labels(ways, label)
    z = torch.cat([latents.between(a, b, steps) for a, b in ends])
    images = latents.decode(codes.generator, z, None if told is None else told.repeat_interleave(steps))
    moved = images.view(ways, steps, -1).diff(dim=1).square().mean(2).sqrt()
    jump = float((moved.amax(1) / moved.mean(1).clamp_min(1e-9)).mean())
    return Interpolations(pictures.to_uint8(images), steps, jump)


def loop(codes: Codes, frames: int, seed: int, label: int | None = None, cells: int = CELLS) -> NDArray[np.uint8]:
    """Frames (frames, cells, H, W, C) uint8 of images that pass four drawn images each, and end where they began."""
    shape = codes.model.latent_shape
    stops = Noise(cells * STOPS, seed).normal(*shape).view(cells, STOPS, *shape)
    told = codes.labels(cells, label)
    found = []
    for cell, row in enumerate(stops):
        each = math.ceil(frames / STOPS)
        z = torch.cat([latents.between(row[k], row[(k + 1) % STOPS], each + 1)[:-1] for k in range(STOPS)])
        z = z[torch.linspace(0, len(z) - 1, frames).round().long()]
        own = None if told is None else told[cell].expand(len(z))
        found.append(pictures.to_uint8(latents.decode(codes.generator, z, own)))
    return np.stack(found, 1)
