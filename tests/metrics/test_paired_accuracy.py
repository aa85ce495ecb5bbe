"""Two judges of the same images: against scipy's binomial test, and by how often the interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from calotype.metrics.confidence import exact_interval
from calotype.metrics.paired_accuracy import compared, mcnemar, paired_interval


@pytest.mark.parametrize(("better", "worse"), [(0, 1), (3, 9), (12, 12), (40, 11), (0, 30)])
def test_mcnemar_is_the_test_of_a_fair_coin(better: int, worse: int) -> None:
    assert mcnemar(better, worse) == pytest.approx(binomtest(better, better + worse).pvalue, abs=1e-12)
    assert mcnemar(better, worse) == mcnemar(worse, better)


def test_two_judges_that_never_disagree_differ_by_nothing_but_not_for_certain() -> None:
    right = np.array([True] * 90 + [False] * 10)
    found = compared("twin", right, right.copy())
    assert (found.right, found.n, found.accuracy, found.difference, found.p) == (90, 100, 0.9, 0.0, 1.0)
    assert found.interval == exact_interval(90, 100)
    low, high = found.difference_interval
    assert low < 0 < high
    assert high == pytest.approx(-low)


def test_the_better_judge_is_better() -> None:
    own, other = np.array([True] * 95 + [False] * 5), np.array([True] * 80 + [False] * 20)
    found = compared("other", own, other)
    assert found.difference == pytest.approx(0.15)
    assert found.difference_interval[0] > 0.05
    assert found.p < 1e-4
    assert compared("own", other, own).difference == pytest.approx(-0.15)
    with pytest.raises(ValueError, match="same images"):
        compared("other", own, other[1:])


def test_the_interval_holds_the_truth_in_19_of_20_cases() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(2000):
        _, better, worse, _ = rng.multinomial(200, [0.7, 0.15, 0.05, 0.1])
        low, high = paired_interval(int(better), int(worse), 200)
        held += low <= 0.1 <= high
    assert 0.935 < held / 2000 < 0.97
