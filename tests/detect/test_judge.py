"""LinearJudge, limits and answers on planted features; the division of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from calotype.data.duplicates import miniature
from calotype.detect.judge import LinearJudge, learned
from calotype.detect.judging import Numbers, answers, calibrated, curve, separation, unlikeness
from calotype.detect.tables import CALIBRATION, TEST, TRAIN, EqualImages, divided
from calotype.errors import DamagedError


def planted(n: int, shift: float, seed: int, d: int = 12) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += shift
    return x.astype(np.float32)


def judge_of(*shifts: float) -> LinearJudge:
    return learned(planted(900, 0, 1), [planted(300, shift, 2 + i) for i, shift in enumerate(shifts)])


def test_the_judge_finds_the_planted_direction_whatever_the_numbers_of_images() -> None:
    judge = judge_of(2, 2)
    weight = (judge.weight[1] - judge.weight[0]) / judge.scale
    assert abs(weight[0]) / np.linalg.norm(weight) > 0.98
    assert judge.logits(np.zeros((1, 12), np.float32) + np.eye(12, dtype=np.float32)[0]) == pytest.approx(0, abs=0.2)  # halfway


def test_distances_are_those_of_a_gaussian() -> None:
    judge = judge_of(2.0)
    far = judge.distances(planted(4000, 0, 9))[:, 0]
    strange = judge.distances(planted(200, 0, 9) * 3)[:, 0]
    assert np.median(strange) > 3 * np.median(far)
    own = judge.distances(planted(4000, 2, 10))
    assert (own[:, 1] < own[:, 0]).mean() > 0.8


def test_wrong_answers_and_alarms_are_as_frequent_as_allowed() -> None:
    judge, rate, wrong = judge_of(1.5, 2.5), 0.05, []
    for seed in range(30):
        parts = [Numbers.of(judge, planted(200, shift, 100 * seed + i)) for i, shift in enumerate((0, 1.5, 2.5))]
        limits = calibrated(parts[0], parts[1:], rate)
        fresh = [Numbers.of(judge, planted(200, shift, 100 * seed + 50 + i)) for i, shift in enumerate((0, 1.5, 2.5))]
        said = [answers(limits, one) for one in fresh]
        wrong.append([said[0].count("GENERATED") / 200, said[1].count("REAL") / 200, said[2].count("REAL") / 200])
        assert (unlikeness(limits, fresh[0].distances) > 1).mean() < 0.12
        assert (unlikeness(limits, Numbers.of(judge, planted(200, 0, 7) * 4).distances) > 1).all()
    means = np.mean(wrong, 0)
    assert means[0] == pytest.approx(rate, abs=0.015)
    assert means[1] == pytest.approx(rate, abs=0.015)
    assert means[2] < means[1]


def test_where_nothing_is_known_it_cannot_tell() -> None:
    same = [Numbers.of(judge_of(0.0), planted(400, 0, seed)) for seed in range(3)]
    limits = calibrated(same[0], [same[1]], 0.05)
    found = answers(limits, same[2])
    assert found.count("CANNOT TELL") > 340
    assert calibrated(same[0], [Numbers(same[1].logits[:5], same[1].distances[:5])], 0.05).below is None
    few = calibrated(Numbers(same[0].logits[:5], same[0].distances[:5]), [same[1]], 0.05)
    assert few.above is None
    assert "GENERATED" not in answers(few, same[2])
    row = separation("x", limits, same[0], [same[2]])
    assert row.area == pytest.approx(0.5, abs=0.08)
    assert sum(rate.share for rate in (row.real.real, row.real.generated, row.real.cannot_tell)) == pytest.approx(1)
    points = curve(same[0], [same[2]])
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))


def test_tensors_come_back_and_damaged_ones_do_not() -> None:
    judge = judge_of(2.0)
    tensors = judge.tensors()
    back, x = LinearJudge.of(tensors, 2), planted(5, 1, 3)
    assert np.array_equal(back.logits(x), judge.logits(x))
    assert np.array_equal(back.distances(x), judge.distances(x))
    for name, other in (("bias", torch.zeros(3)), ("scale", -judge_tensor(judge, "scale")), ("rest", tensors["rest"] * torch.nan)):
        with pytest.raises(DamagedError):
            LinearJudge.of({**tensors, name: other}, 2)
    with pytest.raises(DamagedError):
        LinearJudge.of(tensors, 3)
    with pytest.raises(DamagedError):
        LinearJudge.of({name: t for name, t in tensors.items() if name != "means"}, 2)


def judge_tensor(judge: LinearJudge, name: str) -> torch.Tensor:
    return judge.tensors()[name]


def table_of(images: np.ndarray) -> EqualImages:
    minis = [miniature(Image.fromarray(image)) for image in images]
    return EqualImages(
        np.arange(len(images)), images[..., None], np.array([m for m, _ in minis], np.uint64), np.stack([m for _, m in minis]), b""
    )


def test_copies_stay_together_and_each_part_gets_its_share() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (200, 6, 6)).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(one).resize((28, 28), Image.Resampling.BICUBIC)) for one in small])
    near = np.clip(images.astype(int) + rng.integers(-3, 4, images.shape), 0, 255).astype(np.uint8)
    parts = divided([table_of(images), table_of(near)], seed=0)
    assert np.array_equal(parts[0], parts[1])
    for part in parts:
        assert [(part == which).sum() for which in (TRAIN, CALIBRATION, TEST)] == [120, 40, 40]
    other = divided([table_of(images), table_of(np.roll(near, 50, 0)[:, ::-1].copy())], seed=0)
    assert not np.array_equal(other[0], other[1])
    assert not np.array_equal(parts[0], divided([table_of(images), table_of(near)], seed=1)[0])
