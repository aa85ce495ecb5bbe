"""Compression read from files and done again: the same bits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from calotype.data.decode import UnusableError
from calotype.detect.compression import LOSSLESS, Compression, compression_of, jpeg, qualities, recompressed


def scene(mode: str = "RGB", side: int = 48) -> Image.Image:
    rng = np.random.default_rng(0)
    shape = (12, 12, 3) if mode == "RGB" else (12, 12)
    return Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def in_file(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_another_image_is_compressed_by_the_same_tables(mode: str, sampling: int, quality: int) -> None:
    image = scene(mode)
    data = in_file(image, "JPEG", quality=quality, subsampling=sampling)
    own = compression_of(data, "a.jpg")
    assert own.quality == pytest.approx(quality, abs=1.5)
    assert np.array_equal(np.asarray(own.of(image)), np.asarray(Image.open(io.BytesIO(data))))
    other = compression_of(in_file(image, "JPEG", quality=quality - 15, subsampling=sampling), "b.jpg")
    assert not np.array_equal(np.asarray(own.of(image)), np.asarray(other.of(image)))


def test_files_that_lose_nothing_are_told_from_those_that_do() -> None:
    image = scene()
    assert compression_of(in_file(image, "PNG"), "a.png") == LOSSLESS
    assert compression_of(in_file(image, "WEBP", lossless=True), "a.webp") == LOSSLESS
    assert compression_of(in_file(image, "WEBP", quality=50), "a.webp") == Compression("WEBP")
    assert LOSSLESS.of(image) is image
    assert Compression("WEBP").of(image) is image
    with pytest.raises(UnusableError):
        compression_of(b"no picture", "a.png")


def test_what_is_recompressed_is_what_its_file_says() -> None:
    image = scene()
    assert np.array_equal(np.asarray(recompressed(image, 80)), np.asarray(jpeg(80, True).of(image)))
    assert qualities([jpeg(90, True), LOSSLESS, jpeg(60, False)]) == pytest.approx((60, 90), abs=1.5)
