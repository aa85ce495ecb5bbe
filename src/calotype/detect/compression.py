"""How the file of an image was compressed, and how another image is compressed alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from PIL import Image, JpegImagePlugin
from pydantic import Field

from calotype.data.opening import opened
from calotype.data.reading import reading

# the luminance table of the JPEG standard (ITU-T T.81, table K.1), row by row, which is quality 50
_BASE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 18 22 37 56 68 109 103 77 24 35 55 64"
)
_BASE += " 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
BASE = np.array(_BASE.split(), np.float64)
_JPEG = ("JPEG", "MPO")
_LOSSY = ("WEBP", "AVIF", "JPEG2000", "HEIF")
TableStep = Annotated[int, Field(ge=1, le=65_535)]


@dataclass(frozen=True)
class Compression:
    """What the file of an image says of what was lost. ``format`` is empty for a file that loses nothing."""

    format: Annotated[str, Field(pattern="^(JPEG|WEBP|AVIF|JPEG2000|HEIF)?$")] = ""
    tables: Annotated[tuple[Annotated[tuple[TableStep, ...], Field(min_length=64, max_length=64)], ...], Field(max_length=4)] = ()
    sampling: Annotated[int, Field(ge=-1, le=2)] = -1  # of color in a JPEG file: 0 whole, 1 half of the columns, 2 a quarter; -1 unknown

    @property
    def quality(self) -> float | None:
        """From 1 to 100 as the Independent JPEG Group counts, the one whose table is nearest on average; None for anything but JPEG."""
        if not self.tables:
            return None
        scale = 100 * float(np.mean(np.array(self.tables[0]) / BASE))
        return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))

    def of(self, image: Image.Image) -> Image.Image:
        """An image (mode L or RGB) as it comes back from such a file; the image itself where nothing is known to be lost."""
        if not self.tables:
            return image
        options: dict[str, Any] = {"qtables": [list(table) for table in self.tables]}
        if image.mode == "RGB" and self.sampling >= 0:
            options["subsampling"] = self.sampling
        return _through(image, options)


LOSSLESS = Compression()


def compression_of(data: bytes, name: str) -> Compression:
    """How a file was compressed, as its header says. Raises ``UnusableError``."""
    with reading("its header cannot be read"):
        image = opened(io.BytesIO(data), name)
        if image.format in _JPEG and isinstance(image, JpegImagePlugin.JpegImageFile):
            tables = tuple(tuple(int(step) for step in table) for _, table in sorted(image.quantization.items()))
            return Compression("JPEG", tables, JpegImagePlugin.get_sampling(image))
        if image.format == "WEBP" and data[12:16] == b"VP8L":
            return LOSSLESS
        return Compression(image.format) if image.format in _LOSSY else LOSSLESS


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """An image (mode L or RGB) as it comes back from a JPEG file of a quality, as Pillow writes it, color at half the resolution."""
    return _through(image, {"quality": quality})


def jpeg(quality: int, color: bool) -> Compression:
    """What `recompressed` leaves in a file."""
    stream = io.BytesIO()
    Image.new("RGB" if color else "L", (16, 16)).save(stream, "JPEG", quality=quality)
    return compression_of(stream.getvalue(), "image.jpg")


def qualities(several: Sequence[Compression]) -> tuple[float, ...]:
    """The JPEG qualities among compressions, in rising order."""
    return tuple(sorted(found for one in several if (found := one.quality) is not None))


def _through(image: Image.Image, options: dict[str, Any]) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    back = Image.open(stream, formats=["JPEG"])
    back.load()
    return back
