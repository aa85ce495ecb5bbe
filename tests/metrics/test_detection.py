"""AUC and its interval against a peer and against the formula written out, calibration and limits against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from calotype.metrics.confidence import exact_interval
from calotype.metrics.detection import Z95, Platt, auc, platt, roc, upper_limit


def drawn(m: int, n: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, m), rng.normal(1, 1.3, n)
    return (np.round(a), np.round(b)) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("m", "n"), [(7, 5), (40, 90)])
def test_area_is_that_of_a_peer(m: int, n: int, ties: bool) -> None:
    a, b = drawn(m, n, m, ties)
    label = np.repeat([0, 1], [m, n])
    assert auc(a, b).value == pytest.approx(roc_auc_score(label, np.concatenate([a, b])), abs=1e-12)
    false, true = roc(a, b)
    assert np.trapezoid(true, false) == pytest.approx(auc(a, b).value, abs=1e-12)
    x, y, _ = roc_curve(label, np.concatenate([a, b]), drop_intermediate=False)
    assert false == pytest.approx(x)
    assert true == pytest.approx(y)


@pytest.mark.parametrize("ties", [False, True])
def test_interval_is_that_of_the_structural_components_written_out(ties: bool) -> None:
    a, b = drawn(30, 25, 3, ties)
    psi = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    error = math.sqrt(psi.mean(1).var(ddof=1) / 30 + psi.mean(0).var(ddof=1) / 25)
    area = psi.mean()
    logit = np.log(area / (1 - area)) + np.array([-1, 1]) * Z95 * error / (area * (1 - area))
    assert auc(a, b).interval == pytest.approx(tuple(1 / (1 + np.exp(-logit))), abs=1e-12)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth, held = float(norm.cdf(1 / math.hypot(1, 1.3))), 0
    for seed in range(400):
        low, high = auc(*drawn(60, 50, 1000 + seed)).interval or (0, 0)
        held += low <= truth <= high
    assert 0.915 <= held / 400 <= 0.98


def test_perfect_order_is_no_certainty() -> None:
    found = auc(np.arange(20.0), 100 + np.arange(10.0))
    assert found.value == 1
    assert found.interval == exact_interval(10, 10)
    assert auc(100 + np.arange(10.0), np.arange(20.0)).interval == exact_interval(0, 10)
    assert auc(np.zeros(1), np.ones(3)).interval is None
    with pytest.raises(ValueError, match="both kinds"):
        auc(np.zeros(0), np.ones(3))


def test_calibration_finds_the_planted_line() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 2, 40_000)
    label = rng.random(len(x)) < 1 / (1 + np.exp(-(1.7 * x)))
    found = platt(x[~label], x[label])
    assert (found.slope, found.offset) == pytest.approx((1.7, 0), abs=0.06)
    peer = LogisticRegression(C=np.inf, class_weight="balanced").fit(x[:, None], label)
    assert (found.slope, found.offset) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=1e-2)
    assert found.probability(np.array([-800.0, 0.0, 800.0])) == pytest.approx([0, 0.5, 1], abs=0.02)


def test_calibration_stays_finite_and_never_turns_around() -> None:
    apart = platt(np.arange(-20.0, -10), np.arange(10.0, 20))
    assert 0 < apart.slope < 1e3
    assert apart.probability(np.array([-15.0, 15.0])) == pytest.approx([1 / 12, 11 / 12], abs=0.05)
    assert platt(np.array([1.0, 2.0, 3.0]), np.array([-1.0, -2.0, -3.0])) == Platt(0.0, 0.0)
    weighed = platt(np.zeros(4), np.array([0.0, 1.0, 1.0, 1.0]), np.array([1000.0, 1.0, 1.0, 1.0]))
    assert weighed.slope != platt(np.zeros(4), np.array([0.0, 1.0, 1.0, 1.0])).slope


def test_a_limit_lets_through_what_it_says_on_average() -> None:
    rng, over = np.random.default_rng(7), []
    for _ in range(4000):
        x = rng.exponential(size=40)
        over.append(x[0] > upper_limit(x[1:], 0.1))  # one more number among 39 others
    assert 0.08 <= np.mean(over) <= 0.12  # floor(0.1 * 40) / 40 = 0.1 exactly
    assert upper_limit(np.arange(18.0), 0.05) == math.inf
    assert upper_limit(np.arange(19.0), 0.05) == 18
