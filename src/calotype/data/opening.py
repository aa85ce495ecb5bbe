"""A picture file opened by Pillow: what it says of itself, within limits, before and after its pixels are decoded."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

from calotype.data import tiff
from calotype.data.complete import check_complete, essential
from calotype.data.depth import words_of
from calotype.data.kinds import HEAD, is_heif, looks_like_image, reads_heif, unread_kind
from calotype.data.parts import check_parts
from calotype.data.reading import TooDeepError, TooLargeError, UnusableError, first_line, reading

MAX_PIXELS = 64 * 2**20  # of an image: 8,192 x 8,192; read from the header before anything is decoded
DENSE = 8  # bytes for each pixel that it may hold, packed in a file or unpacked: four channels of 16 bits
MAX_BYTES = 256 * 2**20  # of a file, as its folder or archive declares it
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "QOI", "PCX", "SGI")
_ORIENTATION, _SIDEWAYS = 0x0112, {5, 6, 7, 8}  # the EXIF tag, and its values that turn the image by a quarter
_GRAY = {"1", "L", "LA", "La", "I", "F"}
_PALETTES = {"RGB", "RGBA", "RGBX", "BGR", "BGRX", "BGRA", "RGB;L"}
_UNKNOWN = re.compile(
    r"unknown (?!data org)|unsupported|not (yet )?supported|cannot handle|unable to determine|not available|unrecognized", re.IGNORECASE
)
_BAND = 2**20  # pixels that are worked on at a time

Opener = Callable[[BinaryIO, str], ImageFile.ImageFile]


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded."""

    format: str
    mode: str
    width: int  # upright, as far as the header tells
    height: int
    gray: bool
    animated: bool
    memory: int = 0  # bytes that its pixels take as they are decoded

    @property
    def size(self) -> str:
        """Width and height for people."""
        return f"{self.width}x{self.height}"

    def memory_at(self, size: int) -> int:
        """Bytes that its pixels take where it will be shrunk to this height and width, for which a JPEG file is decoded smaller."""
        scale = 1
        while self.format in ("JPEG", "MPO") and scale < 8 and min(self.width, self.height) >= 4 * scale * size:
            scale *= 2
        return self.memory // scale**2


def read_header(file: BinaryIO, name: str, limit: int = MAX_PIXELS) -> Header:
    """What the file says of itself, without decoding it, of ``limit`` pixels at most. Raises ``UnusableError``."""
    with reading("its header cannot be read"):
        if deep := tiff.layout(file):
            check_deep(deep, limit)
            return Header("TIFF", deep.mode, *deep.upright, deep.gray, deep.pages, deep.memory)
        file.seek(0)
        try:
            image = opened(file, name, limit)
        except UnusableError:
            file.seek(0)
            if (bare := essential(file.read())) is None:
                raise
            image = opened(io.BytesIO(bare), name, limit)
        return _describe(image)


def opened(file: BinaryIO, name: str, limit: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """The image in a file, not decoded yet, of ``limit`` pixels at most. Raises ``UnusableError``, and whatever Pillow does."""
    start = file.read(HEAD)
    if not start:
        raise UnusableError("the file is empty")
    if kind := unread_kind(start, os.path.splitext(name)[1].lower()):
        raise UnusableError(kind)
    check_parts(file, start)
    image = _identified(file, name, start)
    if tiff.RAW in getattr(image, "tag_v2", {}):
        raise UnusableError(str(unread_kind(b"", ".dng")))
    _check_size(image.size, limit)
    return image


def loaded(image: ImageFile.ImageFile, limit: int) -> Image.Image:
    """An image that was opened, decoded and upright. Raises as `opened` does."""
    if image.format == "TIFF" and tiff.parted(image):
        raise UnusableError("TIFF of a kind that is not read: planes of more than 8 bits of something else than RGB")
    if image.format == "TIFF" and image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
        tiff.make_room(image)
    image.load()
    _check_size(image.size, limit)  # an icon may hold more than its header says
    with suppress(Exception):  # broken EXIF data does not degrade the pixels
        ImageOps.exif_transpose(image, in_place=True)
    return image


def bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of parts of an image that are small beside a large one."""
    rows = max(1, _BAND // max(1, width))
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def check_deep(found: tiff.Layout, limit: int) -> None:
    """Raise ``UnusableError`` for a TIFF file of more than ``limit`` pixels, or of more bytes than so many could need."""
    _check_size(found.size, limit)
    if found.memory > DENSE * limit:
        raise TooDeepError(found.size, found.memory, DENSE * limit)


def _check_size(size: tuple[int, int], limit: int) -> None:
    if min(size) < 1:
        raise UnusableError("has no pixels")
    if size[0] * size[1] > limit:
        raise TooLargeError(size, limit)


def _openers(name: str) -> Iterator[tuple[str, Callable[[bytes], object], Opener]]:
    """Formats, whether a file begins as theirs do, and what opens it. TGA has no magic number, so that only a name can suggest it.

    The readers are called themselves, for `Image.open` has a limit of its own and keeps to itself why a file could not be opened.
    """
    Image.init()
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        if factory is not None and accept is not None:
            yield form, accept, factory
    if name.lower().endswith(".tga"):
        yield "TGA", lambda start: True, Image.OPEN["TGA"][0]
    if reads_heif():
        from pillow_heif import HeifImageFile

        yield "HEIC", is_heif, HeifImageFile


def _identified(file: BinaryIO, name: str, start: bytes) -> ImageFile.ImageFile:
    failed: tuple[str, Exception] | None = None
    for form, accepts, opener in _openers(name):
        file.seek(0)
        found = False
        try:
            found = accepts(start) is True
            if found:
                return opener(file, "")
        except Exception as error:
            failed = failed or ((form, error) if found else None)
    if failed is None:
        raise UnusableError(
            "begins like an image but its header is broken" if looks_like_image(start) else "not an image in a known format"
        )
    form, cause = failed
    words = tiff.describe(file) if form == "TIFF" else first_line(cause)
    if isinstance(cause, Image.DecompressionBombError):
        raise UnusableError(f"a part of it has more pixels than the limit of {MAX_PIXELS:,}") from cause
    if words and (_UNKNOWN.search(str(cause)) or ", compression" in words):
        raise UnusableError(f"{form} of a kind that is not read: {words}") from cause
    file.seek(0)
    check_complete(file.read())  # what is missing says more than how the decoder stumbled over it
    raise UnusableError(f"damaged: its header cannot be read ({first_line(cause)})") from cause


def _describe(image: Image.Image) -> Header:
    gray = image.mode in _GRAY or image.mode.startswith("I;16") or (image.mode == "P" and _gray_palette(image))
    frames = getattr(image, "is_animated", False) if image.format not in ("MPO", "HEIF") else False
    width, height = image.size
    with suppress(Exception):  # of broken EXIF data
        if "exif" in image.info and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
    wide = any(";16" in word for word in words_of(image)) or image.mode in ("I", "F")
    memory = width * height * (DENSE if wide else len(image.getbands()) if len(image.getbands()) < 2 else 4)
    return Header(image.format or "?", image.mode, width, height, gray, bool(frames), memory)


def _gray_palette(image: Image.Image) -> bool:
    """Whether a palette holds no color, without decoding the pixels."""
    if image.palette is None or (image.palette.rawmode or image.palette.mode) not in _PALETTES:
        return False
    kind, data = image.palette.rawmode or image.palette.mode, np.frombuffer(bytes(image.palette.palette), np.uint8)
    colors = data.reshape(3, -1).T if kind == "RGB;L" else data[: len(data) // len(kind) * len(kind)].reshape(-1, len(kind))
    return bool((colors[:, :3] == colors[:, :1]).all())
