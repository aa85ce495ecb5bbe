"""What carries the name of a published score."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from calotype.evaluation.scores import bounded, in_features, mean_of, mean_over, published
from calotype.metrics.features import Extracted, pick
from calotype.metrics.score import Estimate
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


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("coverage", 0, 1),
        ("FD", 0, math.inf),
        ("SSIM, a2b", -1, 1),
        ("AuthPct", 0, 100),
        ("KID", -math.inf, math.inf),
        ("bits/dim", 0, math.inf),
        ("FD, bias removed", -math.inf, math.inf),
        ("density", 0, math.inf),
        ("different bins", 0, 1),
        ("class score", 1, math.inf),
    ],
)
def test_an_interval_ends_where_the_score_does(name: str, least: float, most: float) -> None:
    low, high = bounded(name, (-500.0, 500.0)) or (0.0, 0.0)
    assert (low, high) == (max(least, -500.0), min(most, 500.0))
    assert bounded(name, None) is None


def test_means_over_spaces_and_over_images_keep_to_that() -> None:
    wide = [
        {"FD": Estimate(1.0, (0.9, 1.1)), "KID": Estimate(0.1, (0.0, 0.2))},
        {"FD": Estimate(9.0, (8.0, 10.0)), "KID": Estimate(0.9, (0.8, 1.0))},
    ]
    found = mean_over(wide)
    assert found["FD"].interval is not None
    assert found["FD"].interval[0] == 0
    assert found["KID"].interval is not None
    assert found["KID"].interval[0] < 0
    assert mean_of("SSIM", np.array([0.99, 0.2])).interval == pytest.approx((-1, 1))
    assert mean_of("PSNR", np.array([30.0, 20.0])).interval == pytest.approx((25 - 63.53, 25 + 63.53), abs=0.01)
