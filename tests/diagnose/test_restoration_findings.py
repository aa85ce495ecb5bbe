"""Findings on restorers: each is raised where its trouble is planted, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from calotype.diagnose import restoration
from calotype.diagnose.verdict import Finding, Verdict, conclude
from calotype.metrics.likelihood import Gap
from calotype.metrics.spectrum import kept_detail

rng = np.random.default_rng(0)
HARD = rng.normal(28, 3, 24)  # PSNR of the best classical method: some images are harder than others


def status(found: Finding | Verdict) -> str:
    return conclude([found])[0].status


def near(value: float, spread: float = 0.2, n: int = 24) -> NDArray[np.float64]:
    return value + spread * np.random.default_rng(1).normal(size=n)


@pytest.mark.parametrize(
    ("gain", "spread", "expected"),
    [(2.0, 0.5, "PASS"), (0.1, 0.05, "WARN"), (-0.5, 0.3, "FAIL"), (0.0, 0.0, "FAIL"), (0.3, 3.0, "CANNOT TELL")],
)
def test_a_restorer_must_beat_what_needs_no_training(gain: float, spread: float, expected: str) -> None:
    assert status(restoration.baseline(HARD + near(gain, spread), HARD, "wiener")) == expected


def test_one_image_says_nothing_of_others() -> None:
    assert status(restoration.baseline(HARD[:1] + 3, HARD[:1], "wiener")) == "CANNOT TELL"


def test_the_interval_of_the_gain_is_that_of_scipy() -> None:
    from scipy import stats

    found = restoration.baseline(HARD + near(1.0, 0.5), HARD, "wiener")
    assert isinstance(found, Finding)
    low, high = stats.ttest_rel(HARD + near(1.0, 0.5), HARD).confidence_interval(0.95)
    assert f"is {low:+.2f} to {high:+.2f} with 95% certainty" in found.evidence


@pytest.mark.parametrize(("worse", "expected"), [(0, "PASS"), (1, "WARN"), (10, "FAIL")])
def test_images_that_come_out_worse_are_counted(worse: int, expected: str) -> None:
    given = np.full(24, 20.0)
    made = given + 5
    made[:worse] = 19.0
    assert status(restoration.harm(made, given)) == expected


def test_what_nobody_can_see_is_no_harm() -> None:
    assert status(restoration.harm(np.full(24, 52.0), np.full(24, 80.0))) == "PASS"
    assert status(restoration.harm(np.full(24, 40.0), np.full(24, 80.0))) == "FAIL"


@pytest.mark.parametrize(("share", "expected"), [(0.8, "PASS"), (0.6, "PASS"), (0.4, "WARN"), (0.2, "FAIL")])
def test_blur_is_what_classical_methods_keep(share: float, expected: str) -> None:
    power = np.exp(rng.normal(0, 0.2, 48))
    kept = [power * near(s, 0.02, 48) for s in (share, 0.6)]
    assert status(restoration.blur(kept[0], kept[1], power, "wiener")) == expected


@pytest.mark.parametrize(("shift", "expected"), [(0.3, "PASS"), (4.0, "WARN"), (12.0, "FAIL")])
def test_color_drift_of_single_images_counts(shift: float, expected: str) -> None:
    signs = np.where(np.arange(24) % 2, 1.0, -1.0)[:, None]  # no drift on average
    moved = signs * np.array([0.1, shift, 0.1]) + near(0, 0.05)[:, None]
    found = restoration.drift(moved, np.zeros((24, 3)))
    assert status(found) == expected
    assert "green" in found.evidence
    assert status(restoration.drift(moved, 2 * moved)) == expected.replace("FAIL", "WARN")  # what no method can know is no failure


@pytest.mark.parametrize(
    ("gap", "grown", "expected"), [(2.5, 2.0, "FAIL"), (2.5, 0.0, "PASS"), (0.1, 2.0, "PASS"), (0.9, 1.0, "WARN"), (2.5, None, "WARN")]
)
def test_a_gap_counts_as_far_as_it_grew(gap: float, grown: float | None, expected: str) -> None:
    found = restoration.overfit(Gap(gap, 0.15, gap), 24, None if grown is None else restoration.Growth(grown, 0.2))
    assert status(found) == expected


def test_the_log_tells_how_much_the_gap_grew() -> None:
    lines = [{"step": i, "psnr_train": 25 + 0.2 * i, "psnr_holdout": 25 + 0.1 * i} for i in range(30)]
    found = restoration.growth([*lines, {"event": "score", "step": 30}])
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert restoration.growth(lines[:8]) is None


@pytest.mark.parametrize(("cost", "expected"), [(0.0, "PASS"), (0.6, "WARN"), (2.0, "FAIL")])
def test_a_denoiser_that_misjudges_the_level(cost: float, expected: str) -> None:
    told = np.stack([near(level, 1.0) for level in (38.0, 32.0, 27.0)])
    blind = told - np.array([0.0, cost, 0.1])[:, None] - near(0, 0.05)
    found = restoration.noise_level(np.array([5.0, 25.0, 50.0]), told, blind)
    assert status(found) == expected


def test_detail_that_is_kept_is_the_transfer_factor() -> None:
    truth = rng.integers(40, 216, (6, 48, 48, 1)).astype(np.uint8)
    kept, power = kept_detail(truth, truth)
    assert kept == pytest.approx(power)
    faded = np.rint(128 + 0.5 * (truth.astype(float) - 128)).astype(np.uint8)
    kept, power = kept_detail(faded, truth)
    assert kept.sum() / power.sum() == pytest.approx(0.5, abs=0.01)
    noise = rng.integers(40, 216, truth.shape).astype(np.uint8)
    kept, power = kept_detail(noise, truth)
    assert abs(kept.sum() / power.sum()) < 0.05
