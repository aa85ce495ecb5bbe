"""The verdicts on latents and likelihoods: their thresholds, what they cannot see, and remedies that are real settings."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from calotype.diagnose.likelihood import likelihood_overfit, posterior_collapse, widens
from calotype.diagnose.remedy import Judged, model_settings
from calotype.diagnose.verdict import Finding, Verdict, conclude, fitting
from calotype.metrics.likelihood import Gap
from calotype.recipes import named


def judged(finding: Finding | Verdict) -> Verdict:
    return conclude([finding])[0]


@pytest.mark.parametrize(
    ("gap", "error", "widening", "expected"),
    [
        (0.0, 0.005, None, "PASS"),
        (0.009, 0.001, None, "PASS"),  # beyond chance, and too small to matter
        (0.02, 0.005, None, "WARN"),
        (0.02, 0.02, None, "CANNOT TELL"),  # chance explains it, and would explain a grave one
        (0.08, 0.005, None, "FAIL"),
        (0.08, 0.005, True, "FAIL"),
        (0.08, 0.005, False, "WARN"),
        (-0.08, 0.005, None, "PASS"),
    ],
)
def test_a_gap_is_judged_by_its_size_its_error_and_its_course(gap: float, error: float, widening: bool | None, expected: str) -> None:
    found = judged(likelihood_overfit(Gap(gap, error, gap), 500, widening))
    assert found.status == expected
    assert f"{gap:+.4f} bits per dimension" in found.evidence


def log(slope: float, noise: float = 0.01, lines: int = 40) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    return [{"step": 50.0 * i, "bits_train": 1.0, "bits_holdout": 1.1 + slope * i + noise * rng.normal()} for i in range(lines)]


def test_a_gap_that_grows_is_told_from_one_that_stays() -> None:
    assert widens(log(0.01)) is True
    assert widens(log(0.0)) is False
    assert widens(log(-0.01)) is False
    assert widens(log(0.01, lines=12)) is None  # six lines in the later half
    assert widens([{"step": 1.0, "loss": 2.0}] * 40) is None
    early = [*({**r, "bits_holdout": 1.0 + 0.01 * i} for i, r in enumerate(log(0.0)[:20])), *log(0.0)[20:]]
    assert widens(early) is False  # only the later half counts


def test_too_few_images_and_broken_encoders_cannot_be_judged() -> None:
    few, broken = np.zeros((49, 4)), np.full((100, 4), np.nan)
    for means, why in ((few, "49 images"), (broken, "not finite")):
        found = posterior_collapse(means, np.zeros(means.shape))
        assert isinstance(found, Verdict)
        assert found.status == "CANNOT TELL"
        assert why in found.says


def test_remedies_are_settings_that_the_model_has_and_has_not_taken() -> None:
    collapsed = judged(posterior_collapse(np.zeros((100, 8)), np.zeros((100, 8))))
    assert collapsed.status == "FAIL"
    config = named("vae").model

    def of(settings: object) -> list[str]:
        return [remedy.text for remedy in fitting(collapsed, Judged(model_settings(settings))).remedies]

    assert of({**asdict(config), "free_bits": 0.0, "beta": 1.0}) == [remedy.text for remedy in collapsed.remedies]
    assert "--model.beta 0.5" not in of({**asdict(config), "beta": 0.5})
    assert of(named("dcgan").model) == []
