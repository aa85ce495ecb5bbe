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
    assert {"model.loss": "non_saturating"} in [remedy.settings for remedy in verdict.remedies]


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


def test_a_discriminator_that_gave_up_is_a_warning_and_calls_for_a_lower_rate() -> None:
    verdict = judged(vanishing_gradient(log([1.0] * 10 + [1e-3] * 90, [0.8] * 10 + [0.5] * 90)))
    assert (verdict.status, verdict.effect) == ("WARN", pytest.approx(0.9))
    assert "says the same of all images" in verdict.says
    assert [remedy.text for remedy in verdict.remedies] == ["a lower --optimizer.lr"]


@pytest.mark.parametrize(("of_discriminator", "accuracy", "status"), [(0.0, 1.0, "FAIL"), (1e-3, 1.0, "PASS"), (0.0, 0.9, "PASS")])
def test_a_gradient_that_was_gone_from_the_start_is_seen_by_the_discriminators(
    of_discriminator: float, accuracy: float, status: str
) -> None:
    records = [record | {"discriminator/gradient_norm": of_discriminator} for record in log([1e-3] * 20, [accuracy] * 20)]
    assert judged(vanishing_gradient(records)).status == status


@pytest.mark.parametrize("records", [[], [{"step": 1, "velocity/loss": 1.0}], log([1.0] * 9, [0.5] * 9)])
def test_without_a_discriminator_or_with_a_short_log_nobody_can_tell(records: Records) -> None:
    none = any("velocity/loss" in record for record in records)
    assert judged(vanishing_gradient(records)).status == ("NOT APPLICABLE" if none else "CANNOT TELL")


@pytest.mark.parametrize(("auc", "status"), [(0.5, "PASS"), (0.55, "PASS"), (0.6, "WARN"), (0.7, "FAIL"), (0.3, "PASS")])
def test_a_discriminator_that_knows_its_images(auc: float, status: str) -> None:
    rng = np.random.default_rng(0)
    records = [{"step": i, "d_auc": float(a), "d_sign": 0.3} for i, a in enumerate(auc + 0.05 * rng.standard_normal(60))]
    verdict = judged(overfitting_discriminator(records))
    assert verdict.status == status
    assert "r_t 0.30" in verdict.evidence


def judged_images(rng: np.random.Generator, held: int, lines: int = 60, stated: bool = True) -> Records:
    """A log of a discriminator that knows nothing: the same held-out images, and fresh training images, by chance ranked as they are."""
    same, records = rng.standard_normal(held), []
    for i in range(lines):
        on_train = rng.standard_normal(64)
        records.append({"step": i, "d_auc": float((on_train[:, None] > same).mean())} | ({"holdout_images": held} if stated else {}))
    return records


def test_a_small_holdout_that_is_judged_again_and_again_raises_no_false_alarms() -> None:
    rng = np.random.default_rng(0)
    for held in (50, 64, 200):
        runs = [judged(overfitting_discriminator(judged_images(rng, held))).status for _ in range(120)]
        assert np.mean([run in ("WARN", "FAIL") for run in runs]) <= 0.05
    runs = [judged(overfitting_discriminator(judged_images(rng, 64, stated=False))).status for _ in range(120)]
    assert np.mean([run in ("WARN", "FAIL") for run in runs]) <= 0.05
    verdict = judged(overfitting_discriminator(judged_images(rng, 20)))
    assert verdict.status == "CANNOT TELL"
    assert verdict.says.startswith("There are 20 held-out images; 50 are needed")


def test_a_watcher_is_not_alarmed_by_a_small_holdout() -> None:
    rng = np.random.default_rng(1)
    events = []
    for held in [20] * 30 + [64] * 30:
        watcher = Watcher()
        for record in judged_images(rng, held, 40):
            events += watcher.see(record)
    assert events == []
    known = Watcher()
    for i in range(40):
        events += known.see({"step": i, "d_auc": 0.8 + 0.05 * rng.standard_normal(), "holdout_images": 64})
    assert [e["name"] for e in events] == ["overfitting-discriminator"]


def test_only_the_later_half_of_the_log_counts() -> None:
    rng = np.random.default_rng(0)
    early_trouble = np.r_[np.full(30, 0.8), np.full(30, 0.5)] + 0.03 * rng.standard_normal(60)
    assert judged(overfitting_discriminator([{"step": i, "d_auc": float(a)} for i, a in enumerate(early_trouble)])).status == "PASS"


def test_divergence_counts_retreats() -> None:
    line: dict[str, Any] = {"step": 1}
    assert judged(divergence([])).status == "CANNOT TELL"
    assert judged(divergence([line])).status == "PASS"
    verdict = judged(divergence([line, {"event": "rollback", "step": 40}]))
    assert (verdict.status, verdict.effect) == ("WARN", 1)
    assert "at steps 40" in verdict.evidence
    assert judged(divergence([line, {"event": "rollback", "step": 40}, {"event": "gave up", "step": 40}])).status == "FAIL"


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


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("checkpoints", [4, 10])
@pytest.mark.parametrize("scale", [np.ones(10), 10.0 ** -np.arange(10)], ids=["even", "one direction dominates"])
def test_chance_is_no_oscillation_however_few_directions_matter(size: int, checkpoints: int, scale: np.ndarray) -> None:
    rng = np.random.default_rng(size + checkpoints)
    steps = list(range(checkpoints, 2 * checkpoints))
    runs = [oscillation([(scale * rng.standard_normal((size, 10))).astype(np.float32) for _ in steps], steps) for _ in range(40)]
    assert np.mean([judged(run).status in ("WARN", "FAIL") for run in runs]) <= 0.1  # 4 of 40 where 2 are expected
    p = [run.p for run in runs if isinstance(run, Finding)]
    assert 0.3 < np.mean(np.array(p, float) < 0.5) < 0.7
    swing = [(scale * rng.standard_normal((size, 10)) + 3 * scale * (i % 2)).astype(np.float32) for i in range(checkpoints)]
    assert judged(oscillation(swing, steps)).status == "FAIL"


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
