"""The parts (chunks, segments, blocks, boxes) of a picture's file, at each of which a reader looks: no more than real files have."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar

from calotype.data.reading import UnusableError

T = TypeVar("T")

PNG = b"\x89PNG\r\n\x1a\n"
MOST = 100_000  # parts; PNG files of 256 MiB whose pixels come in chunks of 8 KiB, as many writers make them, have a third of that
_FULL = 128  # bytes of a GIF file's blocks that count for nothing: pixels come in blocks of 255


def few(parts: Iterable[T]) -> Iterator[T]:
    """``parts`` one by one. Raises ``UnusableError`` where there are more than `MOST`."""
    for count, part in enumerate(parts):
        if count == MOST:
            raise UnusableError(f"holds more than {MOST:,} parts beside or among its pixels, as no picture needs: save it anew")
        yield part


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of the body of each chunk of a PNG file up to its end. Raises ``UnusableError`` as `few` does."""

    def every() -> Iterator[tuple[bytes, int, int]]:
        place, kind = len(PNG), b""
        while place + 12 <= len(data) and kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", data, place)
            yield kind, place + 8, length
            place += 12 + length

    return few(every())


def check_parts(file: BinaryIO, start: bytes) -> None:
    """Go over the parts of a file that begins with ``start`` as far as a reader does to know its size; where that then is, is not said.

    Raises ``UnusableError`` as `few` does. What is damaged or in another format passes.
    """
    for magic, walk in _WALKS.items():
        if start.startswith(magic):
            for _ in few(walk(file)):
                pass


def _png(file: BinaryIO) -> Iterator[None]:
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        file.seek(int.from_bytes(head[:4]) + 4, 1)
        yield


def _jpeg(file: BinaryIO) -> Iterator[None]:
    """Segments up to the first scan, and bytes that belong to none, which a reader looks at one by one."""
    file.seek(3)
    byte = b"\xff"
    while byte:
        yield
        mark = file.read(1) if byte == b"\xff" else b""
        if mark == b"\xff":
            continue
        if b"\0" < mark < b"\xc0" or mark == b"\xda":
            return
        if mark > b"\0" and not b"\xd0" <= mark <= b"\xd9":
            file.seek(max(0, int.from_bytes(file.read(2)) - 2), 1)
        byte = file.read(1)


def _gif(file: BinaryIO) -> Iterator[None]:
    """Small blocks up to a second image, by which a reader tells that it moves."""
    file.seek(10)
    flags, images = file.read(3)[:1], 0
    _skip_palette(file, flags)
    while (kind := file.read(1)) not in (b"", b";"):
        yield
        if kind == b"!":
            file.read(1)
        elif kind == b",":
            images += 1
            if images > 1:
                return
            _skip_palette(file, file.read(9)[8:])
            file.read(1)
        else:
            continue
        while (size := file.read(1)) > b"\0":
            file.seek(size[0], 1)
            if size[0] < _FULL:
                yield


def _skip_palette(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 128:
        file.seek(3 << (flags[0] & 7) + 1, 1)


def _jpeg2000(file: BinaryIO) -> Iterator[None]:
    """Boxes up to the pixels, those within the header among them."""
    file.seek(0)
    while len(head := file.read(8)) == 8 and head[4:] != b"jp2c":
        long = head[:4] == b"\0\0\0\1"
        length = int.from_bytes(file.read(8) if long else head[:4]) - (16 if long else 8)
        if not 0 <= length < 2**62:
            return
        if head[4:] != b"jp2h":
            file.seek(length, 1)
        yield


_WALKS: dict[bytes, Callable[[BinaryIO], Iterator[None]]] = {
    PNG: _png,
    b"\xff\xd8\xff": _jpeg,
    b"GIF8": _gif,
    b"\0\0\0\x0cjP  ": _jpeg2000,
}
