"""What happens to images on their way to a detector: what training varies, and what the table of robustness tries."""

from __future__ import annotations

import numpy as np
from PIL import Image

from calotype.degrade import parse
from calotype.detect.compression import LOSSLESS, Compression, jpeg
from calotype.pictures import to_picture, to_uint8
from calotype.tasks.batch import picture_tensor
from calotype.types import Noise

TABLE = (
    *("jpeg:90", "jpeg:75", "jpeg:50", "jpeg:30"),
    *("blur:0.5", "blur:1", "noise:2", "noise:5", "noise:10"),
    *("resize:0.75", "resize:0.5", "resize:2"),
)
"""Degradations of the table: qualities, pixels, levels of 255 (as `calotype degrade` takes them), and factors of both sides."""

VARIED = ("jpeg:50-95", "jpeg:50-95", "blur:0.2-1", "noise:1-8", "resize:0.6-1.6")
"""Of which training draws one for the second copy of each image."""


def perturbed(image: Image.Image, spec: str, seed: int, index: int) -> tuple[Image.Image, Compression]:
    """An image (mode L or RGB) degraded, and how the file was compressed that it then comes from: PNG, where JPEG was not the damage.

    ``seed`` and ``index`` decide what is drawn where ``spec`` gives a range.
    """
    name, _, value = spec.partition(":")
    low, high = (float(end) for end in (value.split("-") * 2)[:2])
    draws = np.random.default_rng([seed, index, 43])
    if name == "jpeg":
        quality = int(draws.integers(int(low), int(high) + 1))
        own = jpeg(quality, image.mode == "RGB")
        return own.of(image), own
    if name == "resize":
        factor = draws.uniform(low, high)
        size = tuple(max(1, round(side * factor)) for side in image.size)
        return image.resize((size[0], size[1]), Image.Resampling.BICUBIC), LOSSLESS
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    degraded = parse(spec)(picture_tensor(pixels)[None], Noise(1, seed, index)).image
    return to_picture(to_uint8(degraded)[0]), LOSSLESS
