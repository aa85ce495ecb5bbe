"""Counting known modes: against numbers that can be worked out by hand, and against real data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calotype.data.toy import POINTS, draw_points
from calotype.errors import UserError
from calotype.metrics.known_modes import ModeCounts, digits_in, of_digits, of_points
from calotype.metrics.table import computed

RING = POINTS["ring"]


def test_a_point_counts_for_the_nearest_mode_within_three_standard_deviations() -> None:
    just_in, just_out = 1 - 3 * RING.std + 1e-6, 1 - 3 * RING.std - 1e-6
    found = of_points(np.array([[just_in, 0.0], [just_out, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.01]]), RING)
    assert found.counts.tolist() == [1, 0, 2, 0, 0, 0, 0, 0]
    assert (found.n, found.hit) == (5, 2)


def test_real_points_score_what_real_data_are_known_to() -> None:
    scores = computed(of_points(draw_points(RING, 2_500, 0), RING))
    assert scores["modes hit"].value == 8
    low, high = scores["high-quality share"].interval or (0, 0)
    assert low < 0.98889 < high
    assert scores["KL to uniform"].value == pytest.approx(7 / 5_000, abs=0.002)


def test_the_divergence_of_equal_and_of_single_modes() -> None:
    assert ModeCounts(np.array([5, 5, 5, 5]), 20).divergence == pytest.approx(0)
    assert ModeCounts(np.array([9, 0, 0, 0]), 20).divergence == pytest.approx(math.log(4))
    assert ModeCounts(np.array([6, 3, 0]), 9).divergence == pytest.approx(2 / 3 * math.log(2) + 1 / 3 * math.log(1))
    assert "KL to uniform" not in computed(ModeCounts(np.zeros(4, np.int64), 20))


def test_uniform_stacks_score_the_published_divergence_of_real_data() -> None:
    digits = np.random.default_rng(0).integers(0, 10, (26_000, 3))
    found = of_digits(digits)
    assert found.hit == 1000
    assert found.divergence == pytest.approx(0.0193, abs=0.002)
    assert "high-quality share" not in computed(found)  # each stack is one of the modes
    assert of_digits(digits // 2).hit == 125


def test_the_channels_of_a_stack_are_its_digits_in_their_order() -> None:
    pixels = np.zeros((2, 28, 28, 3), np.uint8)
    pixels[0, :, :, 0], pixels[0, :, :, 2], pixels[1, :, :, 1] = 7, 2, 9
    read = digits_in(pixels, lambda gray: gray[:, 0, 0, 0].astype(np.int64))
    assert read.tolist() == [[7, 0, 2], [0, 9, 0]]
    assert of_digits(read).counts.nonzero()[0].tolist() == [90, 702]


@pytest.mark.parametrize("shape", [(0, 2), (4, 3), (4,)])
def test_what_are_no_points_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="modes are counted of points"):
        of_points(np.zeros(shape), RING)


@pytest.mark.parametrize("digits", [np.zeros((0, 3), np.int64), np.full((2, 3), 10), np.full((2, 3), -1), np.zeros((2, 2), np.int64)])
def test_what_are_no_stacks_is_refused(digits: np.ndarray) -> None:
    with pytest.raises(UserError, match="stacks of three digits"):
        of_digits(digits)
