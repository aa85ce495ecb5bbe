"""Beliefs of classifiers: temperature, calibration error, exact intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch.nn import functional

from calotype.data.images import holdout_order
from calotype.metrics.confidence import (
    COLDEST,
    confusion,
    crossed_temperature,
    exact_interval,
    expected_errors,
    fit_temperature,
    halves,
    log_softmax,
    reliability,
    softmax,
)
from calotype.metrics.inputs import Beliefs
from calotype.metrics.recognition import log_loss


def log_loss_at(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return log_loss(Beliefs(labels, log_softmax(logits, temperature))).value


def drawn(n: int, true: float, seed: int = 0, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that follow from them at the temperature ``true``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    p = softmax(logits, true)
    return logits, np.array([rng.choice(classes, p=row) for row in p])


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_best_of_a_grid_and_where_the_gradient_is_zero(true: float) -> None:
    logits, labels = drawn(1500, true)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.25)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 2001))
    losses = [log_loss_at(logits, labels, t) for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.003)
    t = torch.tensor(found, dtype=torch.float64, requires_grad=True)
    loss = functional.cross_entropy(torch.from_numpy(logits) / t, torch.from_numpy(labels))
    loss.backward()
    assert loss.item() == pytest.approx(log_loss_at(logits, labels, found))
    assert t.grad is not None
    assert abs(t.grad.item()) < 1e-6


def test_where_every_image_is_right_none_is_cold_enough() -> None:
    logits, _ = drawn(50, 1.0)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(COLDEST)


def test_no_label_decides_about_its_own_image() -> None:
    logits, labels = drawn(200, 2.0)
    before, (one, two) = crossed_temperature(logits, labels), halves(200)
    changed = labels.copy()
    changed[one] = logits[one].argmin(1)
    after = crossed_temperature(logits, changed)
    assert np.array_equal(after[one], before[one])
    assert not np.allclose(after[two], before[two], atol=1e-3)


def test_both_halves_hold_both_classes_where_these_take_turns() -> None:
    labels = np.repeat([0, 1], [101, 100])
    labels = labels[holdout_order(201, labels)]
    assert len(set(labels[::2])) == 1  # what every other image would be
    one, two = halves(201)
    assert sorted([*one, *two]) == list(range(201))
    assert all(0.3 < labels[half].mean() < 0.7 for half in (one, two))


def test_the_calibration_error_of_cases_made_by_hand() -> None:
    sure = np.array([[0.9, 0.1]] * 10)
    right_nine = np.array([0] * 9 + [1])
    assert reliability(sure, right_nine).error == pytest.approx(0.0, abs=1e-12)
    assert reliability(sure, np.ones(10, np.int64)).error == pytest.approx(0.9)
    both = np.concatenate([sure, np.array([[0.6, 0.4]] * 30)])
    found = reliability(both, np.concatenate([right_nine, np.zeros(30, np.int64)]))
    assert found.error == pytest.approx(0.75 * 0.4)
    assert found.count == (30, 10)
    assert found.belief == pytest.approx((0.6, 0.9))
    assert found.right == pytest.approx((1.0, 0.9))
    assert found.low == pytest.approx((8 / 15, 13 / 15))  # a belief on a border belongs to the lower bin, as Guo et al. count


def test_chance_explains_the_error_of_true_beliefs_and_not_that_of_false_ones() -> None:
    logits, labels = drawn(400, 1.0, seed=3)
    true, false = softmax(logits), softmax(logits, 0.3)
    assert reliability(true, labels).error < np.quantile(expected_errors(true, 0), 0.99)
    assert reliability(false, labels).error > 2 * expected_errors(false, 0).max()


def test_what_chance_gives_is_what_true_beliefs_err_by() -> None:
    logits, _ = drawn(300, 1.0, seed=4)
    p, rng = softmax(logits), np.random.default_rng(5)
    erred = [reliability(p, np.array([rng.choice(5, p=row) for row in p])).error for _ in range(30)]
    assert expected_errors(p, 0).mean() == pytest.approx(np.mean(erred), rel=0.1)


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (1, 10), (5, 10), (10, 10), (9876, 10_000)])
def test_the_exact_interval_is_that_of_scipy(hits: int, of: int) -> None:
    known = binomtest(hits, of).proportion_ci(0.95, "exact")
    assert exact_interval(hits, of) == pytest.approx((known.low, known.high), abs=1e-9)


def test_rows_of_the_confusion_matrix_are_classes() -> None:
    table = confusion(np.array([0, 0, 2]), np.array([1, 0, 2]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
