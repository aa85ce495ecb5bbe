from __future__ import annotations

import numpy as np
import pytest

from calotype.errors import UserError
from calotype.metrics.classes import class_shares

CLASSES = 5


def draw(n: int, shares: list[float], rng: np.random.Generator, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds whose centers are ``apart`` standard deviations from the origin."""
    labels = rng.choice(CLASSES, n, p=shares)
    return (rng.standard_normal((n, 8)) + apart * np.eye(8)[labels]).astype(np.float32), labels


@pytest.mark.parametrize("apart", [1.0, 6.0])
def test_shares_are_unbiased_and_their_errors_right_even_where_classes_overlap(apart: float) -> None:
    rng = np.random.default_rng(0)
    wanted = [0.4, 0.3, 0.2, 0.1, 0.0]
    z, accuracy = [], []
    for trial in range(60):
        y, labels = draw(3000, [0.2] * 5, rng, apart)
        x, _ = draw(800, wanted, rng, apart)
        found = class_shares(x, y, labels, CLASSES, seed=trial)
        z.append((found.share - wanted) / found.error)
        accuracy.append(found.accuracy)
        assert found.share.sum() == pytest.approx(1, abs=0.03)
    assert np.abs(np.mean(z, 0)).max() < 4 / np.sqrt(60)
    assert 0.85 < np.std(z) < 1.15
    assert np.mean(accuracy) < 0.65 if apart == 1.0 else np.mean(accuracy) > 0.99


def test_few_labels_and_bad_numbers_are_refused() -> None:
    rng = np.random.default_rng(0)
    y, labels = draw(100, [0.96, 0.01, 0.01, 0.01, 0.01], rng, 1.0)
    with pytest.raises(UserError, match="20 labelled"):
        class_shares(y, y, labels, CLASSES)
    y, labels = draw(500, [0.2] * 5, rng, 1.0)
    y[3, 2] = np.nan
    with pytest.raises(UserError):
        class_shares(y, y, labels, CLASSES)


@pytest.mark.parametrize("apart", [0.3, 1.0])
def test_estimated_shares_are_shares_however_weak_the_classifier(apart: float) -> None:
    """Least squares alone leaves [0, 1] in most of these."""
    rng = np.random.default_rng(1)
    for trial in range(20):
        y, labels = draw(1000, [0.2] * 5, rng, apart)
        x, _ = draw(300, [0.96, 0.01, 0.01, 0.01, 0.01], rng, apart)
        found = class_shares(x, y, labels, CLASSES, seed=trial)
        assert found.share.min() >= 0
        assert found.share.sum() == pytest.approx(1, abs=1e-9)
        assert found.possible


def test_images_that_are_no_mixture_of_the_classes_have_no_shares() -> None:
    rng = np.random.default_rng(2)
    y, labels = draw(3000, [0.2] * 5, rng, 6.0)
    mixed, _ = draw(800, [0.6, 0.4, 0.0, 0.0, 0.0], rng, 6.0)
    assert class_shares(mixed, y, labels, CLASSES).possible
    strange = mixed + 9 * np.eye(8, dtype=np.float32)[2] - 9 * np.eye(8, dtype=np.float32)[0]
    assert not class_shares(strange, y, labels, CLASSES).possible
    assert not class_shares(np.repeat(strange[:1], 800, 0), y, labels, CLASSES).possible


def test_a_fit_is_refused_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(3)
    fits = []
    for trial in range(60):
        y, labels = draw(1000, [0.2] * 5, rng, 1.0)
        x, _ = draw(400, [1.0, 0.0, 0.0, 0.0, 0.0], rng, 1.0)
        fits.append(class_shares(x, y, labels, CLASSES, seed=trial).fit)
    assert np.mean(np.array(fits) < 0.05) <= 0.1


def test_classes_that_are_the_same_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(4)
    y = np.zeros((200, 4), np.float32)
    with pytest.raises(UserError, match="alike"):
        class_shares(rng.standard_normal((100, 4)).astype(np.float32), y, np.arange(200) % 2, 2)
