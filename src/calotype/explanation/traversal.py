"""Images along a direction among codes."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.explanation.codes import Codes

REACH = 3.0  # standard deviations to either side


def positions(steps: int, reach: float = REACH) -> list[float]:
    """Places along a direction, in standard deviations of codes, the middle being none."""
    return torch.linspace(-reach, reach, steps).tolist()


def traverse(
    codes: Codes, bases: Tensor, vector: Tensor, labels: Tensor | None, *, scale: float, steps: int, reach: float = REACH
) -> Tensor:
    """Images (B * steps, C, H, W) of codes ``bases`` (B, d) moved along ``vector`` (d,), a row of ``steps`` for each.

    ``scale`` is the standard deviation of codes along the direction: 1 for latents.
    """
    at = torch.tensor(positions(steps, reach)) * scale
    moved = bases[:, None] + at[None, :, None] * vector
    return codes.images(moved.flatten(0, 1), None if labels is None else labels.repeat_interleave(steps))
