"""Names and places of the pictures and arrays that commands write, looked at before anything is computed."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from calotype import pictures
from calotype.data.images import some
from calotype.engine.device import require_memory
from calotype.errors import CalotypeError, UserError
from calotype.files import obstacle, write_atomic
from calotype.provenance import embed
from calotype.provenance.marker import UNMARKED, Marker, Provenance
from calotype.spelling import as_options
from calotype.types import ImageSpec

LONGEST = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".gif": 65_535}
"""Pixels a side of the largest picture by suffix."""


def write_npy(path: Path, images: np.ndarray) -> None:
    """Write an array as a .npy file, whole or not at all."""
    write_atomic(path, lambda stream: np.save(stream, images, allow_pickle=False))


def write_grid(path: Path, images: np.ndarray, columns: int | None = None, marker: Marker | None = None) -> None:
    """Write all images side by side, in the format that the name says, whole or not at all, and say where it holds no marker."""
    write_picture(path, pictures.grid(images, columns), some(len(images), "image"), marker)


def write_picture(path: Path, picture: Image.Image, what: str, marker: Marker | None = None) -> None:
    """Write a picture of ``what`` as `write_grid` does."""
    try:
        pictures.save(picture, path, marker)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise CalotypeError(f"{path}: a picture of {what} is more than its format holds; give a name in .png") from None
    if marker is not None and (form := pictures.format_of(path)) not in embed.FORMATS:
        print(f"calotype: {path}: {embed.unmarked(form)}", file=sys.stderr)


def tell_unmarked(level: Provenance) -> None:
    """Say so where pictures were written without a marker."""
    if level == "none":
        print(f"calotype: {as_options(UNMARKED)}", file=sys.stderr)


def picture_name(path: Path) -> Path:
    """The name of a picture, with a suffix. Raises `UserError` for a suffix that is no picture's."""
    return with_suffix(path, ".png", pictures.SUFFIXES)


def require_place(path: Path) -> None:
    """Raise `UserError` where a file cannot be written, before anything is computed."""
    if reason := obstacle(path):
        raise UserError(f"cannot write {path}: {reason}; choose another place")


def require_grid(path: Path, count: int, spec: ImageSpec, columns: int | None = None) -> None:
    """Raise `UserError` for more images than one picture holds, before any of them is made."""
    _, _, high, wide = pictures.grid_shape(count, (spec.size, spec.size), columns)
    what, suffix = f"{path}: {some(count, 'image')} side by side, {wide:,}x{high:,} pixels,", path.suffix.lower()
    if max(high, wide) > LONGEST.get(suffix, high + wide):
        raise UserError(f"{what} are more than {suffix[1:].upper()} holds: ask for fewer, or give a name in .png")
    require_memory(2 * high * wide * spec.channels, what, "ask for fewer")


def with_suffix(path: Path, suffix: str, known: tuple[str, ...]) -> Path:
    """``path`` with a suffix that says what will be in the file."""
    if not path.name or (os.path.exists(path) and not os.path.isfile(path)):
        return path  # a folder or a device, which is refused later
    if not path.suffix:
        return path.with_name(path.name + suffix)
    if path.suffix.lower() not in known:
        raise UserError(f"{path}: unknown suffix {path.suffix}, choose {'one of ' * (len(known) > 1)}{', '.join(known)}")
    return path


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a table as the text of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
