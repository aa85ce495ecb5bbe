"""Testbeds: what they hold is what they say, and it reaches a training with all its digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calotype.data import Images, Loader, check, load, prepare
from calotype.data.embedded import digits
from calotype.data.toy import NAMES, POINTS, draw_points, stacks
from calotype.errors import UserError
from calotype.metrics.known_modes import of_points
from calotype.modes import DigitModes
from calotype.types import ImageSpec


def places(images: Images) -> np.ndarray:
    assert images.coordinates is not None
    assert images.spec.points is not None
    return images.coordinates.reshape(-1, 2) * images.spec.points.scale


@pytest.mark.parametrize("name", POINTS)
def test_points_lie_around_their_modes_as_published(name: str) -> None:
    split, modes = load(name), POINTS[name]
    assert (len(split.train), len(split.holdout)) == (100_000, 10_000)
    assert split.train.spec == ImageSpec(1, 2, modes=modes)
    found = of_points(places(split.train), modes)
    assert found.counts.sum() / found.n == pytest.approx(0.9889, abs=0.0015)
    assert found.counts.min() > 0.9 * found.n / modes.count
    assert np.abs(split.train.coordinates).max() < 1  # type: ignore[type-var,operator]
    assert split.fingerprint == load(name).fingerprint
    assert split.train.fingerprint != split.holdout.fingerprint


def test_the_ring_and_the_grid_are_those_of_the_literature() -> None:
    ring, grid = np.array(POINTS["ring"].centers), np.array(POINTS["grid"].centers)
    assert ring.shape == (8, 2)
    assert np.allclose(np.hypot(*ring.T), 1)
    assert sorted(map(tuple, grid.tolist())) == [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    assert (POINTS["ring"].std, POINTS["grid"].std) == (0.01, 0.05)


def test_batches_hold_the_coordinates_themselves_and_not_one_of_256_levels() -> None:
    train = load("ring").train
    batch = Loader(train, 16, seed=3).batch_at(32)
    assert batch.image.shape == (16, 2, 1, 1)
    assert batch.image.dtype == torch.float32
    there = {row.tobytes() for row in train.coordinates.reshape(-1, 2)}  # type: ignore[union-attr]
    assert all(row.numpy().tobytes() in there for row in batch.image.flatten(1))
    levels = (batch.image + 1) * 127.5
    assert (levels - levels.round()).abs().max() > 0.1
    assert torch.equal(batch.image, Loader(train, 16, seed=3).batch_at(32).image)
    assert train.pixels.dtype == np.uint8  # for what looks at images alone


def test_some_of_the_points_keep_their_places() -> None:
    train = load("grid").train
    some = train.take(np.array([5, 7]))
    assert np.array_equal(places(some), places(train)[[5, 7]])


def test_other_seeds_give_other_points_and_the_same_seed_the_same() -> None:
    one, same, other = (draw_points(POINTS["ring"], 9, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_stacks_are_three_digits_without_a_label_and_held_out_ones_are_of_held_out_digits() -> None:
    split, own = load("stacked5k"), digits()
    assert (split.train.pixels.shape, split.train.labels) == ((30_000, 28, 28, 3), None)
    assert split.train.spec.modes == split.holdout.spec.modes == DigitModes()
    known = {part: {image.tobytes() for image in own.pixels[own.holdout == part]} for part in (True, False)}
    for images, held in ((split.train, False), (split.holdout, True)):
        for stack in images.pixels[:40]:
            assert all(np.ascontiguousarray(stack[..., channel : channel + 1]).tobytes() in known[held] for channel in range(3))


def test_all_digits_are_equally_likely_in_a_stack_however_often_they_are_there() -> None:
    of_class = [np.arange(10), np.array([10])]
    rows = stacks(of_class, 4000, np.random.RandomState(0))
    assert rows.shape == (4000, 3)
    assert (rows == 10).mean() == pytest.approx(0.5, abs=0.02)
    assert set(np.unique(rows)) == set(range(11))


def test_stacks_of_another_size_are_no_testbed() -> None:
    assert load("stacked5k", size=16).train.spec.modes is None


@pytest.mark.parametrize("asked", [{"size": 32}, {"channels": 3}, {"fit": "pad"}])
def test_what_only_pictures_can_be_asked_for_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(UserError, match="neither size nor channels: leave out") as raised:
        load("ring", **asked)  # type: ignore[arg-type]
    assert next(iter(asked)) in str(raised.value)


def test_there_is_nothing_to_prepare_or_to_look_at(tmp_path: object) -> None:
    with pytest.raises(UserError, match="nothing to prepare"):
        prepare("grid", f"{tmp_path}/grid")
    with pytest.raises(UserError, match="25 Gaussians"):
        check("grid")


def test_a_misspelled_testbed_is_guessed() -> None:
    with pytest.raises(UserError, match="did you mean stacked5k"):
        load("stackd5k")
    assert NAMES == ("ring", "grid", "stacked5k")
