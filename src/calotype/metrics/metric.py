"""A metric: one score that reports give, with all that belongs to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from calotype.metrics.score import Estimate, Interval

Kind = Literal["lower", "higher", "match"]
E = TypeVar("E")


@dataclass(frozen=True)
class Metric(Generic[E]):
    """The entry of a score, beside the functions that compute it."""

    name: str  # "FD"
    says: str  # what it means, for people, in one sentence or two: its entry in the glossary
    kind: Kind  # whether lower or higher is better, or the score of real images is the one to match
    of: type[E]  # what it is computed of (`calotype.metrics.inputs`)
    compute: Callable[[E], Estimate | None]  # None where that cannot be had
    bounds: Interval = (-math.inf, math.inf)  # where it lies by definition: what an unbiased estimate takes off may lead below zero
    real: Callable[[E], float] | None = None  # what real images score, where it needs no images of the baseline
    first: int = 0  # its place among the scores that a reader sees first, from 1; 0 for none
    prose: bool = False  # whether its name means nothing else, wherever it stands in a sentence
