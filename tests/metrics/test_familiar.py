"""How far images are from those that a classifier learned from."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from calotype.metrics.familiar import NEIGHBOR, KnownImages, distance_limit


def test_the_tenth_neighbor_is_that_of_a_peer() -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(700, 12)).astype(np.float32), rng.normal(size=(1_100, 12)).astype(np.float32)
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, asked))
    want = NearestNeighbors(n_neighbors=NEIGHBOR, algorithm="brute").fit(one).kneighbors(other)[0][:, -1]
    assert KnownImages.of(known).distances(asked) == pytest.approx(want, abs=1e-3)
    assert KnownImages.of(known).distances(100 * asked) == pytest.approx(want, abs=1e-3)  # a direction has no length


def test_few_images_and_none() -> None:
    few = KnownImages.of(np.eye(3, dtype=np.float32))
    assert few.distances(np.array([[0.0, 0.0, 2.0]], np.float32)) == pytest.approx([2**0.5], abs=1e-3)
    assert few.distances(np.zeros((1, 3), np.float32)) == pytest.approx([2**0.5])  # no direction is like no other
    assert few.distances(np.empty((0, 3), np.float32)).shape == (0,)


def test_five_of_a_hundred_images_of_a_known_kind_are_called_unlike() -> None:
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        limit = distance_limit(rng.gumbel(0, 1, 199))
        assert limit is not None
        alarms.append((rng.gumbel(0, 1, 200) > limit).mean())
    assert 0.045 < np.mean(alarms) < 0.055
    assert distance_limit(rng.normal(size=18)) is None
    assert distance_limit(np.arange(19.0)) == 18.0


def test_what_lies_elsewhere_is_called_unlike() -> None:
    rng = np.random.default_rng(2)
    means = np.eye(20)[:4] * 6

    def drawn(n: int) -> np.ndarray:
        return (means[rng.integers(0, 4, n)] + rng.normal(size=(n, 20))).astype(np.float32)

    known = KnownImages.of(drawn(500))
    limit = distance_limit(known.distances(drawn(300)))
    assert limit is not None
    strange = (np.eye(20)[10] * 6 + rng.normal(size=(200, 20))).astype(np.float32)
    assert (known.distances(strange) > limit).mean() > 0.9
    assert (known.distances(drawn(400)) > limit).mean() < 0.1
