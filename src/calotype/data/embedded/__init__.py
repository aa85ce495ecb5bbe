"""Images inside the package. A text file beside each says where they come from and what their license is."""

from __future__ import annotations

import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np

from calotype.data.arrays import Arrays

DIGITS = "mnist5k"
PHOTOGRAPHS = ("clothing", "photos")
NAMES = (DIGITS, *PHOTOGRAPHS)


def photographs(name: str) -> Path:
    """An archive of embedded photographs, split by its folders."""
    return Path(str(files(__package__).joinpath(f"{name}.zip")))


def digits() -> Arrays:
    """The embedded digits, split as their file says."""
    raw = zlib.decompress(files(__package__).joinpath("mnist5k.zlib").read_bytes())
    table = np.frombuffer(raw, np.uint8)
    labels, pixels = table[:5000].astype(np.int64), table[5000:].reshape(5000, 28, 28, 1)
    return Arrays(DIGITS, pixels, labels, tuple("0123456789"), holdout=np.arange(5000) >= 4500)
