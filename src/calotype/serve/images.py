"""Images as they come and go: base64 of a PNG, JPEG or WebP file in JSON, with a marker of their making on the way out."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calotype.serve.refusal import Refusal

if TYPE_CHECKING:
    from calotype.provenance.marker import Marker
    from calotype.tasks.files import Picture

STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def file_of(text: str, field: str = "image") -> bytes:
    """The file in a text of base64. Raises `Refusal` (400, 415) for what is none, or begins like none that is taken."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"`{field}` is no base64", field, "base64 of a PNG, JPEG or WebP file") from None
    if not data.startswith(STARTS) or (data.startswith(b"RIFF") and data[8:12] != b"WEBP"):
        raise Refusal(415, f"`{field}` is no PNG, JPEG or WebP file", field, "base64 of a PNG, JPEG or WebP file")
    return data


def picture_of(data: bytes, most: int, field: str = "image") -> Picture:
    """The picture in a file of ``most`` pixels at most. Raises `Refusal`: 413 for more pixels, 400 for a file that is damaged."""
    from calotype.data.reading import TooLargeError, UnusableError
    from calotype.tasks.files import open_picture

    try:
        return open_picture(data, "upload", most)
    except TooLargeError as error:
        raise Refusal(413, f"`{field}`: {error}", field, f"up to {most:,} pixels") from None
    except UnusableError as error:
        raise Refusal(400, f"`{field}` cannot be used: {error}", field, "a whole PNG, JPEG or WebP file") from None


def mask_of(text: str, size: tuple[int, int], most: int) -> NDArray[np.bool_]:
    """Where a picture is white, (H, W). Raises `Refusal` for one of another ``size`` (height, width)."""
    pixels = picture_of(file_of(text, "mask"), most, "mask").pixels
    if pixels.shape[:2] != size:
        said = f"the mask is {pixels.shape[1]}x{pixels.shape[0]} and the image {size[1]}x{size[0]}: they have to be of one size"
        raise Refusal(400, said, "mask", f"{size[1]}x{size[0]} pixels")
    return np.asarray(pixels.mean(2) > np.iinfo(pixels.dtype).max / 2)


def png(pixels: NDArray[np.uint8], marker: Marker | None) -> bytes:
    """Pixels (H, W, C) uint8 as a PNG file that says what made it."""
    from calotype import pictures
    from calotype.provenance import embed

    stream = io.BytesIO()
    pictures.to_picture(pixels).save(stream, "PNG", **embed.save_options("PNG", marker))
    return stream.getvalue()


def text_of(data: bytes) -> str:
    """A file as a text of base64."""
    return base64.b64encode(data).decode("ascii")
