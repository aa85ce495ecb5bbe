"""Points as pictures: scatter plots around the modes that they should reach, and several of them over time in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from calotype.modes import PointModes

SIDE = 480  # pixels a side of a scatter plot
OPACITY = 0.45  # of one point
_INK, _MODE = np.array([28, 93, 143]), (205, 205, 205)  # of points, and of the circles around modes
_DOT = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))  # right and down
_LABEL, _GAP = 18, 6  # pixels above and between the panels


def in_units(points: Tensor, modes: PointModes) -> NDArray[np.float32]:
    """Points (N, 2, 1, 1) in [-1, 1], as ``sample`` returns them, as places (N, 2) in units of the testbed."""
    places: NDArray[np.float32] = (points.detach().float().flatten(1) * modes.scale).cpu().numpy()
    return places


def scatter(places: NDArray[np.floating], modes: PointModes) -> Image.Image:
    """Places (N, 2), in units of the testbed, as a square picture on white: blue dots, darker where several lie on each other.

    Gray circles are three standard deviations around the modes: inside of them a point is of high quality. Left to right and bottom to
    top the picture goes from - to + ``modes.scale``; what lies outside is left out.
    """
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    pen, radius = ImageDraw.Draw(sheet), 3 * modes.std / modes.scale * SIDE / 2
    for x, y in _pixels(np.asarray(modes.centers), modes).tolist():
        pen.ellipse((x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1), outline=_MODE)
    found = np.floor(_pixels(places, modes)).astype(np.int64)
    found = found[((found >= 1) & (found < SIDE - 1)).all(1)] - 1
    count = np.zeros((SIDE, SIDE))
    for right, down in _DOT:
        np.add.at(count, (found[:, 1] + down, found[:, 0] + right), 1)
    clear = ((1 - OPACITY) ** count)[..., None]
    mixed = np.asarray(sheet) * clear + _INK * (1 - clear)
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def panels(shown: Sequence[tuple[str, Image.Image]], columns: int = 3, side: int = SIDE * 2 // 3) -> Image.Image:
    """Pictures under their titles in rows, in the order of reading, each ``side`` pixels wide and high."""
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (side + _GAP) - _GAP, rows * (side + _LABEL + _GAP) - _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (title, picture) in enumerate(shown):
        top, left = place // columns * (side + _LABEL + _GAP), place % columns * (side + _GAP)
        pen.text((left + 4, top + 2), title, fill=(60, 60, 60))
        sheet.paste(picture.convert("RGB").resize((side, side), Image.Resampling.BOX), (left, top + _LABEL))
        pen.rectangle((left, top + _LABEL, left + side - 1, top + _LABEL + side - 1), outline=_MODE)
    return sheet


def _pixels(places: NDArray[np.floating], modes: PointModes) -> NDArray[np.float64]:
    """Places in pixels of the picture, from its upper left corner."""
    found: NDArray[np.float64] = (places * np.array([1, -1]) / modes.scale + 1) * SIDE / 2
    return found
