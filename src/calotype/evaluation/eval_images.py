"""Pictures to judge a restorer by: those that its run held out, or whole ones from any source."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from calotype import data as sources
from calotype import degrade
from calotype.data.decode import UnusableError, decode
from calotype.data.download import PUBLIC
from calotype.data.embedded import NAMES
from calotype.data.files import Files
from calotype.data.folder_layout import arrange
from calotype.data.images import Images
from calotype.data.load import find
from calotype.degrade import Degradation
from calotype.errors import UserError, printable
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec

LARGEST = 1536  # pixels a side that are looked at of a picture: the middle of a larger one
SMALLEST = 16  # pixels a side of a picture that can be judged, and half of that where it was made smaller


@dataclass(frozen=True)
class EvalImage:
    """One picture to degrade and to restore."""

    name: str
    truth: Tensor  # (1, C, H, W) float32 in [-1, 1]
    source: Tensor | None = None  # (1, C', h, w): what it is to be made from, where the data have it

    @property
    def megapixels(self) -> float:
        """Its size."""
        return self.truth.shape[2] * self.truth.shape[3] / 1e6


def degradation_of(spec: ImageSpec) -> Degradation | None:
    """How the sources of a model come from its images; None where the data themselves hold both."""
    assert spec.source is not None
    return degrade.parse(spec.source.degradation) if spec.source.degradation else None


def of_images(images: Images, count: int, seed: int, scale: int) -> list[EvalImage]:
    """``count`` of some images, chosen with ``seed``, sides cut to a multiple of ``scale``."""
    order = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
    partner = images.partner
    found = []
    for row in order:
        truth = _tensor(images.pixels[row], scale)
        source = None if partner is None else to_tensor(np.asarray(partner.pixels[row])[None])
        found.append(EvalImage(f"{images.name} {row + 1}", truth, source))
    return found


def of_source(source: str, channels: int | None, count: int, seed: int, scale: int) -> list[EvalImage]:
    """``count`` whole pictures of a source in their own sizes; of one that holds out a part of itself, that part.

    ``channels`` is 1 or 3, or None for as many as each picture has.

    Raises `UserError` for a source that is none and where no picture can be used.
    """
    if source in PUBLIC or source in NAMES:
        split = sources.load(source, channels=channels, fit="tile")
        return of_images(split.holdout, count, seed, scale)
    found = find(source)
    if not isinstance(found, Files):
        return of_images(sources.load(source, channels=channels, fit="tile", holdout=0).train, count, seed, scale)
    with closing(found):
        tree = arrange(found.listing().images)
        names = [name for name, held in zip(tree.names, tree.holdout, strict=True) if held] if tree.holdout is not None else tree.names
        order = np.sort(np.random.default_rng(seed).permutation(len(names))[:count])
        pictures, reason = [], "it holds no pictures"
        for name in (names[i] for i in order):
            try:
                picture = decode(found.read(name), name)
            except UnusableError as error:
                reason = f"{printable(name)} {error}"
                continue
            if min(picture.size) < SMALLEST * max(1.0, scale / 2):
                reason = f"{printable(name)} is {picture.width}x{picture.height}, too small"
                continue
            gray = picture.mode == "L" if channels is None else channels == 1
            pixels = np.asarray(picture.convert("L" if gray else "RGB")).reshape(picture.height, picture.width, -1)
            pictures.append(EvalImage(printable(name), _tensor(pixels, scale)))
    if not pictures:
        raise UserError(f"no picture of {source} can be restored ({reason}): name others with `data`")
    return pictures


def within(pictures: list[EvalImage], megapixels: float) -> list[EvalImage]:
    """The first pictures that together have no more than ``megapixels``; one at least."""
    total = 0.0
    kept: list[EvalImage] = []
    for picture in pictures:
        total += picture.megapixels
        if kept and total > megapixels:
            break
        kept.append(picture)
    return kept


def _tensor(pixels: NDArray[np.uint8], scale: int) -> Tensor:
    """The middle of a picture as (1, C, H, W), its sides multiples of ``scale``."""
    side = LARGEST // scale * scale
    height, width = (min(side, n) // scale * scale for n in pixels.shape[:2])
    top, left = ((n - m) // 2 if n > side else 0 for n, m in zip(pixels.shape[:2], (height, width), strict=True))
    return to_tensor(np.asarray(pixels[top : top + height, left : left + width])[None])
