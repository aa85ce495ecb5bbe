"""Two copies of one image, in files that differ, become the same image; where that cannot be, it is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from calotype.detect.compression import LOSSLESS, Compression, jpeg
from calotype.detect.equalize import LARGEST, Equalizer, plan
from calotype.detect.sets import ImageSet
from calotype.detect.tables import degraded
from calotype.errors import UserError
from tests.detect.test_compression import scene

Q80 = jpeg(80, True)


def sides(*pairs: tuple[int, Compression]) -> list[tuple[int, Compression]]:
    return [*pairs] * 10


@pytest.mark.parametrize("swapped", [False, True])
def test_copies_as_png_and_jpeg_become_the_same_bits(swapped: bool) -> None:
    image = scene()
    pair = sides((48, LOSSLESS)), sides((48, Q80))
    made = plan(*(pair[::-1] if swapped else pair), 3)
    assert made.size == 48
    assert np.array_equal(made(image, LOSSLESS), made(Q80.of(image), Q80))
    assert not np.array_equal(made(image, LOSSLESS), np.asarray(image))
    left = plan(*pair, 3, equal=False)
    assert np.array_equal(left(image, LOSSLESS), np.asarray(image))
    assert not np.array_equal(left(image, LOSSLESS), left(Q80.of(image), Q80))


def test_the_same_image_always_becomes_the_same_and_others_are_drawn_otherwise() -> None:
    made = Equalizer(48, 1, last=(30, 95), soft=(0, 2))
    image = scene("L")
    assert np.array_equal(made(image), made(image))
    shifted = scene("L").point(lambda v: min(255, v + 1))
    assert np.abs(made(image).astype(int) - made(shifted)).max() > 3
    assert np.array_equal(made.plain(image, LOSSLESS)[..., 0], np.asarray(image))


def test_sizes_that_differ_are_brought_below_the_smallest() -> None:
    made = plan(sides((64, LOSSLESS)), sides((40, LOSSLESS)), 3)
    assert (made.size, made.soft is not None) == (30, True)
    assert made(scene(side=64)).shape == made(scene(side=40)).shape == (30, 30, 3)
    same = plan(sides((64, LOSSLESS)), sides((64, LOSSLESS)), 1)
    assert (same.size, same.soft) == (64, None)
    assert plan(sides((900, LOSSLESS)), sides((900, LOSSLESS)), 3).size == LARGEST
    assert plan(sides((64, LOSSLESS)), sides((40, LOSSLESS)), 3, size=24).size == 24


def test_other_qualities_on_both_sides_end_alike() -> None:
    made = plan(sides((48, jpeg(50, True))), sides((48, Q80)), 3)
    assert made.size == 36
    order = [one.quality for one in made._missing(Q80, np.random.default_rng(0))]
    assert order == sorted(order, reverse=True)
    assert len(order) == 2
    assert len(made._missing(LOSSLESS, np.random.default_rng(0))) == 3


@pytest.mark.parametrize("spec", [None, "jpeg:60", "blur:0.7", "noise:4", "resize:0.6"])
def test_degraded_copies_as_png_and_jpeg_are_the_same_bits(spec: str | None) -> None:
    image = scene()

    def holding(picture: Image.Image, own: Compression) -> ImageSet:
        return ImageSet("photos", "files", "photos", ("a", "b"), (48, 48), False, (own, own), lambda row: picture)

    made, rows = plan(sides((48, Q80)), sides((48, LOSSLESS)), 3), np.arange(2)
    real, generated = (degraded(one, rows, made, spec, 0) for one in (holding(Q80.of(image), Q80), holding(image, LOSSLESS)))
    assert np.array_equal(real, generated)
    assert not np.array_equal(real[0], made(image))
    plain = replace(made, equal=False)
    assert not np.array_equal(*(degraded(one, rows, plain, spec, 0) for one in (holding(Q80.of(image), Q80), holding(image, LOSSLESS))))


@pytest.mark.parametrize(
    ("real", "generated", "size", "tells"),
    [
        (64, 18, None, "18 to 64 pixels cannot be equalized"),
        (12, 12, None, "12 pixels cannot be equalized"),
        (64, 40, 48, "cannot be brought to 48"),
    ],
)
def test_what_cannot_be_made_equal_is_refused(real: int, generated: int, size: int | None, tells: str) -> None:
    with pytest.raises(UserError, match=tells):
        plan(sides((real, LOSSLESS)), sides((generated, LOSSLESS)), 3, size)
