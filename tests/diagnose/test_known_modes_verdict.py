"""Mode collapse on testbeds: what counts tell, beside as many real samples."""

from __future__ import annotations

import numpy as np
import pytest

from calotype.data.toy import POINTS, draw_points
from calotype.diagnose.checks import answers
from calotype.diagnose.known_modes import CountedModes
from calotype.diagnose.verdict import Verdict, conclude
from calotype.metrics.known_modes import ModeCounts, of_digits, of_points

GRID = POINTS["grid"]
NAMES = [str(center) for center in GRID.centers]


def verdict(made: ModeCounts, real: ModeCounts, names: list[str]) -> Verdict:
    (found,) = conclude(answers(CountedModes(made, real, names)))
    assert found.name == "mode-collapse"
    return found


def points(seed: int, n: int = 2_500) -> np.ndarray:
    return draw_points(GRID, n, seed)


def of_grid(places: np.ndarray) -> Verdict:
    return verdict(of_points(places, GRID), of_points(points(99, len(places)), GRID), NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_real_points_pass(seed: int) -> None:
    assert of_grid(points(seed)).status == "PASS"


def test_one_missing_mode_of_25_is_a_failure_that_is_named() -> None:
    places = points(0, 2_600)
    kept = places[np.hypot(*(places - np.array([2.0, -4.0])).T) > 1][:2_490]
    found = of_grid(kept)
    assert found.status == "FAIL"
    assert "1 of 25 modes are missing" in found.says
    assert "(2.0, -4.0)" in found.says


def test_a_mode_with_one_point_is_hit_and_nevertheless_a_failure() -> None:
    places = points(0, 2_600)
    far = places[np.hypot(*(places - np.array([0.0, 0.0])).T) > 1][:2_490]
    found = of_grid(np.concatenate([far, [[0.0, 0.0]]]))
    assert found.status == "FAIL"
    assert "reach 25 of 25 modes" in found.evidence
    assert "(0.0, 0.0) (1 of" in found.evidence


def test_points_that_are_near_no_mode_are_missing_from_all() -> None:
    found = of_grid(np.random.default_rng(0).uniform(-5, 5, (2_500, 2)))
    assert found.status == "FAIL"
    assert found.remedies[0].recipe == "points"
    nowhere = of_grid(np.full((2_500, 2), 1.0))
    assert (nowhere.status, nowhere.effect) == ("FAIL", 1.0)


def stacks(seed: int, n: int, digits: int = 10) -> ModeCounts:
    return of_digits(np.random.default_rng(seed).integers(0, digits, (n, 3)))


@pytest.mark.parametrize("n", [2_600, 26_000])
@pytest.mark.parametrize("seed", range(3))
def test_stacks_that_are_uniform_pass_at_any_number(n: int, seed: int) -> None:
    assert verdict(stacks(seed, n), stacks(seed + 50, n), [f"{i:03d}" for i in range(1000)]).status == "PASS"


@pytest.mark.parametrize("n", [2_600, 26_000])
def test_stacks_without_one_digit_fail(n: int) -> None:
    found = verdict(stacks(0, n, digits=9), stacks(50, n), [f"{i:03d}" for i in range(1000)])
    assert found.status == "FAIL"
    assert f"{1000 - stacks(0, n, digits=9).hit} of 1,000 modes are missing" in found.says


def test_few_stacks_cannot_tell_unless_they_are_all_alike() -> None:
    names = [f"{i:03d}" for i in range(1000)]
    assert verdict(stacks(0, 60, digits=9), stacks(50, 60), names).status == "CANNOT TELL"
    assert verdict(stacks(0, 60, digits=1), stacks(50, 60), names).status == "FAIL"


def test_modes_that_come_out_evenly_but_seldom_for_most_points_lie_between_them_are_a_failure() -> None:
    between = np.random.default_rng(0).uniform(0.5, 1.5, (1_750, 2))
    found = of_grid(np.concatenate([points(0, 750), between]))
    assert "reach 25 of 25 modes" in found.evidence
    assert found.status == "FAIL"
