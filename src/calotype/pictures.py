"""The edge between tensors in [-1, 1] and pictures that people look at."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from calotype.errors import UserError
from calotype.files import write_atomic
from calotype.provenance import embed
from calotype.provenance.marker import Marker

Number = TypeVar("Number", bound=np.generic)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of pictures that are written side by side."""

WHITE = 230  # the mean level from which on what lies between places is white, in lossy files as well
SAMPLE = Marker("sample")
"""What images say of themselves of which no more is known than that a model drew them."""


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(N, C, H, W) float32 in [-1, 1] as (N, H, W, C) uint8, clipped and rounded to the nearest.

    >>> to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0]).reshape(1, 1, 1, 4)).ravel().tolist()
    [0, 0, 128, 255]
    """
    scaled = (images.detach().float().clamp(-1, 1) * 127.5 + 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def like(picture: Tensor, image: Tensor) -> Tensor:
    """A picture (N, 1 or 3, h, w), shown in the size and with the channels of ``image`` (N, C, H, W)."""
    shown = picture.expand(-1, image.shape[1], -1, -1) if picture.shape[1] == 1 else picture
    shown = shown.mean(1, keepdim=True) if image.shape[1] < shown.shape[1] else shown
    return torch.nn.functional.interpolate(shown, size=image.shape[2:], mode="nearest")


def to_picture(image: NDArray[np.uint8]) -> Image.Image:
    """(H, W, C) uint8 with one or three channels as a picture."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def grid_shape(count: int, size: tuple[int, int], columns: int | None = None, gap: int = 2, least: int = 480) -> tuple[int, int, int, int]:
    """Columns and factor, and the height and width in pixels, of the `grid` of ``count`` images of ``size`` (height, width)."""
    columns = columns or math.ceil(math.sqrt(count))
    high, wide = math.ceil(count / columns) * (size[0] + gap) + gap, columns * (size[1] + gap) + gap
    factor = max(1, math.ceil(least / wide))
    return columns, factor, high * factor, wide * factor


def grid(images: NDArray[np.uint8], columns: int | None = None, gap: int = 2, least: int = 480) -> Image.Image:
    """(N, H, W, C) uint8 side by side on white, enlarged by a whole factor until the width is ``least`` pixels or more."""
    count, height, width, channels = images.shape
    columns, factor, high, wide = grid_shape(count, (height, width), columns, gap, least)
    sheet = np.full((high // factor, wide // factor, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (gap + at * (side + gap) for at, side in zip(divmod(index, columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = image
    return to_picture(sheet.repeat(factor, 0).repeat(factor, 1))


def ungrid(picture: Image.Image, count: int, size: int, channels: int, gap: int = 2) -> NDArray[np.uint8] | None:
    """The images that ``grid`` laid side by side, (count, size, size, channels) uint8; None where the picture is no such grid."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    wide, high = (n * (size + gap) + gap for n in (columns, rows))
    factor = picture.width // wide
    if factor < 1 or picture.size != (wide * factor, high * factor) or picture.mode != ("L" if channels == 1 else "RGB"):
        return None
    return cells(np.asarray(picture).reshape(high * factor, wide * factor, channels)[::factor, ::factor], count, size, gap=gap)


def cells(sheet: NDArray[Number], count: int, size: int, columns: int | None = None, gap: int = 2) -> NDArray[Number]:
    """What lies in the places of the images of a `grid`, (count, s, s, C), of a sheet (H, W, C) that may be enlarged by a whole factor."""
    columns = columns or math.ceil(math.sqrt(count))
    factor = sheet.shape[1] // (columns * (size + gap) + gap)
    size, gap = factor * size, factor * gap
    corners = ((gap + at * (size + gap) for at in divmod(index, columns)) for index in range(count))
    return np.stack([sheet[top : top + size, left : left + size] for top, left in corners])


def layouts(sheet: NDArray[np.uint8], size: int, gap: int = 2) -> list[tuple[int, int]]:
    """Columns and rows of every `grid` of images of ``size`` that a sheet (H, W, C) may be, by its size and the white between places."""
    found, (high, wide) = [], sheet.shape[:2]
    for columns in range(1, wide // size + 1):
        factor = grid_shape(columns, (size, size), columns, gap)[1]  # follows from the width alone, and the rows from both
        rows = (high // factor - gap) // (size + gap)
        if rows > 0 and grid_shape(columns * rows, (size, size), columns, gap)[2:] == (high, wide):
            empty = np.asarray(grid(np.zeros((columns * rows, size, size, 1), np.uint8), columns, gap)) == 255
            if sheet[empty].mean() >= WHITE:
                found.append((columns, rows))
    return found


def save_grid(images: Tensor, path: str | Path, columns: int | None = None, marker: Marker | None = SAMPLE) -> Path:
    """Write images (N, C, H, W) in [-1, 1], as ``sample`` returns them, as one picture in rows; returns its place.

    The file says that a model drew them, and with what `Generator.marker` returns also how; with ``marker=None``, for images that no
    model drew, it says nothing.

    Raises:
        UserError: for a suffix that is no picture's, and for no image at all.
        OSError: where the file cannot be written.
    """
    path = _named(Path(path))
    _require_color(images)
    if not len(images):
        raise UserError(f"{path}: there is no image to write")
    save(grid(to_uint8(images), columns), path, marker and replace(marker, columns=columns or 0))
    return path


def save_images(images: Tensor, folder: str | Path, start: int = 0, marker: Marker | None = SAMPLE) -> list[Path]:
    """Write images (N, C, H, W) in [-1, 1] as PNG files, numbered from ``start``, into a folder, made where it is missing.

    ``marker`` is that of all of them, as for `save_grid`; each file gets its own.
    """
    _require_color(images)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:06d}.png" for index in range(start, start + len(images))]
    for place, (image, path) in enumerate(zip(to_uint8(images), paths, strict=True)):
        save(to_picture(image), path, marker and marker.one(place))
    return paths


def _require_color(images: Tensor) -> None:
    """Raise `UserError` for points, which are no pictures."""
    if images.shape[1] not in (1, 3):
        raise UserError(f"images of {images.shape[1]} channels are no pictures: points are numbers, in units of 1 / scale")


def _named(path: Path) -> Path:
    """The name of a picture, which is PNG where it says nothing. Raises `UserError` for a suffix that is no picture's."""
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: {path.suffix} is no suffix of a picture: take one of {', '.join(SUFFIXES)}")
    return path if path.suffix else path.with_name(path.name + ".png")


def save(picture: Image.Image, path: Path, marker: Marker | None = None) -> None:
    """Write a picture whole or not at all, in the format that the name says (PNG where it says none), with what made it."""
    kind = format_of(path)
    write_atomic(path, lambda stream: picture.save(stream, kind, **embed.save_options(kind, marker)))


def format_of(path: Path) -> str:
    """The format that the name of a picture says, in Pillow's words."""
    return Image.registered_extensions().get(path.suffix.lower(), "PNG")
