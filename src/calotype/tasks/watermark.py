"""Reading the watermark of a key in a picture: back to the noise that the sampler started from, and a test of its signs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from calotype import pictures
from calotype.errors import UserError
from calotype.provenance.detection import ALPHA, WatermarkMatch, best_matches, match_of
from calotype.provenance.watermark import WatermarkKey
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.sample import Generator
from calotype.types import ImageSpec

BATCH = 64  # images whose noise is sought at once
MOST_CELLS = 4_096  # of a grid
CHECKED = 32  # marked images of a drawing that are read again
EMPTY = 250  # the level from which on a place without an image is white, in lossy files as well

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class WatermarkReading:
    """What the key of a watermark finds in a picture."""

    key: str  # id of the key
    found: bool  # at a false positive rate of `calotype.provenance.detection.ALPHA`
    p: float  # how probable so good a fit is in a picture that has nothing to do with the key, times the number of images read
    images: tuple[int, ...]  # those in which it was found: places in a grid, 0 of a single picture
    looked_at: int  # images in the picture
    agreeing: float  # share of the signs that agree in the image that fits best; about a half without a watermark
    resized: tuple[int, int] | None = None  # the width and height that the picture had, where it was brought to those of the model

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_watermark(generator: Generator, pixels: NDArray[np.uint8], key: WatermarkKey) -> WatermarkReading:
    """What ``key`` finds in a picture (H, W, C) that the model of ``generator`` may have drawn.

    No marker is asked, for it can be forged: a picture that has the size of a grid and is white between its places is read as that, and
    as a whole picture as well, brought to the size and the channels of the model. All p-values count times the number of all images that
    were read (Bonferroni), and of several readings the surest.

    Raises:
        UserError: for a model whose samples cannot be inverted, and for a grid of more than `MOST_CELLS` images.
    """
    grids, whole, resized = _images(pixels, generator.spec)
    found = watermarks_in(generator, np.concatenate([*grids, whole]), key)
    readings, rest = [], iter(found)
    for images, before in [*((grid, None) for grid in grids), (whole, resized)]:
        p, agreeing = zip(*((min(1.0, one.p * len(found)), one.agreeing) for one in islice(rest, len(images))), strict=True)
        places, best = tuple(place for place, one in enumerate(p) if one <= ALPHA), p.index(min(p))
        readings.append(WatermarkReading(key.id, bool(places), p[best], places, len(images), agreeing[best], before))
    # where nothing was found, a grid is told of as one
    return min([one for one in readings if one.found] or readings[:1], key=lambda one: one.p)


def watermarks_in(generator: Generator, images: NDArray[np.uint8], key: WatermarkKey) -> list[WatermarkMatch]:
    """The pattern of ``key`` that fits each of the images (N, H, W, C) best, which have the shape of the model's own.

    Raises:
        UserError: for a model whose samples cannot be inverted.
    """
    return best_matches(noise_of(generator, images), key)


def found_again(generator: Generator, images: Pixels, key: WatermarkKey, seed: int, at_once: int = BATCH) -> int:
    """In how many of the first images (N, H, W, C) that were drawn with ``key`` and ``seed`` a reader finds the watermark.

    It is where images were not changed at all: not every model leads back to its noise. No pattern but their own is tried.
    """
    noise = noise_of(generator, images, at_once)
    return sum(match_of(row, key, key.nonce(seed, number)).found for number, row in enumerate(noise))


@torch.no_grad()
def noise_of(generator: Generator, images: NDArray[np.uint8], at_once: int = BATCH) -> NDArray[np.float32]:
    """The starting noise (N, D) that leads to the images (N, H, W, C), so many ``at_once``, `BATCH` at most.

    Raises:
        UserError: for a model that cannot tell.
    """
    model, step = generator.inverting(), min(at_once, BATCH)
    parts = (to_tensor(images[start : start + step]).to(generator.device) for start in range(0, len(images), step))
    return torch.cat([model.invert(part).float().cpu() for part in parts]).nan_to_num(0.0, 0.0, 0.0).numpy()


def _images(pixels: Pixels, spec: ImageSpec) -> tuple[list[Pixels], Pixels, tuple[int, int] | None]:
    """The images of each grid that a picture can be, the whole picture in the shape of a model, and the size that it had if another."""
    if pixels.shape[2] != spec.channels:
        pixels = np.asarray(pictures.to_picture(pixels).convert("L" if spec.channels == 1 else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], spec.channels)
    side, (high, wide) = (spec.size, spec.size), pixels.shape[:2]
    if (high, wide) == side:
        return [], pixels[None], None
    grids = []
    for columns, rows in pictures.layouts(pixels, spec.size):
        if columns * rows > MOST_CELLS:
            raise UserError(f"a grid of {columns * rows:,} places: a watermark is read in {MOST_CELLS:,} at most, give a part of them")
        cut = pictures.cells(pixels, columns * rows, spec.size, columns)
        factor = cut.shape[1] // spec.size
        cut = cut[:, factor // 2 :: factor, factor // 2 :: factor]
        used = np.flatnonzero((cut < EMPTY).any((1, 2, 3)))  # places behind the last image are white
        grids += [cut[: used[-1] + 1]] if len(used) else []
    fitted = np.asarray(pictures.to_picture(pixels).resize(side, Image.Resampling.LANCZOS)).reshape(1, *side, spec.channels)
    return grids, fitted, (wide, high)
