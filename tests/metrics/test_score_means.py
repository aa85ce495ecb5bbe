"""Means of scores over several feature spaces."""

import numpy as np
import pytest
from scipy import stats

from calotype.evaluation.scores import mean_over, scored
from calotype.metrics.features import Extracted
from calotype.metrics.inputs import Divided
from calotype.metrics.score import Estimate


def test_the_interval_of_a_mean_over_three_networks_is_that_of_student():
    values = [1.0, 1.4, 1.8]
    found = mean_over([{"FD": Estimate(v, (v, v))} for v in values])["FD"]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert found.value == pytest.approx(1.4)
    assert found.interval == pytest.approx((low, high))


def test_the_mean_over_three_networks_is_covered_as_often_as_the_interval_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        low, high = mean_over([{"KID": Estimate(v, (v, v))} for v in rng.standard_normal(3).tolist()])["KID"].interval
        held.append(low <= 0 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_errors_add_and_shares_stay_between_zero_and_one():
    parts = [{"coverage": Estimate(v, (v - 0.1, v + 0.1)), "FD": Estimate(v, (v - 0.1, v + 0.1))} for v in (0.95, 0.95, 0.95)]
    found = mean_over(parts)
    assert found["FD"].interval == pytest.approx((0.85, 1.05))
    assert found["coverage"].interval == pytest.approx((0.85, 1.0))
    assert mean_over(parts[:1]) == parts[0]


def test_authentic_images_are_compared_with_held_out_ones():
    rng = np.random.default_rng(0)
    train, held, fresh = (Extracted(rng.standard_normal((n, 8)).astype(np.float32), None) for n in (400, 300, 300))
    copied = Extracted(np.concatenate([train.features[:150], fresh.features[150:]]), None)
    real, bad = (next(s for s in scored([Divided(x, train, held)], [], "space", 300, 300) if s.name == "AuthPct") for x in (fresh, copied))
    assert real.kind == "match"
    assert real.interval[0] < real.baseline < real.interval[1]
    assert bad.value == pytest.approx(real.value / 2, rel=0.15)
    assert bad.interval[1] < bad.baseline
