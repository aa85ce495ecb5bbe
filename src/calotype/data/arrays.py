"""Sources that are arrays already: embedded sets, IDX files, CIFAR batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.data.fit import Fit, fit_array
from calotype.data.images import Images, Labels, Pixels, Skipped, Split, holdout_count, holdout_order, make_images


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

    def order(self) -> tuple[NDArray[np.int64], int | None]:
        """The images in an order that begins with the held-out ones, and how many those are where the source itself says so."""
        own = None if self.holdout is None else int(self.holdout.sum())
        if self.arranged:
            return np.arange(len(self.pixels)), own
        if self.holdout is None:
            return holdout_order(len(self.pixels), self.labels), None
        return np.argsort(~self.holdout, kind="stable"), own

    def split(self, size: int | None, channels: int | None, fit: Fit, share: float) -> Split:
        """Train and holdout at one shape: the source's own parts, else ``share`` of each class held out."""
        order, own = self.order()
        cut = holdout_count(len(order), share) if own is None else own
        pixels = fit_array(self.pixels, size, channels, fit)

        def part(index: NDArray[np.int64], skipped: tuple[Skipped, ...]) -> Images:
            together = len(index) > 0 and pixels.flags.writeable and bool((np.diff(index) == 1).all())
            rows = slice(int(index[0]), int(index[-1]) + 1) if together else index  # what lies together is not copied
            labels = None if self.labels is None else self.labels[rows]
            files = tuple(self.files[i] for i in index) if self.files else ()
            return make_images(pixels[rows], labels, self.classes, self.name, skipped, files=files)

        return Split(part(order[cut:], self.skipped), part(order[:cut], ()))
