"""Bring a Pillow image or an array of images to one square size and one number of channels."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image

from calotype.data.images import Pixels
from calotype.errors import UserError

Fit = Literal["crop", "pad", "stretch", "tile"]
SIZES = (8, 1024)  # smallest and largest height and width in pixels
KEPT: dict[str, str] = {
    "crop": "the middle square of each is kept",
    "pad": "black borders make each a square",
    "stretch": "each is stretched to a square",
    "tile": "each is cut whole into squares",
}
"""What becomes of images that are not square, by ``fit``."""


def check_options(size: int | None, channels: int | None, fit: str) -> None:
    """Raise ``UserError`` unless size, channels and fit are values that images can be brought to."""
    if size is not None and not SIZES[0] <= size <= SIZES[1]:
        raise UserError(f"size {size} is out of range: give a size from {SIZES[0]} to {SIZES[1]} pixels")
    if channels not in (None, 1, 3):
        raise UserError(f"channels {channels} is not possible: give 1 (gray) or 3 (color)")
    if fit not in get_args(Fit):
        raise UserError(f"fit {fit!r} is unknown: give one of {', '.join(get_args(Fit))}")


def fit_image(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """A square image of ``size`` pixels from an image of mode L or RGB, antialiased (Lanczos with 3 lobes); ``tile`` is for `tiles`.

    ``crop`` keeps the central square, ``pad`` keeps everything between black borders, ``stretch`` ignores the aspect.
    """
    width, height = image.size
    if (width, height) == (size, size):
        return image
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        if side == size:
            return image.crop((int(left), int(top), int(left) + size, int(top) + size))
        return image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = Image.new(image.mode, (size, size))
    out.paste(image.resize(inner, Image.Resampling.LANCZOS), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return out


def tiles(image: Image.Image, size: int) -> list[Image.Image]:
    """Squares of ``size`` pixels that together cover an image, cut without scaling and overlapping evenly; none where it is smaller."""
    across, down = ([round(i * (side - size) / max(1, n - 1)) for i in range(n)] for side in image.size for n in [-(-side // size)])
    if min(image.size) < size:
        return []
    return [image.crop((left, top, left + size, top + size)) for top in down for left in across]


def fit_array(pixels: Pixels, size: int | None, channels: int | None, fit: Fit) -> Pixels:
    """(N, H, W, C) uint8 brought to (N, size, size, channels); ``None`` keeps what is there."""
    count, height, width, own = pixels.shape
    if size is None and height != width:
        raise UserError(f"images are {width}x{height}, not square: say to what size to bring them, for example `size={min(width, height)}`")
    side, depth = size or height, channels or own
    if fit == "tile" and side != height:
        raise UserError(f"images are {width}x{height} and in one array: leave out `size` to take them whole, or `data.fit=tile`")
    if (height, width, own) == (side, side, depth):
        return pixels
    mode = "L" if depth == 1 else "RGB"
    out = np.empty((count, side, side, depth), np.uint8)
    for index, image in enumerate(pixels):
        picture = Image.fromarray(image[:, :, 0] if own == 1 else image)
        out[index] = np.asarray(fit_image(picture, side, fit).convert(mode)).reshape(side, side, depth)
    return out
