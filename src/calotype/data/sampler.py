"""The endless order of the training images, a pure function of (seed, images seen)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calotype.types import mix

_FLIP, _PLACE = 1, 2  # streams of random numbers: what is mirrored, and what is cut where


def _frozen(*keys: int) -> np.random.RandomState:
    """A generator keyed by integers whose stream is the same under every release of numpy, so that a resumed run keeps its order."""
    key = mix(*keys)
    return np.random.RandomState([key & 0xFFFFFFFF, key >> 32])


class Sampler:
    """Epoch after epoch of ``count`` images: each epoch is a permutation keyed by (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._flips: dict[int, NDArray[np.bool_]] = {}
        self._numbers: dict[int, NDArray[np.float64]] = {}

    def permutation(self, epoch: int) -> NDArray[np.int64]:
        """The permutation of one epoch, (count,) int64."""
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}  # a batch may straddle two epochs
            self._orders[epoch] = _frozen(self.seed, epoch).permutation(self.count)
        return self._orders[epoch]

    def flips(self, epoch: int) -> NDArray[np.bool_]:
        """Whether the image at each place of one epoch is mirrored, (count,) bool."""
        if epoch not in self._flips:
            self._flips = {e: f for e, f in self._flips.items() if e == epoch - 1}
            self._flips[epoch] = _frozen(self.seed, epoch, _FLIP).randint(0, 2, self.count).astype(bool)
        return self._flips[epoch]

    def numbers(self, seen: int, batch: int) -> NDArray[np.float64]:
        """Three numbers uniform in [0, 1) for each of the images number ``seen`` to ``seen + batch - 1``, (batch, 3)."""
        rows = []
        while batch > 0:
            epoch, start = divmod(seen, self.count)
            if epoch not in self._numbers:
                self._numbers = {e: u for e, u in self._numbers.items() if e == epoch - 1}
                self._numbers[epoch] = _frozen(self.seed, epoch, _PLACE).random_sample((self.count, 3))
            rows.append(self._numbers[epoch][start : start + batch])
            seen, batch = seen + len(rows[-1]), batch - len(rows[-1])
        return np.concatenate(rows)

    def cut(self, seen: int, batch: int, flip: bool = False) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Which images are number ``seen`` to ``seen + batch - 1``, (batch,) int64, and which of them are mirrored."""
        epoch, start = divmod(seen, self.count)
        if start + batch <= self.count:
            return self.permutation(epoch)[start : start + batch], self.flips(epoch)[start : start + batch] if flip else None
        rows, mirrored = [], []
        while batch > 0:
            stop = min(self.count, start + batch)
            rows.append(self.permutation(epoch)[start:stop])
            if flip:
                mirrored.append(self.flips(epoch)[start:stop])
            epoch, start, batch = epoch + 1, 0, batch - (stop - start)
        return np.concatenate(rows), np.concatenate(mirrored) if flip else None
