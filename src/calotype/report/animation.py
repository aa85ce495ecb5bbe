"""Moving pictures: GIF and WebP by Pillow, MP4 where a package that carries an encoder is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from calotype import pictures
from calotype.errors import UserError
from calotype.files import write_atomic
from calotype.provenance import embed
from calotype.provenance.marker import Marker

SUFFIXES = (".gif", ".webp", ".mp4")
MILLISECONDS = 80  # of a frame
ENCODER = "imageio-ffmpeg"


def require_animation(path: Path) -> None:
    """Raise `UserError` where no moving picture can be written under that name."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: give the animation a name in one of {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise UserError(f"{path}: MP4 needs the package {ENCODER} (pip install {ENCODER}), or give a name in .gif or .webp")


def save_animation(frames: Sequence[Image.Image], path: Path, marker: Marker | None = None, milliseconds: int = MILLISECONDS) -> None:
    """Write frames of one size as a moving picture that begins anew at its end, whole or not at all, with what made it.

    An MP4 file holds the marker in its comment, which ``calotype trace`` does not read.

    Raises:
        UserError: for a name that is none of a moving picture, and for MP4 without its package.
    """
    require_animation(path)
    if path.suffix.lower() == ".mp4":
        made = _mp4(frames, marker, milliseconds)
        write_atomic(path, lambda stream: stream.write(made))
        return
    kind, (first, *others) = pictures.format_of(path), frames
    form = {"quality": 90, "method": 4} if kind == "WEBP" else {"disposal": 1}
    told = {**form, **embed.save_options(kind, marker)}
    write_atomic(path, lambda stream: first.save(stream, kind, save_all=True, append_images=others, duration=milliseconds, loop=0, **told))


def _mp4(frames: Sequence[Image.Image], marker: Marker | None, milliseconds: int) -> bytes:
    import imageio_ffmpeg

    colored = [np.asarray(frame.convert("RGB")) for frame in frames]
    high, wide = (side - side % 2 for side in colored[0].shape[:2])  # the usual chroma has half the size
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "animation.mp4"
        said = [] if marker is None else ["-metadata", f"comment={marker.text}"]
        writer = imageio_ffmpeg.write_frames(
            str(place), (wide, high), fps=1000 / milliseconds, macro_block_size=2, quality=8, output_params=said
        )
        writer.send(None)
        for frame in colored:
            writer.send(np.ascontiguousarray(frame[:high, :wide]))
        writer.close()
        return place.read_bytes()
