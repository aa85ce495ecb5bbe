"""Modes that are known: what the data of testbeds are drawn from, so that those which a generator reaches can be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from calotype.settings import WIDEST, Finite, Positive, Text

Center = tuple[Finite, Finite]


@dataclass(frozen=True)
class PointModes:
    """Gaussians of one width in the plane, all equally likely, in units of the testbed.

    A point stands where an image does: one pixel whose two channels are its coordinates, divided by ``scale`` so that they lie in [-1, 1].
    """

    name: Text  # "ring"
    centers: Annotated[tuple[Center, ...], Field(min_length=2, max_length=WIDEST)]
    std: Positive  # along each axis
    scale: Positive  # what 1 stands for
    kind: Literal["points"] = "points"

    @property
    def count(self) -> int:
        """How many modes there are."""
        return len(self.centers)


@dataclass(frozen=True)
class DigitModes:
    """Combinations of digits, one in each of three channels of 28x28 pixels, all equally likely (stacked MNIST, Metz et al. 2017)."""

    kind: Literal["digits"] = "digits"

    @property
    def count(self) -> int:
        """How many modes there are."""
        return 1000


KnownModes = Annotated[PointModes | DigitModes, Field(discriminator="kind")]
