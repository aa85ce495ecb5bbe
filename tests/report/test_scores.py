"""What carries the name of a published score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calotype.metrics.features import Extracted, pick
from calotype.report.scores import in_features, published
from calotype.types import ImageSpec


def test_only_inception_features_of_fifty_thousand_images_give_a_fid() -> None:
    rng = np.random.default_rng(0)
    space = replace(pick("random", ImageSpec(16, 3))[0], name="inception")
    train = Extracted(rng.standard_normal((3_000, 3)).astype(np.float32))
    drawn = Extracted((rng.standard_normal((50_000, 3)) + np.array([1, 0, 0])).astype(np.float32))
    (score,) = published(space, drawn, train)
    assert (score.name, score.n, score.m) == ("FID", 50_000, 3_000)
    assert score.value == pytest.approx(1, abs=0.1)
    assert published(space, drawn[:49_999], train) == []
    assert published(replace(space, name="random1"), drawn, train) == []


def test_what_the_recognizer_is_sure_of_is_counted() -> None:
    rng = np.random.default_rng(0)
    beliefs = np.full((200, 10), 0.02, np.float32)
    beliefs[:150, 3], beliefs[150:, 3] = 0.95, 0.82
    beliefs /= beliefs.sum(1, keepdims=True)
    points = rng.standard_normal((200, 4)).astype(np.float32)
    found = in_features(Extracted(points, beliefs), Extracted(rng.standard_normal((200, 4)).astype(np.float32)), 0.0)["recognized"]
    assert beliefs[0, 3] < 0.9
    assert found.value == 0
    beliefs[:150, 3] = 9
    found = in_features(Extracted(points, beliefs / beliefs.sum(1, keepdims=True)), Extracted(points), 0.0)["recognized"]
    assert found.value == 0.75
    assert found.interval == pytest.approx((0.686, 0.805), abs=0.002)  # Wilson's, of 150 among 200
