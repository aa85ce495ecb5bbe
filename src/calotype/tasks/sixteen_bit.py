"""Files of sixteen bits a channel, which Pillow writes for gray alone; and TIFF files of any depth."""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from calotype.tasks.facts import Chunks

Deep = NDArray[np.uint16]

_KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # samples of a pixel, and PNG's number for them
_BAND = 64  # rows that are packed at a time
_XY_RESOLUTION, _UNIT, _XMP, _BYTES = (282, 283), 296, 700, 1


def write_png(stream: BinaryIO, samples: Deep, icc: bytes, exif: bytes, dpi: tuple[float, float] | None, chunks: Chunks = ()) -> None:
    """(H, W, S) uint16 with 1 to 4 samples a pixel as a PNG file, rows filtered by Paeth's predictor."""
    height, width, count = samples.shape
    stream.write(b"\x89PNG\r\n\x1a\n")
    _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _KINDS[count], 0, 0, 0))
    for kind, body in chunks:
        _chunk(stream, kind, body)
    if icc:
        _chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi is not None:
        _chunk(stream, b"pHYs", struct.pack(">IIB", *(max(1, round(per_inch / 0.0254)) for per_inch in dpi), 1))
    if exif:
        _chunk(stream, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    packer = zlib.compressobj(6)
    above = np.zeros((1, 2 * count * width), np.int16)
    for top in range(0, height, _BAND):
        rows = samples[top : top + _BAND].astype(">u2").reshape(-1, count * width).view(np.uint8).astype(np.int16)
        filtered = np.full((len(rows), rows.shape[1] + 1), 4, np.uint8)
        filtered[:, 1:] = rows - _paeth(rows, np.concatenate([above, rows[:-1]]), 2 * count) & 255
        above = rows[-1:]
        if packed := packer.compress(filtered.tobytes()):
            _chunk(stream, b"IDAT", packed)
    _chunk(stream, b"IDAT", packer.flush())
    _chunk(stream, b"IEND", b"")


def write_tiff(
    stream: BinaryIO,
    samples: NDArray[Any],
    alpha: bool,
    icc: bytes,
    exif: Image.Exif | None,
    dpi: tuple[float, float] | None,
    xmp: bytes = b"",
) -> None:
    """(H, W, S) uint8 or uint16 as a TIFF file: strips of differences between neighbors, packed by zlib (TIFF 6.0, section 14)."""
    height, width, count = samples.shape
    samples = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    strips = []
    for top in range(0, height, _BAND):
        rows = samples[top : top + _BAND].copy()
        rows[:, 1:] -= samples[top : top + _BAND, :-1]
        packed = zlib.compress(rows.tobytes(), 6)
        strips.append(packed + b"\0" * (len(packed) % 2))
    lengths = tuple(map(len, strips))
    tags = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in (exif or {}).items():
        tags[tag] = value
    tags[256], tags[257], tags[258], tags[277] = width, height, (8 * samples.itemsize,) * count, count
    tags[259], tags[262], tags[284], tags[317] = 8, 1 if count < 3 else 2, 1, 2
    tags.tagtype[273] = tags.tagtype[279] = 4
    tags[273], tags[278], tags[279] = (0, *accumulate(lengths[:-1])), _BAND, lengths  # from the end of the tags, where Pillow moves them to
    if alpha:
        tags[338] = 2
    if icc:
        tags[34675] = icc
    if xmp:
        tags.tagtype[_XMP], tags[_XMP] = _BYTES, xmp
    if dpi is not None:
        tags[_UNIT] = 2
        for tag, per_inch in zip(_XY_RESOLUTION, dpi, strict=True):
            tags[tag] = IFDRational(round(per_inch * 100), 100)
    tags.save(stream)
    stream.writelines(strips)


def _paeth(rows: NDArray[np.int16], above: NDArray[np.int16], step: int) -> NDArray[np.int16]:
    """What Paeth's predictor (PNG, section 9.4) expects of bytes (R, B): the nearest of left, above and upper left to their plane."""
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], above[:, :-step]
    to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    chosen = np.where((to_left <= to_above) & (to_left <= to_corner), left, np.where(to_above <= to_corner, above, corner))
    return chosen.astype(np.int16)


def _chunk(stream: BinaryIO, kind: bytes, body: bytes) -> None:
    stream.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
