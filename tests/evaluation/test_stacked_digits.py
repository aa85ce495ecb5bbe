"""Stacked digits: a generator of all combinations and one of few, told apart by the recognizer in the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calotype.data import load
from calotype.data.toy import STACKED
from calotype.diagnose.verdict import conclude
from calotype.evaluation import stacked_digits
from calotype.evaluation.generator import Candidate
from calotype.evaluation.request import Request
from calotype.evaluation.stacked_digits import OfModes, modes_of
from calotype.modes import DigitModes
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Model, Noise, SamplingOptions

COUNT = 500


class Replays(Model):
    """Draws stacks of the training set, the first ``different`` of them alone."""

    def __init__(self, different: int, spec: ImageSpec) -> None:
        super().__init__()
        self.spec, self.one = spec, nn.Parameter(torch.ones(()))
        self.stacks = torch.from_numpy(load(STACKED).train.pixels[:different]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        return self.stacks[(noise.uniform() * len(self.stacks)).long()]


def counted(different: int, spec: ImageSpec | None = None, count: int | None = COUNT) -> OfModes:
    spec = spec or ImageSpec(28, 3, modes=DigitModes())
    generator = Generator(Replays(different, spec), "test", torch.device("cpu"))
    return modes_of(
        Candidate("test", np.empty((0, 28, 28, 3), np.uint8), generator=generator, count=9), Request(count=count, seed=1, short=True)
    )


def test_real_stacks_are_as_varied_as_real_stacks() -> None:
    found = counted(20_000)
    scores = {score.name: score for score in found.scores}
    assert set(scores) == {"modes hit", "KL to uniform"}
    hit = scores["modes hit"]
    assert hit.n == COUNT
    assert hit.baseline == pytest.approx(1000 * (1 - np.exp(-COUNT / 1000)), abs=40)
    assert hit.value == pytest.approx(hit.baseline, abs=50)
    assert scores["KL to uniform"].value == pytest.approx(scores["KL to uniform"].baseline, abs=0.12)
    assert conclude(found.findings)[0].status == "PASS"


def test_stacks_of_few_kinds_are_a_mode_collapse() -> None:
    found = counted(60)
    assert found.scores[0].value <= 60
    verdict = conclude(found.findings)[0]
    assert (verdict.name, verdict.status) == ("mode-collapse", "FAIL")
    assert verdict.remedies[0].recipe != "points"


def test_modes_are_counted_of_testbeds_alone_and_as_published_where_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert counted(60, ImageSpec(28, 3)) == OfModes()
    assert (stacked_digits.COUNT, stacked_digits.COUNT_SHORT) == (26_000, 2_600)
    monkeypatch.setattr(stacked_digits, "COUNT_SHORT", 40)
    assert counted(60, count=None).scores[0].n == 40


def test_images_of_a_folder_beside_stacks_are_counted_too() -> None:
    train = load(STACKED).train
    found = modes_of(Candidate("folder", train.pixels[:100], train=train), Request())
    assert found.scores[0].n == 100
    assert found.scores[0].value > 80
