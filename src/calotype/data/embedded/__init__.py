"""Images inside the package. A text file beside each says where they come from and what their license is."""

from __future__ import annotations

import zlib
from importlib.resources import files

import numpy as np

from calotype.data.arrays import Arrays

NAMES = ("mnist5k",)


def read_embedded(name: str) -> Arrays:
    """The embedded set of that name, split as its file says."""
    raw = zlib.decompress(files(__package__).joinpath(f"{name}.zlib").read_bytes())
    table = np.frombuffer(raw, np.uint8)
    labels, pixels = table[:5000].astype(np.int64), table[5000:].reshape(5000, 28, 28, 1)
    return Arrays(name, pixels, labels, tuple("0123456789"), holdout=np.arange(5000) >= 4500)
