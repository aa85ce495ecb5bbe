"""What the paths of a set of images say: their natural order, their classes, and which part is held out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.data.images import Labels, distinct, holdout_order

STRAY = "lies beside the class folders, so that it has no class"
_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation", "holdout"}
_DIGITS = re.compile(r"(\d+)")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which ``2.png`` comes before ``10.png``.

    >>> sorted(["10.png", "2.png", "a.png"], key=natural)
    ['2.png', '10.png', 'a.png']
    """
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in _DIGITS.split(text) if part)


@dataclass(frozen=True)
class Tree:
    """The images of a folder or archive, arranged."""

    names: tuple[str, ...]  # those that count, in natural order
    labels: Labels | None  # (N,) int64
    classes: tuple[str, ...]  # as they can be printed
    holdout: NDArray[np.bool_] | None  # (N,) where the folders themselves hold a part out
    strays: tuple[str, ...] = ()  # those that lie beside the class folders

    def order(self) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """The images in an order that begins with the held-out ones, and which are held out where the folders say so."""
        if self.holdout is None:
            return holdout_order(len(self.names), self.labels), None
        order = np.argsort(~self.holdout, kind="stable")
        return order, self.holdout[order]

    def take(self, rows: NDArray[np.int64]) -> Tree:
        """Some of the images."""
        labels = None if self.labels is None else self.labels[rows]
        holdout = None if self.holdout is None else self.holdout[rows]
        return Tree(tuple(self.names[i] for i in rows), labels, self.classes, holdout, self.strays)


def arrange(names: Sequence[str]) -> Tree:
    """Read classes and parts off the paths (parts separated by ``/``) of image files.

    Folders that all images share are ignored. Where ``train`` and ``test`` (or ``val``) folders remain at the top, the
    latter are held out. The next level of folders, if there are at least two, are the classes, with everything nested in
    them; images beside the class folders are strays, unless they are the majority: then there are no labels.
    """
    ordered = sorted(names, key=lambda name: (natural(name), name))
    paths = _without_shared([[part for part in name.split("/") if part not in ("", ".")] for name in ordered])
    tops = {path[0].lower() for path in paths if len(path) > 1}
    holdout = None
    if tops & _TRAIN and tops & _TEST and tops <= _TRAIN | _TEST and all(len(path) > 1 for path in paths):
        holdout = np.array([path[0].lower() in _TEST for path in paths])
        paths = [path[1:] for path in paths]
    classes = tuple(sorted({path[0] for path in paths if len(path) > 1}, key=lambda name: (natural(name), name)))
    loose = [len(path) == 1 for path in paths]
    if len(classes) < 2 or 2 * sum(loose) > len(paths):
        return Tree(tuple(ordered), None, (), holdout)
    keep = np.flatnonzero(~np.array(loose))
    number = {name: index for index, name in enumerate(classes)}
    return Tree(
        tuple(ordered[i] for i in keep),
        np.array([number[paths[i][0]] for i in keep], np.int64),
        distinct(classes),
        None if holdout is None else holdout[keep],
        tuple(name for name, out in zip(ordered, loose, strict=True) if out),
    )


def _without_shared(paths: list[list[str]]) -> list[list[str]]:
    """The paths without the leading folders that are common to all of them."""
    shared = 0
    shortest = min((len(path) for path in paths), default=1) - 1
    while shared < shortest and len({path[shared] for path in paths}) == 1:
        shared += 1
    return [path[shared:] for path in paths]
