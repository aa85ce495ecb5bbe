"""Bits of each channel in the file of an image, which Pillow brings to 8 without a word."""

from __future__ import annotations

import re

from PIL import Image

_AVIF = re.compile(rb"av1C\x81.(.)", re.DOTALL)  # AV1 ISOBMFF, section 2.3
_SIZ = 42  # bytes from the start of a JPEG 2000 codestream to the depth of its first channel (ISO 15444-1, A.5.1)


def bit_depth(image: Image.Image, data: bytes) -> int:
    """Bits of each channel, 8 for fewer, of an image that is open but not yet decoded."""
    words = words_of(image)
    if image.format == "JPEG2000":
        return _checked(_jpeg2000(data))
    if image.format == "AVIF":
        found = _AVIF.search(data)
        return 8 if found is None else {0: 8, 2: 10, 3: 12}.get(found[1][0] >> 5 & 3, 8)
    if image.format == "HEIF":
        return _checked(image.info.get("bit_depth", 8))
    if image.format == "SGI":
        return 8 * data[3] if data[3] in (1, 2) else 8
    if image.format == "PPM" and words and words[-1].isdecimal():
        return _checked(int(words[-1]).bit_length())
    if image.mode in ("I", "F") or image.mode.startswith("I;16") or any(re.search(";16[BLN]?$", word) for word in words):
        return 16 if not any(word.startswith("BGR") for word in words) else 8  # there, 16 are those of all channels
    return 8


def words_of(image: Image.Image) -> list[str]:
    """What the decoder of the first part of an image is told, as words."""
    found: list[str] = []
    for tile in getattr(image, "tile", ())[:1]:
        found += [str(word) for word in (tile.args if isinstance(tile.args, tuple) else (tile.args,))]
    return found


def _jpeg2000(data: bytes) -> int:
    start = data.find(b"\xff\x4f\xff\x51")
    return (data[start + _SIZ] & 0x7F) + 1 if 0 <= start < len(data) - _SIZ else 8


def _checked(bits: int) -> int:
    return min(16, max(8, bits))
