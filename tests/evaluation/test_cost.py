"""What a model takes: parameters, function evaluations, and quality by their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.data import Images, load
from calotype.evaluation import cost
from calotype.evaluation.generator import Candidate
from calotype.evaluation.reference_set import reference_set
from calotype.models import build
from calotype.settings import SolverSteps
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Model, Noise, Player, SamplingOptions, chosen
from tests.small import small

CPU = torch.device("cpu")
GRAY = ImageSpec(28, 1)


@dataclass(frozen=True)
class Steps(SamplingOptions):
    steps: SolverSteps = 4


class Blend(Model):
    """Real digits with noise over them: less the more steps are taken."""

    sampling = Steps

    def __init__(self, digits: Images) -> None:
        super().__init__()
        self.spec = GRAY
        self.digits = torch.from_numpy(digits.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.network, self.idle = nn.Linear(3, 3), nn.Linear(50, 50)

    def players(self) -> Sequence[Player]:
        return ()

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        steps = chosen(Steps, options).steps
        for _ in range(2 * steps - 1):  # as a solver of second order
            self.network(torch.zeros(1, 3))
        which = (noise.uniform() * len(self.digits)).long()
        return (self.digits[which] + noise.normal(*GRAY.shape) / steps).clamp(-1, 1)


def drawn(model: Model) -> Generator:
    return Generator(model, "fake", CPU)


def test_only_what_takes_part_in_the_work_is_counted() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.called, self.by_hand, self.idle = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(7, 7)

    net = Net()
    with cost.watched(net) as work:
        for _ in range(3):
            net.called(torch.zeros(2, 4))
        F.linear(torch.zeros(1, 4), net.by_hand.weight)
        assert net.idle.weight.shape == (7, 7)
        assert net.idle.weight.numel() == 49
    assert work.used == {id(p) for p in (*net.called.parameters(), net.by_hand.weight)}
    assert cost.passes(work) == 3
    net.called(torch.zeros(2, 4))
    assert cost.passes(work) == 3  # nobody counts any more
    with cost.watched(net) as work:
        F.linear(torch.zeros(1, 4), net.by_hand.weight)
    assert cost.passes(work) is None


def test_a_generator_is_asked_once_and_its_discriminator_never() -> None:
    model = build(small("dcgan").model, GRAY)
    found = cost.of(replace(Candidate("gan", np.zeros((2, 28, 28, 1), np.uint8)), generator=drawn(model)))
    assert found is not None
    discriminator = sum(p.numel() for player in model.players() if player.name == "discriminator" for p in player.module.parameters())
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.drawing == found.parameters - discriminator
    assert found.passes == 1


def test_going_through_an_image_pixel_by_pixel_makes_no_passes() -> None:
    found = cost.of(Candidate("x", np.zeros((2, 8, 8, 1), np.uint8), generator=drawn(build(small("pixelcnn").model, ImageSpec(8, 1)))))
    assert found is not None
    assert found.passes is None
    assert found.drawing is not None
    assert 0 < found.drawing <= found.parameters


def test_each_evaluation_of_a_solver_counts() -> None:
    model = build(small("flow-matching").model, GRAY)
    for steps, expected in ((1, {1, 2}), (6, {11, 12})):
        with cost.watched(model) as work:
            drawn(model).sample(1, steps=steps)
        assert cost.passes(work) in expected


def test_the_course_of_the_training_is_that_of_the_weights() -> None:
    records = [{"step": i, "images": 64 * i, "seconds": 2.0 * i} for i in (10, 20, 30)] + [{"step": 30, "event": "score"}]
    subject = Candidate("x", np.zeros((2, 28, 28, 1), np.uint8), generator=drawn(build(small("dcgan").model, GRAY)), records=records)
    found = cost.of(replace(subject, steps=20, train_threads=2, seconds_per_1000=3.0))
    assert found is not None
    assert (found.steps, found.minutes, found.images_per_second) == (20, pytest.approx(2 / 3), 32)
    assert (found.train_threads, found.seconds_per_1000, found.device) == (2, 3.0, "cpu")
    assert cost.of(Candidate("folder", subject.images)) is None


def test_the_curve_shows_what_more_evaluations_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "COUNT", 200)
    monkeypatch.setattr(cost, "NFES", (5, 10, 50))
    split = load("mnist5k")
    subject = Candidate("x", split.holdout.pixels[:200], split.train, split.holdout, drawn(Blend(split.train)), seconds_per_1000=0.1)
    against = reference_set(subject, "digits", 0)
    rows = cost.curve(subject, against, 0)
    assert [(row.nfe, row.steps) for row in rows] == [(5, 3), (9, 5), (49, 25)]
    assert all(a.fd > b.fd and a.unbiased > b.unbiased for a, b in pairwise(rows))
    last = rows[-1]
    assert last.interval is not None
    assert last.interval[0] < last.fd < last.interval[1]
    assert last.baseline == pytest.approx(last.fd, rel=0.3)  # they are real digits
    assert last.unbiased < last.fd / 2


def test_the_curve_keeps_to_its_time_and_to_models_that_take_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "COUNT", 200)
    split = load("mnist5k")
    subject = Candidate("x", split.holdout.pixels[:200], split.train, split.holdout, drawn(Blend(split.train)), seconds_per_1000=1e6)
    against = reference_set(subject, "digits", 0)
    assert cost.curve(subject, against, 0) == ()
    gan = replace(subject, generator=drawn(build(small("dcgan").model, GRAY)))
    assert cost.curve(gan, against, 0) == ()
    assert cost.curve(replace(subject, generator=None), against, 0) == ()
