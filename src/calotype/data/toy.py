"""Testbeds of GANs: data whose modes are known, made on the spot. What a generator leaves out of them can be counted."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calotype.data.arrays import Arrays
from calotype.data.embedded import digits
from calotype.data.images import HOLDOUT_CAP, Images, Split, make_images
from calotype.errors import UserError
from calotype.modes import DigitModes, PointModes

_SEED = 1842  # constant forever: it decides what the testbeds hold
TRAIN = 100_000  # points to train on
STACKED = "stacked5k"  # as `mnist5k`, from which it is made
STACKS = 30_000  # stacked images to train on, 30 of each mode on average
STACKS_HELD = 3_000


def _cos(eighths: int) -> float:
    """Of so many eighths of a turn, rounded to the same number on every machine."""
    return round(math.cos(math.pi * eighths / 4), 12) + 0.0


POINTS = {
    mixture.name: mixture
    for mixture in (
        PointModes("ring", tuple((_cos(k), _cos(k - 2)) for k in range(8)), std=0.01, scale=1.25),
        PointModes("grid", tuple((float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)), std=0.05, scale=5.0),
    )
}
"""The mixtures by name, in the convention of VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018)."""

NAMES = (*POINTS, STACKED)


@dataclass(frozen=True)
class PointSource:
    """Points of a mixture: 100,000 to train on and 10,000 held out, always the same ones."""

    modes: PointModes

    @property
    def about(self) -> str:
        """What it holds, in one line."""
        one = self.modes
        return f"{one.name}: {TRAIN:,} points to train on and {HOLDOUT_CAP:,} held out, of {one.count} Gaussians of width {one.std:g}"

    def split(self, *, size: int | None = None, channels: int | None = None, fit: str = "crop") -> Split:
        """Its own parts. Raises `UserError` for what only pictures can be asked for."""
        for name, given in (("size", size), ("channels", channels), ("fit", None if fit == "crop" else fit)):
            if given is not None:
                raise UserError(f"{self.modes.name} holds points, which have neither size nor channels: leave out `data.{name}`")
        return Split(self._images(TRAIN, 0), self._images(HOLDOUT_CAP, 1))

    def _images(self, count: int, part: int) -> Images:
        one = self.modes
        places = (draw_points(one, count, _SEED + part) / one.scale).astype(np.float32).reshape(count, 1, 1, 2)
        pixels = np.round((places.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        digest = np.frombuffer(hashlib.sha256(places.astype("<f4").tobytes()).digest(), np.uint8)[None]
        return replace(make_images(pixels, None, (), one.name, digest=digest, modes=one), coordinates=places)


def draw_points(modes: PointModes, count: int, seed: int) -> NDArray[np.float64]:
    """Points (count, 2) of a mixture, in its own units; the same for a seed under every release of numpy."""
    rng = np.random.RandomState(seed)
    chosen = rng.randint(0, modes.count, count)
    return np.asarray(modes.centers)[chosen] + modes.std * rng.standard_normal((count, 2))


def stacked() -> Arrays:
    """Embedded digits stacked by threes as the channels of color images, without labels; held out are stacks of held-out digits."""
    own = digits()
    assert own.labels is not None
    assert own.holdout is not None
    pixels = np.empty((STACKS_HELD + STACKS, 28, 28, 3), np.uint8)
    rng, begin = np.random.RandomState(_SEED), 0
    for held, count in ((True, STACKS_HELD), (False, STACKS)):
        of_class = [np.flatnonzero((own.labels == digit) & (own.holdout == held)) for digit in range(10)]
        rows = stacks(of_class, count, rng)
        for channel in range(3):
            pixels[begin : begin + count, :, :, channel] = own.pixels[rows[:, channel], :, :, 0]
        begin += count
    return Arrays(STACKED, pixels, None, (), np.arange(len(pixels)) < STACKS_HELD, modes=DigitModes())


def stacks(of_class: list[NDArray[np.int64]], count: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Three digits for each of ``count`` stacks, (count, 3), of the places of each class: all classes are equally likely."""
    classes, places = rng.randint(0, len(of_class), (count, 3)), rng.random_sample((count, 3))
    sizes = np.array([len(rows) for rows in of_class])
    first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    found: NDArray[np.int64] = np.concatenate(of_class)[first[classes] + (places * sizes[classes]).astype(np.int64)]
    return found
