"""What makes real and generated images alike but for their content: one size by one resampling, one history of compressions.

A detector otherwise learns the compression and the size of its two folders instead of what generators leave in images: on GenImage (Zhu et
al. 2023) this alone moves the accuracy by over 11 points (Grommelt et al. 2024). Nobody can take the losses of a file back, so the same
are added to the images that lack them: with the very quantization tables that the files of the other side were compressed by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from calotype.data.fit import fit_image
from calotype.data.images import Pixels
from calotype.detect.compression import LOSSLESS, Compression, qualities, recompressed
from calotype.errors import UserError
from calotype.settings import Channels, CompressionQuality

POOL = 64  # compressions that are kept of each side
SMALLEST, LARGEST = 16, 256  # pixels a side that images are brought to
SHRINK = 0.75  # of the smallest images where sizes differ: then every image is resampled, and what one program's resampling left is cut off
SMALL = 0.02  # the share of a set that may be smaller than the size, and is left out
LAST = (70, 95)  # qualities of the compression that comes last, of every image

Side = Annotated[int, Field(ge=1)]
Compressions = Annotated[tuple[Compression, ...], Field(max_length=POOL)]


@dataclass(frozen=True)
class Equalizer:
    """How any image becomes one that a detector looks at."""

    size: Annotated[int, Field(ge=SMALLEST, le=1024)]  # pixels a side
    channels: Channels
    real: Compressions = ()  # JPEG compressions of the real images; none where their files lose nothing
    generated: Compressions = ()
    last: tuple[CompressionQuality, CompressionQuality] | None = LAST  # None, and nothing is compressed at all: for comparisons
    equal: bool = True  # whether images are made alike; with False the size is all that is brought together

    def __call__(self, image: Image.Image, own: Compression = LOSSLESS) -> Pixels:
        """An image of mode L or RGB, whose file was compressed by ``own``, as (size, size, channels) uint8.

        Random choices follow from the pixels: the same image always becomes the same.
        """
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.equal:
            draw = _draws(image)
            for pool in self._missing(own):
                image = pool[int(draw.integers(len(pool)))].of(image)
        image = fit_image(image, self.size, "crop")
        if self.equal and self.last is not None:
            low, high = self.last
            image = recompressed(image, int(_draws(image).integers(low, high + 1)))
        return np.asarray(image).reshape(self.size, self.size, self.channels)

    def _missing(self, own: Compression) -> list[Compressions]:
        """The sides whose compression an image lacks. A JPEG file has that of the side whose qualities are nearer to its own."""
        sides = [pool for pool in (self.real, self.generated) if pool]
        if (quality := own.quality) is None or not sides:
            return sides
        nearest = min(sides, key=lambda pool: min(abs(quality - other) for other in qualities(pool)))
        return [pool for pool in sides if pool is not nearest]


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

    Images of one and the same size keep it (up to 256 pixels). Where sizes differ, all are brought to three quarters of the smallest.

    Raises:
        UserError: for images that are too small to be brought to one size, and for a size that some of them do not have.
    """
    sides = np.array([side for side, _ in (*real, *generated)])
    least = int(np.quantile(sides, SMALL, method="lower"))
    same = bool((sides == sides[0]).all())
    chosen = size or min(LARGEST, least if same or not equal else int(SHRINK * least))
    if size is not None and size > least:
        raise UserError(f"images of {least} pixels cannot be brought to {size}, for enlarging shows: give a smaller `size`")
    if chosen < SMALLEST:
        what = f"images of {least} pixels" if same else f"images of {least} to {int(sides.max())} pixels"
        said = f"{what} cannot be equalized: {chosen} pixels, {SHRINK:.0%} of the smallest, are fewer than {SMALLEST}"
        raise UserError(said if not same else f"{what} are too small: a detector needs {SMALLEST}" + "; leave out the small ones" * (not same))
    pools = [_pool(side, seed) for side in (real, generated)] if equal else [(), ()]
    return Equalizer(chosen, channels, pools[0], pools[1], LAST if equal else None, equal)


def _pool(side: Sequence[tuple[int, Compression]], seed: int) -> tuple[Compression, ...]:
    found = [one for _, one in side if one.tables]
    order = np.random.default_rng([seed, 41]).permutation(len(found))[:POOL]
    return tuple(found[row] for row in sorted(order.tolist()))


def _draws(image: Image.Image) -> np.random.Generator:
    """Random numbers that follow from the pixels."""
    mark = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).digest()
    return np.random.default_rng(int.from_bytes(mark[:8], "little"))
