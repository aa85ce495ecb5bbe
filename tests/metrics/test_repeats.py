"""Which images are the same as others, and which are not although they look alike."""

from __future__ import annotations

import numpy as np
import pytest

from calotype.data import load
from calotype.metrics.features import coarse
from calotype.metrics.manifold import nearest
from calotype.metrics.repeats import ALIKE, Twins, first_of_each, twins
from calotype.types import ImageSpec


def textures(n: int, seed: int, size: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, size, size, 3), np.uint8).repeat(2, 1).repeat(2, 2)


def looked_up(x: np.ndarray, others: np.ndarray, own: np.ndarray | None = None) -> Twins:
    space = coarse(ImageSpec(x.shape[1], x.shape[3]))
    return twins(x, space.of(x).features, others, space.of(others).features, own=own)


def test_the_first_of_each_image_is_kept_in_order() -> None:
    a, b = textures(2, 0)
    assert first_of_each(np.stack([b, a, b, b, a])).tolist() == [0, 1]
    assert first_of_each(textures(5, 1)).tolist() == [0, 1, 2, 3, 4]
    assert first_of_each(textures(5, 1)[:0]).tolist() == []


def test_copies_are_found_as_they_are_mirrored_and_altered_a_little() -> None:
    others, fresh = textures(50, 0), textures(4, 1)
    little = np.clip(others[[7]].astype(int) + np.random.default_rng(0).integers(-6, 7, others[[7]].shape), 0, 255).astype(np.uint8)
    much = np.clip(others[[8]].astype(int) + np.random.default_rng(0).integers(-60, 61, others[[8]].shape), 0, 255).astype(np.uint8)
    found = looked_up(np.concatenate([others[[3]], others[[5], :, ::-1], little, much, fresh]), others)
    assert found.index.tolist() == [3, 5, 7, -1, -1, -1, -1, -1]
    assert found.exact.tolist() == [True, True, *[False] * 6]
    assert found.found.sum() == 3


def test_empty_images_are_nobodys_copies() -> None:
    others = np.concatenate([textures(20, 0, 8), np.zeros((5, 16, 16, 3), np.uint8), np.full((1, 16, 16, 3), 255, np.uint8)])
    dim = np.zeros((1, 16, 16, 3), np.uint8)
    dim[0, 3, 3] = 9  # one pixel that nobody sees
    assert not looked_up(
        np.concatenate([np.zeros((9, 16, 16, 3), np.uint8), np.full((1, 16, 16, 3), 255, np.uint8), dim]), others
    ).found.any()


def test_no_image_is_its_own_twin_and_every_repeat_is_one() -> None:
    others = textures(30, 0)
    others[11] = others[4]
    others[20] = others[17, :, ::-1]
    found = looked_up(others, others, own=np.arange(30))
    assert np.flatnonzero(found.found).tolist() == [4, 11, 17, 20]
    assert found.index[[4, 11, 17, 20]].tolist() == [11, 4, 20, 17]
    symmetric = (others // 2 + others[:, :, ::-1] // 2)[:3]
    assert not looked_up(symmetric, symmetric, own=np.arange(3)).found.any()
    assert not looked_up(others[:1], others[:1], own=np.arange(1)).found.any()


def test_the_limit_is_half_of_what_the_most_similar_digits_differ_by() -> None:
    pixels = np.asarray(load("mnist5k").train.pixels)
    features = coarse(ImageSpec(28, 1)).of(pixels).features
    rows = np.arange(len(pixels))
    index, _ = nearest(features, features, own=rows)
    assert (index != rows).all()
    apart = np.sqrt(np.square(pixels.astype(float) - pixels[index]).mean((1, 2, 3))) / pixels.std((1, 2, 3))
    assert apart.min() == pytest.approx(2 * ALIKE, rel=0.1)
    assert not looked_up(pixels[:500], pixels, own=rows[:500]).found.any()
