"""Verdicts on classifiers see their trouble, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from calotype.diagnose.checks import answers
from calotype.diagnose.recognition import RecognitionEvidence, label_noise, miscalibration, overfitting, unpredicted
from calotype.diagnose.verdict import Finding, Verdict, conclude
from calotype.metrics.confidence import log_softmax, softmax
from calotype.metrics.inputs import Beliefs
from calotype.metrics.recognition import Suspects

CLASSES = ("a", "b", "c", "d")


def beliefs(n: int, hard: float = 1.0, stated: float = 1.0, seed: int = 0) -> Beliefs:
    """Beliefs whose labels follow from them, stated at another temperature; the lower ``hard``, the surer."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 4)) / hard
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits)])
    return Beliefs(labels, log_softmax(logits, stated))


def status(found: Finding | Verdict) -> str:
    return conclude([found])[0].status


def test_a_gap_between_training_and_unseen_images() -> None:
    easy, hard = beliefs(600, 0.2), beliefs(600, 1.0, seed=1)
    assert easy.right.mean() - hard.right.mean() > 0.15
    assert status(overfitting(easy, hard)) == "FAIL"
    assert status(overfitting(hard, easy)) == "PASS"
    assert status(overfitting(beliefs(600, seed=2), beliefs(600, seed=3))) == "PASS"
    assert status(overfitting(easy, beliefs(20))) == "CANNOT TELL"


@pytest.mark.parametrize(("stated", "expected"), [(1.0, "PASS"), (0.35, "FAIL"), (4.0, "FAIL")])
def test_beliefs_that_are_not_true(stated: float, expected: str) -> None:
    found = miscalibration(beliefs(600, 1.5, stated), 0)
    assert status(found) == expected
    assert isinstance(found, Finding)
    assert ("surer than" in found.says["FAIL"]) == (stated < 1) or expected == "PASS"


def test_true_beliefs_raise_an_alarm_in_fewer_than_one_of_twenty_reports() -> None:
    alarms = sum(status(miscalibration(beliefs(300, 1.5, seed=seed), seed)) in ("WARN", "FAIL") for seed in range(40))
    assert alarms <= 4


def test_a_class_that_is_never_named() -> None:
    held = beliefs(400)
    assert status(unpredicted(held, CLASSES)) == "PASS"
    silent = held.log_probabilities.copy()
    silent[:, 2] = -np.inf
    verdict = conclude([unpredicted(Beliefs(held.labels, silent), CLASSES)])[0]
    assert verdict.status == "FAIL"
    assert verdict.data == {"classes": ["c"]}
    few = held.labels != 2
    few[np.nonzero(held.labels == 2)[0][:6]] = True
    assert status(unpredicted(Beliefs(held.labels[few], silent[few]), CLASSES)) == "WARN"


def test_doubtful_labels_are_a_warning_and_never_more() -> None:
    def of(n: int) -> Suspects:
        return Suspects(np.arange(n), np.zeros(n, np.int64), np.ones(n), 1000)

    assert [status(label_noise(of(n))) for n in (0, 9, 10, 900)] == ["PASS", "PASS", "WARN", "WARN"]


def test_what_is_not_known_is_not_asked() -> None:
    held = beliefs(200)
    names = [found.name for found in answers(RecognitionEvidence(held, CLASSES))]
    assert names == ["miscalibration", "unpredicted-class"]
    assert len(answers(RecognitionEvidence(held, CLASSES, held, Suspects(np.arange(0), np.arange(0), np.zeros(0), 200)))) == 4
