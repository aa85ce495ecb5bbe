from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calotype.diagnose.training import Watcher, divergence, oscillation, overfitting_discriminator, vanishing_gradient
from calotype.diagnose.verdict import Finding, Verdict, conclude

Records = list[dict[str, Any]]


def log(gradient: list[float], accuracy: list[float]) -> Records:
    return [
        {"step": 50 * i + 50, "generator/gradient_norm": g, "d_accuracy": a}
        for i, (g, a) in enumerate(zip(gradient, accuracy, strict=True))
    ]


def judged(finding: Finding | Verdict) -> Verdict:
    (verdict,) = conclude([finding])
    return verdict


def test_a_gradient_that_vanishes_for_good_is_a_failure_with_remedies() -> None:
    verdict = judged(vanishing_gradient(log([1.0] * 10 + [1e-3] * 10, [0.8] * 10 + [1.0] * 10)))
    assert verdict.status == "FAIL"
    assert any("non_saturating" in r for r in verdict.remedies)


@pytest.mark.parametrize(
    ("gradient", "accuracy"),
    [
        ([1.0] * 10 + [0.02] * 10, [0.8] * 10 + [1.0] * 10),  # small, not vanished
        ([1.0] * 10 + [1e-3] * 10, [0.8] * 10 + [0.9] * 10),  # vanished, but the discriminator is not sure: it converged
        ([1.0] * 10 + [1e-3] * 4 + [1.0] * 6, [0.8] * 10 + [1.0] * 10),  # a moment
    ],
)
def test_a_small_gradient_alone_is_none(gradient: list[float], accuracy: list[float]) -> None:
    assert judged(vanishing_gradient(log(gradient, accuracy))).status == "PASS"


def test_a_gradient_that_came_back_is_a_warning() -> None:
    verdict = judged(vanishing_gradient(log([1.0] * 10 + [1e-3] * 6 + [1.0] * 6, [0.8] * 10 + [1.0] * 6 + [0.8] * 6)))
    assert verdict.status == "WARN"
    assert verdict.effect == pytest.approx(6 / 22)


@pytest.mark.parametrize("records", [[], [{"step": 1, "velocity/loss": 1.0}], log([1.0] * 9, [0.5] * 9)])
def test_without_a_discriminator_or_with_a_short_log_nobody_can_tell(records: Records) -> None:
    assert judged(vanishing_gradient(records)).status == "CANNOT TELL"


@pytest.mark.parametrize(("auc", "status"), [(0.5, "PASS"), (0.55, "PASS"), (0.6, "WARN"), (0.7, "FAIL"), (0.3, "PASS")])
def test_a_discriminator_that_knows_its_images(auc: float, status: str) -> None:
    rng = np.random.default_rng(0)
    records = [{"step": i, "d_auc": float(a), "d_sign": 0.3} for i, a in enumerate(auc + 0.05 * rng.standard_normal(60))]
    verdict = judged(overfitting_discriminator(records))
    assert verdict.status == status
    assert "r_t 0.30" in verdict.evidence


def test_only_the_later_half_of_the_log_counts() -> None:
    rng = np.random.default_rng(0)
    early_trouble = np.r_[np.full(30, 0.8), np.full(30, 0.5)] + 0.03 * rng.standard_normal(60)
    assert judged(overfitting_discriminator([{"step": i, "d_auc": float(a)} for i, a in enumerate(early_trouble)])).status == "PASS"


def test_divergence_counts_retreats() -> None:
    line: dict[str, Any] = {"step": 1}
    assert judged(divergence([])).status == "CANNOT TELL"
    assert judged(divergence([line])).status == "PASS"
    verdict = judged(divergence([line, {"event": "retreat", "step": 40}]))
    assert (verdict.status, verdict.effect) == ("WARN", 1)
    assert "at steps 40" in verdict.evidence
    assert judged(divergence([line, {"event": "retreat", "step": 40}, {"event": "gave up", "step": 40}])).status == "FAIL"


def samples(shift: list[float], n: int = 64) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, 10)) + s).astype(np.float32) for s in shift]


def test_drift_is_one_for_independent_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(1)
    effects = []
    for _ in range(50):
        drawn = [rng.standard_normal((64, 10)).astype(np.float32) for _ in range(6)]
        finding = oscillation(drawn, list(range(5, 11)))
        assert isinstance(finding, Finding)
        effects.append(finding.effect)
    assert 0.85 < np.mean(effects) < 1.1  # the median of a chi square of ten degrees of freedom lies a little below its mean


def test_a_generator_that_swings_is_found_and_one_that_settles_is_not() -> None:
    steps = list(range(100, 1100, 100))
    swing = judged(oscillation(samples([0.5, -0.5] * 5), steps))
    assert swing.status == "FAIL"
    settled = judged(oscillation(samples([2.0, 1.5, 1.0, 0.5, 0, 0, 0, 0, 0, 0]), steps))
    assert settled.status == "PASS"
    assert judged(oscillation(samples([0, 0]), [1, 2])).status == "CANNOT TELL"


def test_a_watcher_speaks_once_when_a_trouble_begins_and_once_when_it_ends() -> None:
    records = log([1.0] * 30 + [1e-3] * 20 + [1.0] * 30, [0.8] * 30 + [1.0] * 20 + [0.8] * 30)
    watcher, events = Watcher(), []
    for record in records:
        events += watcher.see(record)
    assert [(e["name"], e["status"]) for e in events] == [("vanishing-gradient", "WARN"), ("vanishing-gradient", "PASS")]
    begun, ended = (e["step"] for e in events)
    assert 50 * 31 < begun <= 50 * 36
    assert 50 * 51 <= ended <= 50 * 53


def test_a_watcher_that_is_resumed_does_not_repeat_itself() -> None:
    records = log([1.0] * 30 + [1e-3] * 20, [0.8] * 30 + [1.0] * 20)
    watcher = Watcher(records[:40])
    assert [e for record in records[40:] for e in watcher.see(record)] == []
