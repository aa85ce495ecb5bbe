"""Pictures before and after, side by side, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 480  # pixels of a result that are shown, from its middle
LEAST = 240  # smaller ones are enlarged
ROWS = 6  # files that are shown
_GAP, _LINE = 8, 22  # pixels between pictures; height of a label

LabeledImages = list[tuple[str, Image.Image]]


def cell(pixels: NDArray[Any], size: tuple[int, int]) -> Image.Image:
    """The middle of a picture (h, w, C) uint8 or uint16, shown pixel by pixel in the measure of a result of ``size`` (H, W)."""
    tall, wide = size
    scale = max(1, tall // pixels.shape[0])
    step = scale if tall == scale * pixels.shape[0] else 1
    high, broad = (max(1, min(SIDE, side) // step) for side in size)
    top, left = (max(0, (side // step - part) // 2) for side, part in ((tall, high), (wide, broad)))
    part = pixels[top : top + high, left : left + broad]
    if part.dtype == np.uint16:
        part = (part >> 8).astype(np.uint8)
    part = np.ascontiguousarray(np.broadcast_to(part, (*part.shape[:2], 3)))
    factor = step * max(1, -(-LEAST // max(min(SIDE, tall), min(SIDE, wide))))
    return Image.fromarray(part.repeat(factor, 0).repeat(factor, 1))


def sheet(rows: Sequence[LabeledImages]) -> Image.Image:
    """All rows on white, each picture under its label."""
    font = ImageFont.load_default(14)
    widths = [max(max(picture.width, round(font.getlength(label))) for label, picture in column) for column in zip(*rows, strict=True)]
    heights = [max(picture.height for _, picture in row) + _LINE for row in rows]
    page = Image.new("RGB", (sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _GAP * (len(rows) + 1)), "white")
    pen = ImageDraw.Draw(page)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for (label, picture), width in zip(row, widths, strict=True):
            pen.text((left, top + 2), label, fill="black", font=font)
            page.paste(picture, (left, top + _LINE))
            left += width + _GAP
        top += height + _GAP
    return page
