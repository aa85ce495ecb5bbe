"""One image file to training pixels: 8 bits, gray or color, transparency laid on white; or a reason why not. Nothing is ever half read.

What becomes of formats, modes and depths: see `calotype.data.samples`. 16 bits are divided by 257 and rounded; color profiles are ignored
but by CMYK.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from calotype.data import tiff
from calotype.data.complete import check_complete, essential
from calotype.data.fit import Fit, fit_image, tiles
from calotype.data.images import Pixels
from calotype.data.opening import MAX_BYTES, MAX_PIXELS, Header, bands, loaded, opened, read_header
from calotype.data.reading import TooLargeError, UnusableError, reading
from calotype.data.samples import Content, is_deep, layers, on_white, read, read_opened, to_8bit

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Header",
    "TooLargeError",
    "UnusableError",
    "decode",
    "decode_fitted",
    "decode_tiles",
    "read_header",
]


def decode(data: bytes, name: str, at_least: int | None = None) -> Image.Image:
    """The whole image, upright, as mode L or RGB. Raises ``UnusableError``.

    Args:
        data: The file.
        name: Its name, for the one format (TGA) that only a name tells.
        at_least: The caller will shrink to this height and width, so that a large JPEG may be decoded at the
            smallest of 1/2, 1/4, 1/8 of its size that still is twice as large in both directions.
    """
    with reading():
        if tiff.layout(io.BytesIO(data)):
            return _shallow(read(data, name))
        try:
            return _opened(data, name, at_least)
        except Exception:
            if essential(data) is None:
                raise
            return _shallow(read(data, name))


def _opened(data: bytes, name: str, at_least: int | None) -> Image.Image:
    with opened(io.BytesIO(data), name) as image:
        if is_deep(image, data):
            return _shallow(read_opened(image, data, name, MAX_PIXELS))
        check_complete(data)
        if at_least is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * at_least, 2 * at_least))
        return _flat(loaded(image, MAX_PIXELS))


def decode_fitted(data: bytes, name: str, size: int, channels: int, fit: Fit) -> Pixels:
    """The image brought to (size, size, channels) uint8. Raises ``UnusableError``."""
    image = decode(data, name, at_least=size)
    with reading():
        return _table(fit_image(image, size, fit), channels)


def decode_tiles(data: bytes, name: str, size: int, channels: int) -> list[Pixels]:
    """The image cut into squares (size, size, channels) uint8. Raises ``UnusableError``."""
    image = decode(data, name)
    if min(image.size) < size:
        raise UnusableError(f"{image.width}x{image.height} is smaller than a tile of {size} pixels")
    with reading():
        return [_table(tile, channels) for tile in tiles(image, size)]


def _table(image: Image.Image, channels: int) -> Pixels:
    return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(image.height, image.width, channels)


def _shallow(content: Content) -> Image.Image:
    """What was read, as pixels of 8 bits."""
    pixels, alpha = content.pixels, content.alpha
    shown: Pixels = np.empty(pixels.shape, np.uint8)
    for first, last in bands(pixels.shape[1], len(pixels)):  # so that no whole picture of 16 bits is made besides
        part = pixels[first:last]
        shown[first:last] = to_8bit(part if alpha is None else on_white(part, alpha[first:last]))
    del content, pixels, alpha, part
    return Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown)


def _flat(image: Image.Image) -> Image.Image:
    """A loaded image of 8 bits as mode L or RGB, on white, by bands where it has transparency."""
    if not image.has_transparency_data:
        return layers(image)[0]
    page: Image.Image | None = None
    for top, bottom in bands(*image.size):
        part, alpha, _ = layers(image.crop((0, top, image.width, bottom)))
        page = page or Image.new(part.mode, image.size, "white")
        page.paste(part, (0, top), alpha)
    assert page is not None
    return page
