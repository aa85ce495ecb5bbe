"""Logistic regression, and the images whose labels a judge contradicts that never saw them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from calotype.losses.logistic import logistic
from calotype.metrics.confidence import log_softmax
from calotype.metrics.inputs import Beliefs
from calotype.metrics.recognition import log_loss, share_right, suspects


def clusters(n: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of four classes, each a cluster."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    return (rng.normal(0, 1, (n, 12)) + apart * rng.normal(0, 1, (4, 12))[labels]).astype(np.float32), labels


def test_logistic_regression_is_where_the_gradient_is_zero() -> None:
    features, labels = clusters(300, 0.7)
    x, y = torch.from_numpy(features) * 5 + 3, torch.from_numpy(labels)
    weight, bias = logistic(x, y, 4, decay=0.1)
    scale = x.std(0, correction=0)
    w = (weight * scale).double().requires_grad_()
    b = (bias + weight @ x.mean(0)).double().requires_grad_()
    loss = functional.cross_entropy(((x - x.mean(0)) / scale).double() @ w.T + b, y) + 0.05 * w.square().sum()
    loss.backward()
    assert w.grad is not None
    assert b.grad is not None
    assert float(w.grad.abs().max()) < 1e-3
    assert float(b.grad.abs().max()) < 1e-3
    assert float(((x @ weight.T + bias).argmax(1) == y).float().mean()) > 0.7


def test_planted_wrong_labels_are_found_and_hardly_another() -> None:
    features, labels = clusters(600, 3.0)
    given = labels.copy()
    given[:18] = (labels[:18] + 1) % 4
    found = suspects(features, given, 4)
    assert found.checked == 600
    assert len(set(found.place.tolist()) & set(range(18))) >= 9  # the wrong ones among the others make the judge doubt
    assert len(set(found.place.tolist()) - set(range(18))) <= 2
    wrong = found.place < 18
    assert np.array_equal(found.named[wrong], labels[found.place[wrong]])
    assert (found.belief >= 0.9).all()
    assert len(suspects(features, labels, 4).place) <= 2


def test_no_image_teaches_the_judge_that_is_asked_about_it() -> None:
    """With more features than images a judge can learn every label that it sees, wrong ones too."""
    features, labels = clusters(250, 3.0, seed=2)
    noise = np.random.default_rng(3).normal(0, 1, (250, 300)).astype(np.float32)
    given = labels.copy()
    given[:6] = (labels[:6] + 2) % 4
    found = suspects(np.concatenate([10 * np.repeat(features, 12, 1), noise], 1), given, 4)
    assert len(set(found.place.tolist()) & set(range(6))) >= 3


def test_what_is_merely_hard_is_not_called_wrong() -> None:
    features, labels = clusters(600, 0.3)
    assert len(suspects(features, labels, 4).place) <= 6


def test_scores_of_beliefs() -> None:
    beliefs = Beliefs(np.array([0, 1, 1]), np.log([[0.5, 0.5], [0.75, 0.25], [1e-300, 1.0]]))
    accuracy = share_right(beliefs)
    assert accuracy.value == pytest.approx(2 / 3)
    assert accuracy.interval is not None
    assert accuracy.interval[0] < 2 / 3 < accuracy.interval[1]
    assert log_loss(beliefs).value == pytest.approx((np.log(2) + np.log(4)) / 3)


def test_no_belief_is_too_small_for_the_log_loss() -> None:
    logits = np.array([[0.0, 900.0], [0.0, 900.0]])
    assert log_loss(Beliefs(np.array([0, 1]), log_softmax(logits))).value == pytest.approx(450)
    assert log_loss(Beliefs(np.array([0, 1]), log_softmax(logits, 2.0))).value == pytest.approx(225)
