"""What makes real and generated images alike but for their content: one size by one resampling, one history of compressions.

A detector otherwise learns the compression and the size of its two folders instead of what generators leave in images: on GenImage (Zhu et
al. 2023) this alone moves the accuracy by over 11 points (Grommelt et al. 2024). Nobody can take the losses of a file back, so the same
are added to the images that lack them: with the very quantization tables that the files of the other side were compressed by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field

from calotype.data.fit import fit_image
from calotype.data.images import Pixels
from calotype.detect.compression import LOSSLESS, Compression, recompressed
from calotype.errors import UserError
from calotype.settings import Channels, CompressionQuality, NotNegative

POOL = 64  # compressions that are kept of each side
SMALLEST, LARGEST = 16, 256  # pixels a side that images are brought to
SHRINK = 0.75  # of the smallest images where sizes differ: then every image is resampled, and what one program's resampling left is cut off
SMALL = 0.02  # the share of a set that may be smaller than the size, and is left out
LAST = (70, 95)  # qualities of the compression that comes last, of every image
SOFT = (0.0, 0.8)  # standard deviations in pixels of a blur where sizes differ: programs shrink more or less sharply, and their users blur

Compressions = Annotated[tuple[Compression, ...], Field(max_length=POOL)]


@dataclass(frozen=True)
class Equalizer:
    """How any image becomes one that a detector looks at."""

    size: Annotated[int, Field(ge=SMALLEST, le=1024)]  # pixels a side
    channels: Channels
    real: Compressions = ()  # JPEG compressions of the real images; none where their files lose nothing
    generated: Compressions = ()
    last: tuple[CompressionQuality, CompressionQuality] | None = LAST  # None, and nothing is compressed at all: for comparisons
    soft: tuple[NotNegative, NotNegative] | None = None  # of a Gaussian blur behind the resampling, its standard deviation drawn from it
    equal: bool = True  # whether images are made alike; with False the size is all that is brought together

    def __call__(self, image: Image.Image, own: Compression = LOSSLESS) -> Pixels:
        """An image of mode L or RGB, whose file was compressed by ``own``, as (size, size, channels) uint8.

        Random choices follow from the pixels: the same image always becomes the same.
        """
        image = fit_image(self.completed(image, own), self.size, "crop")
        if self.equal and self.soft is not None:
            image = image.filter(ImageFilter.GaussianBlur(float(_draws(image).uniform(*self.soft))))
        if self.equal and self.last is not None:
            low, high = self.last
            image = recompressed(image, int(_draws(image).integers(low, high + 1)))
        return np.asarray(image).reshape(self.size, self.size, self.channels)

    def completed(self, image: Image.Image, own: Compression = LOSSLESS) -> Image.Image:
        """An image of mode L or RGB in its own size, with the compressions that the files of the other side have and its own has not."""
        image = image.convert("L" if self.channels == 1 else "RGB")
        for compression in self._missing(own, _draws(image)) if self.equal else ():
            image = compression.of(image)
        return image

    def _missing(self, own: Compression, draw: np.random.Generator) -> list[Compression]:
        """The compressions that an image lacks, in their order.

        Where one side alone has JPEG files, the images that are none get one like them. Where both sides have, such an image gets one of
        either; then each image gets the weaker of both sides' and the stronger one, so that all end alike.
        """
        sides = [pool for pool in (self.real, self.generated) if pool]
        drawn = [pool[int(draw.integers(len(pool)))] for pool in sides]
        if len(drawn) < 2:
            return drawn if own.quality is None else []
        first = [drawn[int(draw.integers(2))]] if own.quality is None else []
        return [*first, *sorted(drawn, key=lambda one: -(one.quality or 0))]

    def plain(self, image: Image.Image, own: Compression) -> Pixels:
        """The same without what is drawn for each image by itself, where copies of one picture are most alike."""
        return replace(self, soft=None, last=None)(image, own)


def plan(
    real: Sequence[tuple[int, Compression]],
    generated: Sequence[tuple[int, Compression]],
    channels: int,
    size: int | None = None,
    *,
    seed: int = 0,
    equal: bool = True,
) -> Equalizer:
    """The equalizer of two sides, of which the shorter side in pixels and the compression of each image are known.

    Images of one and the same size keep it (up to 256 pixels). Where sizes differ, or both sides have JPEG files of other qualities, all
    are brought to three quarters of the smallest and blurred a little, each by a width of its own: how sharply a program had shrunk
    some of them, and in which order they were compressed, is then a small part of what differs.

    Raises:
        UserError: for images that are too small to be brought to one size, and for a size that some of them do not have.
    """
    sides = np.array([side for side, _ in (*real, *generated)])
    least, same = int(np.quantile(sides, SMALL, method="lower")), bool((sides == sides[0]).all())
    pools = (_pool(real, seed), _pool(generated, seed)) if equal else ((), ())
    alike = not equal or (same and (not all(pools) or set(pools[0]) == set(pools[1])))
    chosen = size or min(LARGEST, least if alike else int(SHRINK * least))
    if size is not None and size > least:
        raise UserError(f"images of {least} pixels cannot be brought to {size}, for enlarging shows: give a smaller `size`")
    if chosen < SMALLEST:
        what = f"images of {least} pixels" if same else f"images of {least} to {int(sides.max())} pixels"
        kept = "" if alike else f", {SHRINK:.0%} of the smallest,"
        raise UserError(f"{what} cannot be equalized: {chosen} pixels{kept} are fewer than {SMALLEST}; leave out the small ones")
    return Equalizer(chosen, channels, pools[0], pools[1], LAST if equal else None, None if alike else SOFT, equal)


def _pool(side: Sequence[tuple[int, Compression]], seed: int) -> tuple[Compression, ...]:
    found = [one for _, one in side if one.tables]
    order = np.random.default_rng([seed, 41]).permutation(len(found))[:POOL]
    return tuple(found[row] for row in sorted(order.tolist()))


def _draws(image: Image.Image) -> np.random.Generator:
    """Random numbers that follow from the pixels."""
    mark = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).digest()
    return np.random.default_rng(int.from_bytes(mark[:8], "little"))
