import math

import numpy as np
import pytest

from calotype.errors import UserError
from calotype.metrics.likelihood import active_units, bits_per_dim, gap, intricacy


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


def test_a_gap_keeps_its_size_and_loses_what_the_images_explain():
    """The covariate explains all but .1 of a spread of 2; without it 200 images could not show a gap of .1."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        held, train = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
        bits = [2 * x[:, 0] + 0.5 * x[:, 0] ** 2 + 0.1 * rng.normal(size=200) for x in (held, train)]
        found.append(gap(bits[0] + 0.1, bits[1], held, train))
    values = np.array([g.value for g in found])
    assert values.mean() == pytest.approx(0.1, abs=0.003)
    assert np.mean([g.error for g in found]) == pytest.approx(values.std(), rel=0.15)
    assert values.std() == pytest.approx(0.1 * math.sqrt(2 / 200), rel=0.2)
    assert np.std([g.raw for g in found]) > 0.15


def test_the_error_of_a_gap_knows_unequal_variances():
    rng = np.random.default_rng(1)
    none = [np.zeros((n, 1)) for n in (100, 400)]
    found = [gap(3 * rng.normal(size=100), rng.normal(size=400), *none) for _ in range(300)]
    true = math.sqrt(9 / 100 + 1 / 400)
    assert np.std([g.value for g in found]) == pytest.approx(true, rel=0.12)
    assert np.mean([g.error for g in found]) == pytest.approx(true, rel=0.05)
    with pytest.raises(UserError, match="20 images"):
        gap(np.zeros(19), np.zeros(30), np.zeros((19, 1)), np.zeros((30, 1)))


def test_intricacy_orders_images_as_coders_do():
    rng = np.random.default_rng(0)
    flat, coarse = np.full((12, 12, 1), 9, np.uint8), rng.integers(0, 256, (3, 3, 1)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    found = intricacy(np.stack([flat, coarse, rng.integers(0, 256, (12, 12, 1)).astype(np.uint8)]))
    assert (np.diff(found[:, [0, 1, 4]], axis=0) > 0).all()
    assert found[0, 1:].tolist() == pytest.approx([0, 9, 0, 0])
    assert found[1, 4] == pytest.approx(math.log2(9), abs=0.3)  # nine values, most of them different
