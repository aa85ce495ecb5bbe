"""What may be mirrored: photographs, and nothing that is written."""

from __future__ import annotations

import numpy as np
import pytest

from calotype.data import load
from calotype.data.mirror import ENOUGH, may_flip, told_apart


def some_of(source: str, count: int, seed: int) -> np.ndarray:
    pixels = load(source, size=None if source == "mnist5k" else 32).train.pixels
    return np.stack([pixels[i] for i in np.random.default_rng(seed).permutation(len(pixels))[:count]])


@pytest.mark.parametrize("count", [ENOUGH, 100, 600])
def test_digits_are_never_mirrored_and_photographs_are(count: int) -> None:
    for seed in range(4):
        assert not may_flip(some_of("mnist5k", count, seed))
    assert sum(may_flip(some_of("clothing", count, seed)) for seed in range(4)) >= 3


def test_few_images_tell_nothing() -> None:
    assert not may_flip(some_of("clothing", ENOUGH - 1, 0))


def test_the_judge_tells_what_leans_and_is_a_coin_where_nothing_does() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (400, 20, 20, 3), dtype=np.uint8)
    assert abs(told_apart(noise) - 0.5) < 0.1
    leaning = noise // 2 + np.linspace(0, 60, 20, dtype=np.uint8)[None, None, :, None]
    assert told_apart(leaning) > 0.95
    assert told_apart(leaning.mean(3).astype(np.uint8)) > 0.95
    both = np.concatenate([leaning[:200], leaning[200:, :, ::-1]])
    assert abs(told_apart(both) - 0.5) < 0.1
    assert told_apart(np.zeros((50, 8, 8, 1), np.uint8)) == 0.5
