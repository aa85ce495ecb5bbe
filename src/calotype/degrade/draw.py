"""What degradations draw for each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.types import Noise, mix


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, uniform; a fixed number where both are the same."""

    low: float
    high: float

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to draw."""
        return self.low == self.high

    def draw(self, noise: Noise) -> Tensor:
        """A number for each image, (N,) float32 on the CPU."""
        return (self.low + (self.high - self.low) * noise.uniform()).cpu()

    def __str__(self) -> str:
        """As it is written: 25, or 0-55."""
        return written(self.low) if self.fixed else f"{written(self.low)}-{written(self.high)}"


def written(number: float) -> str:
    """A number in the fewest digits that read as the same."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def generators(noise: Noise) -> list[torch.Generator]:
    """A generator of its own for each image, on the CPU, for what cannot be drawn for all images at once."""
    keys = (noise.uniform(2) * (1 << 24)).long().tolist()
    return [torch.Generator().manual_seed(mix(a, b)) for a, b in keys]
