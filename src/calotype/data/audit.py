"""Are pairs what they say: as large as each other, aligned, and held out for good?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calotype.data.decode import Header
from calotype.data.fit import Fit
from calotype.data.images import Images, Pixels, some
from calotype.errors import UserError

SAMPLE = 32  # pairs whose alignment is measured
APART = 2.0  # pixels: a smaller shift may be the content's own
_SURE = 8.0  # standard deviations of its surface by which the peak of a phase correlation is no chance
_SIDE = 256  # pixels a side that are looked at


def check_sizes(source: dict[str, Header], image: dict[str, Header], pairs: list[tuple[str, str]], size: int | None, fit: Fit) -> None:
    """Raise `UserError` where two pictures of a pair cannot be laid over each other."""
    scaled = size is not None and fit != "tile"  # then pictures of one aspect come to lie over each other
    odd = [(a, b) for a, b in pairs if not _alike(source[a], image[b], scaled)]
    if odd:
        a, b = odd[0]
        hint = (
            "bring them to one size" if scaled or fit == "tile" else "bring them to one size, or give `size` where only their scale differs"
        )
        several = f"1 pair of {len(pairs):,} differs" if len(odd) == 1 else f"{some(len(odd), 'pair')} of {len(pairs):,} differ"
        raise UserError(f"{several} in size, the first: {a} is {source[a].size}, {b} is {image[b].size}; {hint}")


def check_alignment(source: Images, image: Images) -> None:
    """Raise `UserError` where most of a sample of pairs are shifted against each other by the same ``APART`` pixels or more."""
    rows = np.unique(np.linspace(0, len(image) - 1, SAMPLE).astype(int))
    found = [shift_between(source.pixels[i], image.pixels[i]) for i in rows]
    sure = np.array([(down, right) for down, right, strength in found if strength > _SURE])
    if len(sure) < min(8, max(2, len(rows) // 2)):
        return
    middle = np.median(sure, axis=0)
    agree = (np.abs(sure - middle) <= 1).all(1)
    if math.hypot(*middle) >= APART and agree.sum() >= 2 / 3 * len(sure):
        raise UserError(
            f"the pictures of a pair do not lie over each other: the image is {abs(middle[0]):.0f} pixels {_way(middle[0], 'down', 'up')} "
            f"and {abs(middle[1]):.0f} {_way(middle[1], 'right', 'left')} (measured on {len(sure)} of {len(rows)} pairs); "
            "align them, or learn from them unpaired with `data.paired=False`"
        )


def shift_between(a: Pixels, b: Pixels) -> tuple[float, float, float]:
    """How far the edges of ``b`` (H, W, C) lie below and to the right of those of ``a``, in whole pixels, and how sure that is.

    Phase correlation (Kuglin and Hines 1975) of the gradients' sizes, which also works where one picture is dark where the other is light.
    """
    fa, fb = (np.fft.rfft2(_edges(x)) for x in (a, b))
    cross = fb * fa.conj()
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=_edges(a).shape)
    peak = np.unravel_index(int(surface.argmax()), surface.shape)
    down, right = (float(p if p <= n // 2 else p - n) for p, n in zip(peak, surface.shape, strict=True))
    return down, right, float(surface.max() / max(float(surface.std()), 1e-12))


def leaked(train: NDArray[np.uint8], holdout: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the held-out images are among the training images, by their digests (N, 32) and (M, 32): (M,) bool."""
    known = {row.tobytes() for row in train}
    return np.array([row.tobytes() in known for row in holdout], bool)


def _alike(a: Header, b: Header, scaled: bool) -> bool:
    if (a.width, a.height) == (b.width, b.height):
        return True
    return scaled and abs(a.width * b.height - b.width * a.height) <= max(a.width, a.height, b.width, b.height)


def _edges(pixels: Pixels) -> NDArray[np.float64]:
    """The size of the gradient in the middle of an image, fading out to its border."""
    height, width = (min(side, _SIDE) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    gray = pixels[top : top + height, left : left + width].mean(2)
    down, right = np.gradient(gray)
    size: NDArray[np.float64] = np.hypot(down, right)
    faded: NDArray[np.float64] = (size - size.mean()) * np.outer(np.hanning(height), np.hanning(width))
    return faded


def _way(value: float, positive: str, negative: str) -> str:
    return positive if value >= 0 else negative
