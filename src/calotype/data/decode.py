"""One image file to pixels: every mode and format that Pillow reads, or a reason why not. Nothing is ever half read.

What becomes of the modes: transparency is composited on white, as a page would show it; 16-bit values are divided by 257;
32-bit integers too where they lie in 0..65535, else the image's own range is stretched; floating point in [0, 1] is scaled
to 255, in [0, 255] taken as it is, and any other range stretched; of an animation the first frame counts; an orientation
in the EXIF data is applied; color profiles are ignored.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from calotype.data.fit import Fit, fit_image, tiles
from calotype.data.images import Pixels
from calotype.data.kinds import HEAD, looks_like_image, unread_kind

MAX_PIXELS = 64 * 2**20  # of an image: 8,192 x 8,192; read from the header before anything is decoded
MAX_BYTES = 256 * 2**20  # of a file, as its folder or archive declares it
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "QOI", "PCX", "SGI")
_ORIENTATION, _SIDEWAYS = 0x0112, {5, 6, 7, 8}  # the EXIF tag, and its values that turn the image by a quarter
_BITS, _LIGHT, _PLANES = 258, 262, 284  # TIFF tags: bits of each channel; 0 where 0 is white; 2 where channels lie one behind the other
_GREY = {"1", "L", "LA", "La", "I", "F"}


class UnusableError(Exception):
    """The reason why a file cannot be used, in a few words."""


class TooLargeError(UnusableError):
    """An image of more pixels than are allowed."""

    def __init__(self, size: tuple[int, int], limit: int) -> None:
        super().__init__(f"{size[0]}x{size[1]} pixels are more than the limit of {limit:,}: scale it down first")


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded."""

    format: str
    mode: str
    width: int  # upright, as far as the header tells
    height: int
    grey: bool
    animated: bool

    @property
    def size(self) -> str:
        """Width and height for people."""
        return f"{self.width}x{self.height}"


def read_header(file: BinaryIO, name: str) -> Header:
    """What the file says of itself, without decoding it. Raises ``UnusableError``."""
    with _open(file, name) as image:
        return _describe(image)


def decode(data: bytes, name: str, at_least: int | None = None) -> Image.Image:
    """The whole image, upright, as mode L or RGB. Raises ``UnusableError``.

    Args:
        data: The file.
        name: Its name, for the one format (TGA) that only a name tells.
        at_least: The caller will shrink to this height and width, so that a large JPEG may be decoded at the
            smallest of 1/2, 1/4, 1/8 of its size that still is twice as large in both directions.
    """
    draft = None if at_least is None else (2 * at_least, 2 * at_least)
    with loaded(data, name, lambda image: draft and image.draft(None, draft)) as image:
        try:
            return flatten(image)
        except UnusableError:
            raise
        except Exception as error:
            raise UnusableError(f"mode {image.mode} cannot be converted: {_first_line(error)}") from error


def loaded(data: bytes, name: str, prepare: Callable[[Image.Image], object] = lambda image: None, limit: int = MAX_PIXELS) -> Image.Image:
    """The whole image, upright, in its own mode and with what its file says of it. Raises ``UnusableError``.

    ``prepare`` is called with the image before its pixels are decoded; more than ``limit`` pixels never are.
    """
    image = _open(io.BytesIO(data), name, limit)
    check_complete(data)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANES) == 2 and max(tags.get(_BITS, (8,))) > 8:
        raise UnusableError("its 16-bit channels lie in separate planes, which cannot be read: save it with interleaved channels")
    try:
        prepare(image)
        image.load()
        if image.mode.startswith("I;16") and tags.get(_LIGHT) == 0:  # Pillow turns 8 bits over, not 16
            image.frombytes((~np.asarray(image)).tobytes())
    except UnusableError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every exception there is
        raise UnusableError(f"cannot be decoded: {_first_line(error)}") from error
    if image.width * image.height > limit:  # an icon may hold more than its header says
        raise TooLargeError(image.size, limit)
    with suppress(Exception):  # broken EXIF data does not spoil the pixels
        ImageOps.exif_transpose(image, in_place=True)
    return image


def decode_fitted(data: bytes, name: str, size: int, channels: int, fit: Fit) -> Pixels:
    """The image brought to (size, size, channels) uint8. Raises ``UnusableError``."""
    return _table(fit_image(decode(data, name, at_least=size), size, fit), channels)


def decode_tiles(data: bytes, name: str, size: int, channels: int) -> list[Pixels]:
    """The image cut into squares (size, size, channels) uint8. Raises ``UnusableError``."""
    image = decode(data, name)
    if min(image.size) < size:
        raise UnusableError(f"{image.width}x{image.height} is smaller than a tile of {size} pixels")
    return [_table(tile, channels) for tile in tiles(image, size)]


def _table(image: Image.Image, channels: int) -> Pixels:
    return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(image.height, image.width, channels)


def flatten(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as L or RGB."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return Image.fromarray(_to_8bit(np.asarray(image)))
    if mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        layered = image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA")
        page = Image.new("L" if layered.mode == "LA" else "RGB", layered.size, "white")
        page.paste(layered.convert(page.mode), mask=layered.getchannel("A"))
        return page
    target = "L" if mode in _GREY else "RGB"
    return image if mode == target else image.convert(target)


def _to_8bit(values: NDArray[np.generic]) -> Pixels:
    return np.rint(to_unit(values) * 255).astype(np.uint8)


def to_unit(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Integers or floating point of any range in [0, 1]. Raises ``UnusableError`` for values that are not finite."""
    table = values.astype(np.float64)
    if not np.isfinite(table).all():
        raise UnusableError("holds values that are not finite")
    low, high = float(table.min()), float(table.max())
    whole = values.dtype.kind in "iu"
    if low >= 0 and whole and high <= 65535:
        return table / 65535
    if low >= 0 and not whole and high <= 1:
        return table
    if low >= 0 and high <= 255:
        return table / 255
    return (table - low) / max(high - low, 1e-300)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise UnusableError("mode LAB cannot be converted")
    return converted


@cache
def _formats(tga: bool) -> list[str]:
    """The formats that this build of Pillow reads; TGA has no magic number, so that only a name can suggest it."""
    Image.init()
    return [name for name in (*FORMATS, *(("TGA",) if tga else ())) if name in Image.OPEN]


def _open(file: BinaryIO, name: str, limit: int = MAX_PIXELS) -> Image.Image:
    formats = _formats(name.lower().endswith(".tga"))
    start = file.read(HEAD)
    file.seek(0)
    if not start:
        raise UnusableError("the file is empty")
    if kind := unread_kind(start, os.path.splitext(name)[1].lower()):
        raise UnusableError(kind)
    try:
        image = Image.open(file, formats=formats)
    except Exception as error:
        if not isinstance(error, Image.DecompressionBombError):
            file.seek(0)
            check_complete(file.read())  # what is missing says more than how the decoder stumbled over it
        raise UnusableError(_why_closed(error, start)) from error
    if image.width * image.height > limit:
        image.close()
        raise TooLargeError(image.size, limit)
    if min(image.size) < 1:
        image.close()
        raise UnusableError("has no pixels")
    return image


def _why_closed(error: Exception, start: bytes) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {MAX_PIXELS:,}"
    if isinstance(error, UnidentifiedImageError):
        return "begins like an image but its header is broken" if looks_like_image(start) else "not an image in a known format"
    return f"its header cannot be read: {_first_line(error)}"


def _describe(image: Image.Image) -> Header:
    grey = image.mode in _GREY or image.mode.startswith("I;16")
    if image.mode == "P":
        colors = np.array(image.getpalette() or [0, 0, 0], np.uint8).reshape(-1, 3)
        grey = bool((colors == colors[:, :1]).all())
    frames = getattr(image, "is_animated", False) if image.format != "MPO" else False
    width, height = image.size
    with suppress(Exception):  # of broken EXIF data
        if "exif" in image.info and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
    return Header(image.format or "?", image.mode, width, height, grey, bool(frames))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120] or type(error).__name__


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


def check_complete(data: bytes) -> None:
    """Raise ``UnusableError`` for a JPEG or PNG file that is cut off or damaged in ways that decoders let pass.

    A decoder paints what is missing grey or black: a JPEG file must reach its end marker (a download that was filled up
    with zeros does not), every chunk of a PNG file that holds pixels must have its checksum, up to the end chunk, and WebP
    and AVIF files must not end in zeros.
    """
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(data)
    elif (data[8:12] == b"WEBP" or data[4:8] == b"ftyp") and len(data) > 64 and not any(data[-64:]):
        raise UnusableError("cut off: the file ends in zeros")


def _check_jpeg(data: bytes) -> None:
    place, scanned = 2, False
    while (found := _JPEG_MARKER.search(data, place)) is not None:
        marker, place = found.group(1)[0], found.end()
        if marker == 0xD9:
            return
        if marker == 0x01:
            continue
        if place + 2 > len(data):
            break
        length = struct.unpack_from(">H", data, place)[0]
        scanned = scanned or marker == 0xDA
        place += length  # entropy-coded data follow a scan's header; the search leaps over them
    raise UnusableError("cut off: the end of the JPEG data is missing" if scanned else "cut off: the JPEG file ends in its header")


def _check_png(data: bytes) -> None:
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(data)[place + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise UnusableError(f"damaged: the checksum of its {kind.decode('latin-1')} chunk is wrong")
        if kind == b"IEND":
            return
        place = end + 4
    raise UnusableError("cut off: the end of the PNG data is missing")
