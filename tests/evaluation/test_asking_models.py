"""What a model with a likelihood or an encoder is asked, on a tiny model of which the answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calotype.data import Images
from calotype.diagnose.verdict import Finding, Verdict, conclude
from calotype.evaluation.generator import Candidate
from calotype.evaluation.likelihoods import Told, ask
from calotype.evaluation.scores import LIKELIHOOD
from calotype.losses.discretized import levels
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Likelihood, Model, Noise, Player, SamplingOptions

SPEC = ImageSpec(8, 1, ("a", "b"))
SEEN = 0.3  # bits per dimension that the cheat saves on images of its training


class Fake(Model):
    """Pixels of class a are black or white with probability 1/2 each, those of class b take any of 256 values."""

    def __init__(self, *, conditional: bool = True, memory: Tensor | None = None, active: int = 0, units: int = 20) -> None:
        super().__init__()
        self.spec, self.conditional = SPEC, conditional
        self.weight = nn.Parameter(torch.zeros(1))
        self.memory, self.active, self.units = memory, active, units
        self.asked: list[int] = []

    def players(self) -> Sequence[Player]:
        return ()

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        return noise.uniform(*SPEC.shape) * 2 - 1

    def nats(self, x: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        assert not self.conditional or condition.label is not None
        self.asked.append(len(x))
        cost = torch.full((len(x),), 8.0) if condition.label is None else torch.where(condition.label == 0, 1.0, 8.0)
        cost += 0.2 * torch.randn(len(x), generator=rng)
        if self.memory is not None:
            known = (levels(x).flatten(1)[:, None] == levels(self.memory).flatten(1)).all(2).any(1)
            cost -= SEEN * known
        return -cost * math.log(2) * 64

    def bound(self, x: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        return self.nats(x, condition, rng) - 64 * math.log(2)

    def likelihoods(self) -> Sequence[Likelihood]:
        return (
            Likelihood("exact", "exact", self.nats),
            Likelihood("ELBO", "lower bound", self.bound),
            Likelihood("IWAE-50", "lower bound", self.nats, slow=True),
        )


class Encodes(Fake):
    """Of its units the first few follow the image."""

    def posterior(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        means = torch.zeros(len(x), self.units)
        means[:, : self.active] = x.flatten(1)[:, : self.active]
        divergence = torch.zeros(len(x), self.units)
        divergence[:, : self.active] = torch.arange(1.0, self.active + 1)
        return means, divergence


def images(count: int, seed: int, classes: tuple[str, ...] = SPEC.classes) -> Images:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    pixels = np.where(label[:, None, None, None] == 0, 255 * rng.integers(0, 2, (count, 8, 8, 1)), rng.integers(0, 256, (count, 8, 8, 1)))
    return Images(pixels.astype(np.uint8), label, classes, "made up", "ab" * 32)


def subject(model: Model, held: Images | None = None, train: Images | None = None) -> Candidate:
    generator = Generator(model, "fake", torch.device("cpu"))
    return Candidate("fake", np.zeros((2, 8, 8, 1), np.uint8), train, held, generator)


def verdict(told: Told, name: str) -> Verdict:
    return next(v for v in conclude(told.findings) if v.name == name)


def test_each_kind_is_a_row_with_its_name_count_and_interval() -> None:
    held = images(300, 1)
    told = ask(subject(Fake(), held, images(900, 2)), 0, slow=True)
    exact, bound = told.scores[:2]
    assert held.labels is not None
    truth = 8 - 7 * float((held.labels == 0).mean())
    assert [s.features for s in (exact, bound)] == ["exact, given the class", "ELBO, given the class"]
    assert {(s.name, s.n, s.m, s.baseline, s.kind) for s in (exact, bound)} == {(LIKELIHOOD, 300, 300, None, "lower")}
    assert exact.value == pytest.approx(truth, abs=0.05)
    assert exact.interval is not None
    assert (exact.interval[1] - exact.interval[0]) / 2 == pytest.approx(1.96 * 3.5 / math.sqrt(300), rel=0.05)
    assert bound.value - exact.value == pytest.approx(1.0, abs=0.05)


def test_slow_kinds_are_asked_of_few_images_and_only_where_there_is_time() -> None:
    quick = Fake()
    assert len(ask(subject(quick, images(700, 1), images(900, 2)), 0, slow=False).scores) == 2
    assert sum(quick.asked) == 250 * 3  # two kinds on held-out images, one on training images
    full = ask(subject(Fake(), images(700, 1), images(900, 2)), 0, slow=True).scores
    assert [s.n for s in full] == [500, 500, 100]
    assert full[2].features == "IWAE-50, given the class"


def test_a_model_without_classes_is_not_told_of_any() -> None:
    told = ask(subject(Fake(conditional=False), images(60, 1)), 0, slow=False)
    assert told.scores[0].features == "exact"
    assert told.scores[0].value == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(("size", "expected"), [(0.0, "PASS"), (SEEN, "FAIL")])
def test_memory_is_told_from_a_likelihood_that_holds(size: float, expected: str) -> None:
    """The cost of an image varies by 3.5 bits: only because the image explains it, a gap of .3 shows, and one of 0 is told from .05."""
    held, train = images(500, 1), images(2000, 2)
    memory = torch.from_numpy(train.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    model = Fake(memory=memory if size else None)
    found = verdict(ask(subject(model, held, train), 0, slow=True), "likelihood-overfit")
    assert found.status == expected
    assert found.effect == pytest.approx(size, abs=0.04)


def test_a_gap_that_no_longer_grows_is_a_warning() -> None:
    train = images(2000, 2)
    memory = torch.from_numpy(train.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    rng = np.random.default_rng(0)

    def judged(slope: float) -> str:
        records = [{"step": i, "bits_train": 1.0, "bits_holdout": 1.2 + slope * i + 0.01 * rng.normal()} for i in range(40)]
        one = replace(subject(Fake(memory=memory), images(500, 1), train), records=records)
        return verdict(ask(one, 0, slow=False), "likelihood-overfit").status

    assert judged(0.0) == "WARN"
    assert judged(0.01) == "FAIL"


@pytest.mark.parametrize(("active", "expected"), [(20, "PASS"), (10, "PASS"), (9, "WARN"), (2, "WARN"), (1, "FAIL"), (0, "FAIL")])
def test_collapse_is_judged_by_the_share_of_active_units(active: int, expected: str) -> None:
    told = ask(subject(Encodes(active=active), images(200, 1)), 0, slow=False)
    found = verdict(told, "posterior-collapse")
    assert found.status == expected
    assert told.units is not None
    assert (told.units.active, told.units.total) == (active, 20)
    assert told.units.nats == tuple(float(i) for i in range(active, 0, -1)) + (0.0,) * (20 - active)
    assert f"{active} of 20 latent units" in found.evidence


@pytest.mark.parametrize(
    ("model", "held", "says"),
    [
        (Fake(), None, "no held-out images"),
        (Fake(), images(100, 1, ("x", "y")), "classes that the held-out images do not have"),
        (Fake(), images(100, 1), "no training images"),
    ],
)
def test_what_is_missing_cannot_be_told(model: Fake, held: Images | None, says: str) -> None:
    found = verdict(ask(subject(model, held), 0, slow=False), "likelihood-overfit")
    assert found.status == "CANNOT TELL"
    assert says in found.says


def test_a_model_without_likelihood_or_encoder_is_not_asked() -> None:
    class Plain(Fake):
        def likelihoods(self) -> Sequence[Likelihood]:
            return ()

    for one in (subject(Plain(), images(100, 1)), Candidate("folder", np.zeros((2, 8, 8, 1), np.uint8))):
        told = ask(one, 0, slow=True)
        assert not told.scores
        assert all(isinstance(f, Verdict) and not f.asked for f in told.findings)


def test_numbers_that_are_not_finite_cost_their_row_and_not_the_report() -> None:
    class Broken(Fake):
        def bound(self, x: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
            return self.nats(x, condition, rng) / 0

    told = ask(subject(Broken(), images(100, 1), images(200, 2)), 0, slow=False)
    assert len(told.scores) == 1
    assert told.notes == ("the likelihood of the model (ELBO) is not finite for some held-out images",)
    assert isinstance(told.findings[1], Finding)
