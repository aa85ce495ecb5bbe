"""The classification accuracy score, of generators of which is known what they draw: real digits, and real digits of which one is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import calotype
from calotype.config import Config
from calotype.data import load
from calotype.errors import UserError
from calotype.evaluation import cas
from calotype.evaluation.generator import Candidate
from calotype.evaluation.request import Request
from calotype.recipes import named
from calotype.report.text_recognition import cas_in_words, cas_lines
from calotype.types import Condition, ImageSpec, Model, Noise, SamplingOptions

SPLIT = load("mnist5k")


class RealDigits(Model):
    """Draws training digits of the class that it is asked for; of the class 3 it draws an 8."""

    conditional = True

    def __init__(self, lost: bool) -> None:
        super().__init__()
        self.spec = ImageSpec(28, 1, SPLIT.train.classes)
        self.lost = lost

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        labels = self.wanted(noise, condition)
        assert labels is not None
        assert SPLIT.train.labels is not None
        rows = []
        for label, u in zip(labels.tolist(), noise.uniform().tolist(), strict=True):
            (mine,) = np.nonzero(SPLIT.train.labels == (8 if self.lost and label == 3 else label))
            rows.append(mine[int(u * len(mine))])
        return torch.from_numpy(SPLIT.train.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1


def narrow(name: str) -> Config:
    """The recipe with a network that learns in seconds, and at a rate for so few steps."""
    config = named(name)
    still = {"redraw": 0.0, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "smooth": 0.0, "dropout": 0.0}
    return replace(config, model=replace(config.model, width=4, **still), optimizer=replace(config.optimizer, lr=1e-2))


def candidate(*, lost: bool) -> Candidate:
    generator = calotype.Generator(RealDigits(lost), "planted", torch.device("cpu"))
    none = np.empty((0, 28, 28, 1), np.uint8)
    return Candidate("planted", none, SPLIT.train, SPLIT.holdout, generator, count=600)


def test_a_class_that_a_generator_lost_is_found_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas, "STEPS", 150)
    monkeypatch.setattr(cas, "named", narrow)
    steps = []
    good, bad = (cas.score(candidate(lost=lost), Request(device="cpu", say=lambda *said: steps.append(said))) for lost in (False, True))
    assert good.accuracy > 0.7
    assert abs(good.real.difference) < 0.1
    assert not [one.name for one in good.classes if one.lost]
    assert "no class" in cas_in_words(good)
    assert bad.real.right == good.real.right  # the same training on the same real images
    lost = [one.name for one in bad.classes if one.lost]
    assert "3" in lost
    assert set(lost) <= {"3", "8"}  # of the eights half are called 3
    assert cas_in_words(bad).startswith("Its images teach less, beyond doubt, of 3")
    assert bad.real.difference < -0.03
    assert bad.real.difference == pytest.approx((bad.right - bad.real.right) / bad.n)
    assert sum(one.generated for one in bad.classes) == bad.right
    assert sum(one.real for one in bad.classes) == bad.real.right
    assert sum(one.n for one in bad.classes) == bad.n == 500
    assert len(cas_lines(bad)) == 3
    assert {said[0] for said in steps} >= {"drawing by class", "training a classifier on real images"}


def test_as_many_images_of_each_class_are_drawn_as_there_are_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = []

    def seen(recipe: str, images: object, held: object, request: Request, what: str) -> np.ndarray:
        taught.append(images)
        return np.zeros(500, bool)

    monkeypatch.setattr(cas, "_taught", seen)
    found = cas.score(candidate(lost=False), Request(device="cpu"))
    drawn, real = taught
    assert np.bincount(drawn.labels).tolist() == np.bincount(real.labels).tolist()
    assert len(drawn) == len(real) == found.images == 600
    assert found.right == 0
    assert found.interval[0] == 0.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"generator": None}, "holds images, and `cas` has a model draw classes"),
        ({"holdout": None}, "tests on held-out ones"),
        ({"train": replace(SPLIT.train, classes=(*"abcdefghij",))}, "other classes than planted draws"),
    ],
)
def test_what_cannot_be_scored_is_one_line(change: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        cas.require(replace(candidate(lost=False), **change))


def test_a_model_that_is_told_no_class_cannot_be_scored() -> None:
    one = candidate(lost=False)
    assert one.generator is not None
    one.generator.model.conditional = False
    with pytest.raises(UserError, match="cannot be asked for a class"):
        cas.require(one)
