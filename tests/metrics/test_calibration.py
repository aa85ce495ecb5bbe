"""Calibration of samples whose truth is known to be like them, and of samples that are too sure or too unsure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from calotype.metrics.calibration import calibration, intervals

RNG = np.random.default_rng(0)


def draws(images: int, count: int, spread: float = 1.0, pixels: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Samples and truth of pixels with a spread of their own; samples are ``spread`` times as wide as the truth."""
    width = RNG.uniform(5, 20, (images, pixels))
    center = RNG.uniform(90, 160, (images, pixels))
    samples = center[:, None] + spread * width[:, None] * RNG.standard_normal((images, count, pixels))
    return samples, center + width * RNG.standard_normal((images, pixels))


@pytest.mark.parametrize(("count", "how"), [(5, "Student"), (18, "Student"), (19, "order"), (20, "order"), (60, "order")])
def test_samples_like_the_truth_are_calibrated_however_few_they_are(count, how):
    found = calibration(*draws(40, count))
    assert found.interval.startswith(how)
    assert found.coverage == pytest.approx(0.9, abs=0.015)
    assert found.coverage_even == pytest.approx(0.9, abs=0.015)


def test_plain_quantiles_of_few_samples_would_hold_less():
    samples, truth = draws(40, 20)
    low, high = np.quantile(samples, [0.05, 0.95], axis=1)
    assert ((truth >= low) & (truth <= high)).mean() < 0.87


@pytest.mark.parametrize(("spread", "least", "most"), [(0.5, 0.5, 0.7), (1.5, 0.96, 1.0)])
def test_samples_that_are_too_sure_or_too_unsure_are_seen_and_the_factor_mends_them(spread, least, most):
    found = calibration(*draws(40, 20, spread))
    assert least < found.coverage_even < most
    assert found.factor == pytest.approx(1 / spread, rel=0.1)
    assert found.coverage_scaled == pytest.approx(0.9, abs=0.02)


def test_where_all_agree_an_interval_without_width_holds_the_truth_and_a_tie_counts_by_share():
    found = calibration(np.zeros((4, 20, 50)), np.zeros((4, 50)))
    assert found.coverage == 1
    assert found.coverage_even == pytest.approx(0.9)
    assert found.width == 0
    assert found.correlation is None
    off = calibration(np.zeros((4, 20, 50)), np.full((4, 50), 3.0))
    assert off.coverage == off.coverage_even == 0


def test_pixels_with_ties_are_calibrated_where_samples_are_like_the_truth():
    dark = RNG.uniform(0, 1, (40, 400))

    def draw(*shape: int) -> np.ndarray:
        return np.where(
            RNG.uniform(size=(*shape, 400)) < dark.reshape(40, *[1] * (len(shape) - 1), 400), 0, 200 + RNG.integers(0, 3, (*shape, 400))
        )

    found = calibration(draw(40, 20), draw(40))
    assert found.coverage > 0.93
    assert found.coverage_even == pytest.approx(0.9, abs=0.015)
    assert found.coverage_varied == pytest.approx(0.9, abs=0.015)
    assert 0.5 < found.varied < 0.99


def test_certain_pixels_hide_what_is_wrong_with_the_others_but_not_from_those_that_vary():
    rare = 0.02  # so seldom that the samples of most pixels are all dark

    def draw(images: int, count: int, share: float) -> np.ndarray:
        return 255.0 * (RNG.uniform(size=(images, count, 2000)) < share)

    good = calibration(draw(20, 20, rare), draw(20, 1, rare)[:, 0])
    assert good.varied < 0.5
    assert good.coverage_varied == pytest.approx(0.9, abs=0.01)
    blind = calibration(draw(20, 20, rare / 8), draw(20, 1, rare)[:, 0])
    assert blind.coverage_even > 0.87
    assert blind.coverage_varied < 0.7
    assert blind.verdict == "calibrated"  # which is why both are given


def test_the_error_is_that_of_images():
    samples, truth = draws(40, 20)
    found = calibration(samples, truth)
    shares = [calibration(samples[i : i + 1], truth[i : i + 1]).coverage_even for i in range(40)]
    assert found.error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(40))
    assert calibration(samples[:1], truth[:1]).error is None
    whole = calibration(np.repeat(samples, 2, 2), np.repeat(truth, 2, 1))  # pixels that say the same make nothing more certain
    assert whole.error == pytest.approx(found.error)


@pytest.mark.parametrize(
    ("images", "spread", "tells"), [(12, 1.0, "calibrated"), (12, 0.6, "too sure"), (12, 1.7, "too unsure"), (9, 1.0, "too few")]
)
def test_the_verdict_goes_by_the_coverage_and_says_nothing_of_few_images(images, spread, tells):
    assert calibration(*draws(images, 20, spread)).verdict.startswith(tells)


def test_the_correlation_is_spearmans_and_only_judged_pixels_count():
    samples, truth = draws(6, 20)
    judged = RNG.uniform(size=truth.shape) < 0.3
    samples, truth = np.rint(samples).clip(0, 255), np.rint(truth).clip(0, 255)
    found = calibration(samples, truth, judged)
    oracle = spearmanr(samples.std(1)[judged], np.abs(truth - samples.mean(1))[judged]).statistic
    assert found.correlation == pytest.approx(oracle)
    assert found.pixels == judged.sum()
    assert found.factor is None
    assert found.coverage_scaled is None
    degraded = np.where(judged, truth, 255 - truth)
    assert calibration(samples, degraded, judged).coverage == found.coverage


def test_nineteen_samples_are_held_by_their_extremes():
    samples = RNG.normal(100, 20, (3, 19, 10))
    low, high, _ = intervals(samples)
    assert np.allclose(low, samples.min(1))
    assert np.allclose(high, samples.max(1))


def test_where_nothing_is_judged_nothing_is_told():
    samples, truth = draws(20, 20, pixels=30)
    found = calibration(samples, truth, np.zeros(truth.shape, bool))
    assert (found.images, found.pixels, found.verdict) == (0, 0, "too few images to tell")
    assert found.coverage is found.coverage_even is found.width is found.varied is found.factor is None


def test_images_of_which_nothing_is_judged_are_none():
    """Were they counted, a half without any pixel could be what the factor is fitted on."""
    samples, truth = draws(40, 20, pixels=30)
    judged = np.zeros(truth.shape, bool)
    judged[1::2] = True
    found, alone = calibration(samples, truth, judged), calibration(samples[1::2], truth[1::2])
    assert found == alone
    assert found.images == 20
    assert found.factor is not None
    judged[1] = False
    assert calibration(samples, truth, judged).factor is None
