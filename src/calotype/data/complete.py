"""Whether a file is whole, where decoders do not look."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from calotype.data.parts import PNG, few, png_chunks
from calotype.data.reading import UnusableError
from calotype.errors import printable

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


def check_complete(data: bytes) -> None:
    """Raise ``UnusableError`` for a JPEG or PNG file that is cut off or damaged in ways that decoders let pass.

    A decoder paints what is missing gray or black: a JPEG file must reach its end marker (a download that was filled up
    with zeros does not), every chunk of a PNG file that holds pixels must have its checksum, up to the end chunk, and WebP
    and AVIF files must not end in zeros.
    """
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg(data)
    elif data.startswith(PNG):
        _check_png(data)
    elif (data[8:12] == b"WEBP" or data[4:8] == b"ftyp") and len(data) > 64 and not any(data[-64:]):
        raise UnusableError("cut off: the file ends in zeros")


def essential(data: bytes) -> bytes | None:
    """A whole PNG file with nothing but its pixels, their palette and their transparency; None for every other file."""
    if not data.startswith(PNG):
        return None
    kept = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    return PNG + b"".join(data[place - 8 : place + length + 4] for kind, place, length in png_chunks(data) if kind in kept)


def _check_jpeg(data: bytes) -> None:
    scanned = False
    for marker, place in few(_markers(data)):
        if marker == 0xD9:
            return
        if marker != 0x01 and place + 2 > len(data):
            break
        scanned = scanned or marker == 0xDA
    raise UnusableError("cut off: the end of the JPEG data is missing" if scanned else "cut off: the JPEG file ends in its header")


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG file and where what they stand for begins."""
    place = 2
    while (found := _JPEG_MARKER.search(data, place)) is not None:
        marker, place = found.group(1)[0], found.end()
        yield marker, place
        if marker != 0x01 and place + 2 <= len(data):
            place += struct.unpack_from(">H", data, place)[0]  # entropy-coded data follow a scan's header; the search leaps over them


def _check_png(data: bytes) -> None:
    for kind, place, length in png_chunks(data):
        end = place + length
        if end + 4 > len(data):
            break
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(data)[place - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise UnusableError(f"damaged: the checksum of its {printable(kind.decode('latin-1'))} chunk is wrong")
        if kind == b"IEND":
            return
    raise UnusableError("cut off: the end of the PNG data is missing")
