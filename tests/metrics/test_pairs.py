from __future__ import annotations

import numpy as np
import pytest
import torch

from calotype.metrics.classes import linear_scores
from calotype.metrics.pairs import DrawnPairs, PairKinds, pixel_agreement
from calotype.metrics.table import computed


def test_pixels_agree_on_the_same_side_of_the_middle() -> None:
    asked = torch.tensor([[1.0, 0.1, -0.1, -1.0], [1.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    second = torch.tensor([[0.2, 0.9, -0.9, 0.3], [-1.0, -1.0, 1.0, -0.2]]).view(2, 1, 2, 2)
    pairs = DrawnPairs(second, asked)
    assert pixel_agreement(pairs).tolist() == [0.75, 0.25]
    assert computed(pairs)["pixel agreement"].value == 0.5
    assert pixel_agreement(DrawnPairs(asked, asked)).tolist() == [1, 1]
    assert pixel_agreement(DrawnPairs(-asked, asked)).tolist() == [0, 0]


def test_strangers_are_images_of_other_pairs() -> None:
    asked = torch.eye(4).view(4, 1, 2, 2) - 0.5
    pairs = DrawnPairs(asked, asked)
    assert pixel_agreement(pairs).tolist() == [1] * 4
    assert pixel_agreement(pairs.strangers).tolist() == [0.5] * 4


def test_classes_agree_pair_by_pair() -> None:
    kinds = PairKinds(np.array([0, 1, 2, 3]), np.array([0, 1, 3, 3]))
    found = computed(kinds)
    assert found.keys() == {"class agreement"}
    assert found["class agreement"].value == 0.75


def test_a_linear_classifier_tells_apart_what_a_line_does() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    features = rng.standard_normal((600, 8)) + 4 * np.eye(8)[labels]
    scores = linear_scores(features[:300], labels[:300], 3)
    assert scores(features).shape == (600, 3)
    assert (scores(features[300:]).argmax(1) == labels[300:]).mean() > 0.95
    shuffled = linear_scores(features[:300], rng.permutation(labels[:300]), 3)
    assert (shuffled(features[300:]).argmax(1) == labels[300:]).mean() == pytest.approx(1 / 3, abs=0.25)
