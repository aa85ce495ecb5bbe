"""Sources that are arrays already: embedded sets, IDX files, CIFAR batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.data.fit import Fit, fit_array
from calotype.data.images import Images, Labels, Pixels, Skipped, Split, holdout_count, holdout_order, make_images
from calotype.modes import DigitModes


@dataclass(frozen=True)
class Arrays:
    """A whole source in memory, with its own split where it has one."""

    name: str
    pixels: Pixels  # (N, H, W, C) uint8
    labels: Labels | None  # (N,) int64
    classes: tuple[str, ...]
    holdout: NDArray[np.bool_] | None = None  # (N,) the source's own held-out part
    skipped: tuple[Skipped, ...] = ()  # what could not be used when this was prepared
    others: int = 0  # files beside them that are not meant to be images
    arranged: bool = False  # whether the images are already in the order that ``order`` would give them
    files: tuple[str, ...] = ()  # that the images came from, where that is known
    modes: DigitModes | None = None  # that the images are drawn from, as they are

    def order(self) -> tuple[NDArray[np.int64], int | None]:
        """The images in an order that begins with the held-out ones, and how many those are where the source itself says so."""
        own = None if self.holdout is None else int(self.holdout.sum())
        if self.arranged:
            return np.arange(len(self.pixels)), own
        if self.holdout is None:
            return holdout_order(len(self.pixels), self.labels), None
        return np.argsort(~self.holdout, kind="stable"), own

    def split(self, size: int | None, channels: int | None, fit: Fit, share: float, give_up: bool = False) -> Split:
        """Train and holdout at one shape: the source's own parts, else ``share`` of each class held out.

        Both are views of one array. Where it is that of this source, its images have to be moved for that, and are copied instead unless
        the caller says to ``give_up`` the source, which is then not to be used any more.
        """
        order, own = self.order()
        cut = holdout_count(len(order), share) if own is None else own
        pixels = fit_array(self.pixels, size, channels, fit)
        apart = not (_together(order[:cut]) and _together(order[cut:]))
        modes = self.modes if pixels.shape == self.pixels.shape else None
        moved = apart and pixels.flags.writeable and (give_up or pixels is not self.pixels)
        if moved:
            _move(pixels, order.tolist())

        def part(first: int, last: int, skipped: tuple[Skipped, ...]) -> Images:
            index = order[first:last]
            together = len(index) > 0 and pixels.flags.writeable and _together(index)
            rows = slice(int(index[0]), int(index[-1]) + 1) if together else index  # what lies together is not copied
            labels = None if self.labels is None else self.labels[rows]
            files = tuple(self.files[i] for i in index) if self.files else ()
            found = pixels[slice(first, last) if moved else rows]
            return make_images(found, labels, self.classes, self.name, skipped, files=files, modes=modes)

        return Split(part(cut, len(order), self.skipped), part(0, cut, ()))


def _together(index: NDArray[np.int64]) -> bool:
    return bool((np.diff(index) == 1).all())


def _move(pixels: Pixels, order: list[int]) -> None:
    """Put image ``order[i]`` of (N, H, W, C) at place i, for all i, within their memory: circle by circle, with one image beside them."""
    done = [False] * len(order)
    for start in range(len(order)):
        if done[start]:
            continue
        place, spare = start, pixels[start].copy()
        while (source := order[place]) != start:
            pixels[place], done[place], place = pixels[source], True, source
        pixels[place], done[place] = spare, True
