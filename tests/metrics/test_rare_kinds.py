"""Kinds that come out too rarely: no alarm where both sets are drawn alike, one where a kind is missing, whatever the clusters are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.kinds import rare_kinds


def images(kinds: list[int], n: int, rng: np.random.Generator, apart: float = 2.0) -> NDArray[np.float32]:
    """Features of ``n`` images of some of ten kinds, which overlap."""
    centers = np.random.default_rng(99).standard_normal((10, 16)) * apart / 4
    return (centers[rng.choice(kinds, n)] + rng.standard_normal((n, 16)) * 0.5).astype(np.float32)


ALL = list(range(10))


def test_p_values_are_even_where_nothing_is_missing() -> None:
    found = [rare_kinds(images(ALL, 300, rng), images(ALL, 600, rng)) for rng in map(np.random.default_rng, range(40))]
    p = np.array([one.p for one in found])
    assert 0.3 < p.mean() < 0.7
    assert (p < 0.05).mean() <= 0.15
    assert np.mean([one.share for one in found]) < 0.02
    assert np.std([one.share for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=1)


@pytest.mark.parametrize(("gone", "least"), [(1, 0.02), (3, 0.15)])
def test_missing_kinds_are_seen_and_their_share_is_about_right(gone: int, least: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = rare_kinds(images(ALL[gone:], 600, rng), images(ALL, 1000, rng), seed)
        assert found.p < 1e-4
        assert least < found.share < gone / 10 + 0.05


def test_a_kind_that_comes_out_twice_as_often_counts_less_than_one_that_is_missing() -> None:
    rng = np.random.default_rng(0)
    real = images(ALL, 1000, rng)
    twice, missing = (rare_kinds(images(kinds, 1000, rng), real) for kinds in ([*ALL, 0], ALL[1:]))
    assert twice.share < 0.06 < missing.share


def test_it_is_a_function_of_its_seed_and_of_no_order() -> None:
    rng = np.random.default_rng(0)
    x, y = images(ALL[1:], 300, rng), images(ALL, 300, rng)
    assert rare_kinds(x, y, 1) == rare_kinds(x, y, 1) != rare_kinds(x, y, 2)


def test_images_that_are_all_the_same_raise_no_alarm() -> None:
    same = np.zeros((200, 4), np.float32)
    assert rare_kinds(same, same).p > 0.5


def test_too_few_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="149 images are too few to compare kinds: give at least 150"):
        rare_kinds(images(ALL, 149, rng), images(ALL, 200, rng))
    with pytest.raises(UserError, match="NaN"):
        rare_kinds(np.full((200, 16), np.nan, np.float32), images(ALL, 200, rng))
