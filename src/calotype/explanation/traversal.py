"""Images along a direction among codes, and what is measured of them on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.explanation.attributes import Attribute
from calotype.explanation.codes import Codes
from calotype.explanation.section import Pixels
from calotype.metrics.score import Estimate

REACH = 3.0  # standard deviations of codes to either side
STEPS = 7
BASES = 64  # images that are moved along a direction, for numbers
RESAMPLED = 1_000  # times, for the interval of a correlation

Doubles = NDArray[np.float64]


def positions(steps: int = STEPS, reach: float = REACH) -> list[float]:
    """Places along a direction, in standard deviations of codes; that in the middle is where the image was."""
    return [float(at) for at in torch.linspace(-reach, reach, steps)]


def traverse(
    codes: Codes, bases: Tensor, vector: Tensor, labels: Tensor | None, *, scale: float, steps: int = STEPS, reach: float = REACH
) -> Tensor:
    """Images (B * steps, C, H, W) of codes ``bases`` (B, d) moved along ``vector`` (d,), a row of ``steps`` for each.

    ``scale`` is the standard deviation of codes along the direction: 1 for latents.
    """
    at = torch.tensor(positions(steps, reach)) * scale
    moved = bases[:, None] + at[None, :, None] * vector
    return codes.images(moved.flatten(0, 1), None if labels is None else labels.repeat_interleave(steps))


@dataclass(frozen=True)
class Walk:
    """What became of B images that were moved along a direction."""

    positions: tuple[float, ...]  # of the steps
    values: Mapping[str, Doubles]  # (B, steps) by attribute, in its unit
    images: Pixels  # (rows * steps, H, W, C): the first of them

    def change(self, attribute: str, unit: float = 1.0) -> Estimate:
        """How much more of an attribute the images have at the last step than at the first, in units of ``unit``."""
        values = self.values[attribute]
        return Estimate.mean((values[:, -1] - values[:, 0]) / unit)

    def course(self, attribute: str) -> tuple[Doubles, Doubles]:
        """The mean of an attribute at each step, and half of its 95% interval, (steps,) each."""
        found = [Estimate.mean(column) for column in self.values[attribute].T]
        halves = [0.0 if one.interval is None else (one.interval[1] - one.interval[0]) / 2 for one in found]
        return np.array([one.value for one in found]), np.array(halves)

    def correlation(self, attribute: str, seed: int = 0) -> Estimate:
        """Pearson's correlation of position and attribute within the rows, with the interval of resampled rows.

        Of each row its own mean is taken away first: how much of an attribute an image has to begin with is no matter of the direction.
        """
        y = self.values[attribute]
        y = y - y.mean(1, keepdims=True)
        x = np.asarray(self.positions) - np.mean(self.positions)
        products, squares = y @ x, (y**2).sum(1)
        rows = np.random.default_rng(seed).integers(len(y), size=(RESAMPLED, len(y)))

        def of(total: Doubles, size: Doubles) -> Doubles:
            return np.asarray(total / np.sqrt(np.maximum(size * len(y) * (x @ x), 1e-300)))

        several = of(products[rows].sum(1), squares[rows].sum(1))
        low, high = (float(end) for end in np.quantile(several, (0.025, 0.975)))
        return Estimate(float(of(products.sum(), squares.sum())), (low, high) if len(y) > 1 else None)


def walk(
    codes: Codes,
    bases: Tensor,
    vector: Tensor,
    labels: Tensor | None,
    attributes: Sequence[Attribute],
    *,
    scale: float,
    rows: int,
    steps: int = STEPS,
) -> Walk:
    """Move codes ``bases`` (B, d) along ``vector``, measure attributes on the way, and keep the images of the first ``rows``."""
    images = traverse(codes, bases, vector, labels, scale=scale, steps=steps)
    values = {one.name: one.measure(images).view(len(bases), steps).numpy() for one in attributes}
    return Walk(tuple(positions(steps)), values, pictures.to_uint8(images[: rows * steps]))
