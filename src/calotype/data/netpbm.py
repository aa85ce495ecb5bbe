"""Binary PGM and PPM files whose white is not 255: Pillow reads them a value at a time, and color to 8 bits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.data.reading import UnusableError

_HEAD = re.compile(rb"P([56])" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})" * 3 + rb"(?:#[^\r\n]*)?\s")
_LONGEST = 2**16  # bytes of a header with its comments


@dataclass(frozen=True)
class Netpbm:
    """What a header says."""

    size: tuple[int, int]  # width and height
    channels: int  # 1 or 3
    white: int
    start: int  # of the values, in bytes

    def values(self, data: bytes) -> NDArray[Any]:
        """(H, W, C) uint8 or uint16, white at ``white``. Raises ``UnusableError`` for a file that ends before."""
        kind, count = np.dtype(np.uint8 if self.white < 256 else ">u2"), self.size[0] * self.size[1] * self.channels
        if len(data) - self.start < count * kind.itemsize:
            raise UnusableError("cut off: the end of its values is missing")
        flat = np.frombuffer(data, kind, count, self.start)
        values: NDArray[Any] = np.minimum(flat, self.white).astype(kind.newbyteorder("="))
        return values.reshape(*self.size[::-1], self.channels)


def netpbm(data: bytes) -> Netpbm | None:
    """What such a file holds; None for every other file."""
    head = _HEAD.match(data[:_LONGEST])
    if head is None:
        return None
    width, height, white = (int(number) for number in head.groups()[1:])
    if min(width, height) < 1 or not 0 < white < 65536 or white == 255:
        return None
    return Netpbm((width, height), 1 if head[1] == b"5" else 3, white, head.end())
