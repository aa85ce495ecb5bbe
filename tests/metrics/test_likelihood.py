import math

import numpy as np
import pytest

from calotype.errors import UserError
from calotype.metrics.likelihood import active_units, bits_per_dim


def test_a_uniform_model_scores_exactly_eight_bits():
    nats = np.full(5, -3 * 8 * 8 * math.log(256))
    estimate = bits_per_dim(nats, (3, 8, 8))
    assert estimate.value == pytest.approx(8.0, abs=1e-12)
    assert estimate.interval == pytest.approx((8.0, 8.0), abs=1e-9)


def test_a_published_number_of_nats_becomes_its_bits():
    assert bits_per_dim(np.array([-784 * math.log(2) * 1.05]), (1, 28, 28)).value == pytest.approx(1.05, rel=1e-12)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    runs = [bits_per_dim(rng.normal(-100, 20, size=80), (1, 4, 4)) for _ in range(300)]
    true = 100 / (16 * math.log(2))
    held = np.mean([run.interval[0] <= true <= run.interval[1] for run in runs])
    assert 0.91 <= held <= 0.98


def test_one_image_has_no_interval_and_no_image_no_score():
    assert bits_per_dim(np.array([-10.0]), (1, 2, 2)).interval is None
    with pytest.raises(UserError, match="at least one"):
        bits_per_dim(np.array([]), (1, 2, 2))
    with pytest.raises(UserError, match="finite"):
        bits_per_dim(np.array([-1.0, np.nan]), (1, 2, 2))


def test_active_units_are_those_whose_mean_moves():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(5000, 4)) * np.sqrt([1.0, 0.02, 0.005, 0.0]) + 7
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, threshold=0.5).sum() == 1
    with pytest.raises(UserError, match="two images"):
        active_units(means[:1])
