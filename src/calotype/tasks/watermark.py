"""Reading the watermark of a key in a picture: back to the noise that the sampler started from, and a test of its signs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from calotype import pictures
from calotype.errors import UserError
from calotype.provenance.detection import ALPHA, WatermarkMatch, best_matches
from calotype.provenance.marker import Marker
from calotype.provenance.watermark import WatermarkKey
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.sample import Generator
from calotype.types import ImageSpec

BATCH = 64  # images whose noise is sought at once
MOST_CELLS = 4_096  # of a grid: how many there are is what its marker says, whoever wrote that


@dataclass(frozen=True)
class WatermarkReading:
    """What the key of a watermark finds in a picture."""

    key: str  # id of the key
    found: bool  # at a false positive rate of `calotype.provenance.detection.ALPHA`
    p: float  # how probable so good a fit is in a picture that has nothing to do with the key
    images: tuple[int, ...]  # those in which it was found, each p-value times the number of images: places in a grid, 0 of a single picture
    looked_at: int  # images in the picture
    agreeing: float  # share of the signs that agree in the image that fits best; about a half without a watermark
    resized: tuple[int, int] | None = None  # the width and height that the picture had, where it was brought to those of the model

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_watermark(generator: Generator, pixels: NDArray[np.uint8], key: WatermarkKey, marker: Marker | None = None) -> WatermarkReading:
    """What ``key`` finds in a picture (H, W, C) that the model of ``generator`` may have drawn.

    A grid is cut where its ``marker`` says that it is one; any other picture is brought to the size and the channels of the model. Of
    several images the smallest p-value counts, times their number (Bonferroni).

    Raises:
        UserError: for a model whose samples cannot be inverted, and for a grid of more than `MOST_CELLS`.
    """
    spec = generator.spec
    images, resized = _images(pixels, spec, marker)
    found = watermarks_in(generator, images, key)
    best = min(found, key=lambda one: one.p)
    p = min(1.0, best.p * len(found))
    places = tuple(place for place, one in enumerate(found) if one.p * len(found) <= ALPHA)
    return WatermarkReading(key.id, p <= ALPHA, p, places, len(found), best.agreeing, resized)


def watermarks_in(generator: Generator, images: NDArray[np.uint8], key: WatermarkKey) -> list[WatermarkMatch]:
    """The pattern of ``key`` that fits each of the images (N, H, W, C) best, which have the shape of the model's own.

    Raises:
        UserError: for a model whose samples cannot be inverted.
    """
    return best_matches(noise_of(generator, images), key)


@torch.no_grad()
def noise_of(generator: Generator, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The starting noise (N, D) that leads to the images (N, H, W, C). Raises `UserError` for a model that cannot tell."""
    model = generator.inverting()
    parts = (to_tensor(images[start : start + BATCH]).to(generator.device) for start in range(0, len(images), BATCH))
    return torch.cat([model.invert(part).float().cpu() for part in parts]).nan_to_num(0.0, 0.0, 0.0).numpy()


def _images(pixels: NDArray[np.uint8], spec: ImageSpec, marker: Marker | None) -> tuple[NDArray[np.uint8], tuple[int, int] | None]:
    """The images of a picture in the shape of a model, and the size that a single one had where it was another."""
    if pixels.shape[2] != spec.channels:
        pixels = np.asarray(pictures.to_picture(pixels).convert("L" if spec.channels == 1 else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], spec.channels)
    side, cells = (spec.size, spec.size), 0 if marker is None else marker.cells
    if marker is not None and cells:
        columns = marker.columns or None
        if pictures.grid_shape(cells, side, columns)[2:] == pixels.shape[:2]:
            if cells > MOST_CELLS:
                raise UserError(f"a grid of {cells:,} images: a watermark is read in {MOST_CELLS:,} at most, give a part of them")
            cut = pictures.cells(pixels, cells, spec.size, columns)
            factor = cut.shape[1] // spec.size
            return cut[:, factor // 2 :: factor, factor // 2 :: factor], None
    if pixels.shape[:2] == side:
        return pixels[None], None
    high, wide = pixels.shape[:2]
    fitted = np.asarray(pictures.to_picture(pixels).resize(side, Image.Resampling.LANCZOS)).reshape(1, *side, spec.channels)
    return fitted, (wide, high)
