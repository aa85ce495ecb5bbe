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
