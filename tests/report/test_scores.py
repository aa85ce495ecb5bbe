"""What carries the name of a published score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calotype.metrics.features import Extracted, pick
from calotype.report.scores import published
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
