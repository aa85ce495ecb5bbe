"""What a part of an explanation is, and the kinds of things that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Strip:
    """Images side by side, in rows."""

    caption: str  # one or two sentences: what each row and each column is
    images: Pixels  # (N, H, W, C) uint8, row by row
    columns: int
    rows: tuple[str, ...] = ()  # what each row is called, where rows have names
    heads: tuple[str, ...] = ()  # what each column is called, where columns have names
    drawn: bool = True  # whether a model drew any of them


@dataclass(frozen=True)
class LinePlot:
    """Numbers over numbers, as lines in one plot."""

    caption: str
    across: str  # the name of the horizontal axis
    up: str  # and of the vertical one
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]  # by their names: places, and values of the same length
    spans: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)  # of some lines: lower and upper ends


@dataclass(frozen=True)
class Table:
    """Words and numbers as people read them."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[
        tuple[str, ...], ...
    ]  # the first cell of each names it; behind the end of a line stands what matters less, such as an interval


Exhibit = Strip | LinePlot | Table


class Section(Protocol):
    """A part of an explanation."""

    @property
    def name(self) -> str:
        """What it is called in ``explanation.json`` and in addresses of the page: lower case, words joined by hyphens."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def says(self) -> str:
        """For somebody who never did this, in a sentence or two: what is to be seen, and what follows from it."""

    def exhibits(self) -> Sequence[Exhibit]:
        """What is to be seen, in order."""

    def data(self) -> dict[str, Any]:
        """Its numbers as plain data: strings, numbers, booleans, None, lists and dicts of such."""


@dataclass(frozen=True)
class Explanation:
    """All parts about one model."""

    subject: str
    about: Mapping[str, str]  # for people: model, images ...
    sections: Sequence[Section]
    notes: tuple[str, ...] = ()  # what a reader must know of all of it
    seed: int = 0


def to_json(explanation: Explanation) -> dict[str, Any]:
    """The whole as plain data."""
    return {
        "subject": explanation.subject,
        "about": dict(explanation.about),
        "seed": explanation.seed,
        "notes": list(explanation.notes),
        "sections": {one.name: {"title": one.title, "says": one.says, **one.data()} for one in explanation.sections},
    }
