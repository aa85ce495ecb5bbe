"""What follows a cosine over the budget beside the learning rate: Adam's second beta and the half-life of the averaged weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from calotype.config import Config, Optimizer, Training
from calotype.engine import feasible
from calotype.engine.distributed import World
from calotype.engine.optim import betas_at, ema_decay, ema_share, make_optimizer
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.losses.schedules import cosine
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, small, spec_of, split_of, tiny_gan


def trainer_of(config: Config, steps: int = 8) -> Trainer:
    return Trainer(config, split_of(config.recipe), TrainState(steps=steps), torch.device("cpu"), World())


def following(config: Config, **optimizer: Any) -> Config:
    """Both at once, as R3GAN has them."""
    return replace(
        config,
        optimizer=replace(config.optimizer, betas=(0.0, 0.9), beta2_end=0.99, **optimizer),
        train=replace(config.train, ema=0.25, ema_ramp="cosine"),
    )


def test_half_a_wave_leads_from_start_to_end() -> None:
    assert [cosine(0.05, 0.005, p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.05, 0.0434099, 0.0275, 0.005])
    assert cosine(0.3, 0.3, 0.7) == pytest.approx(0.3)
    assert cosine(0.3, None, 0.7) == 0.3


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_the_second_beta_is_that_of_the_progress(name: Any) -> None:
    config = following(small("dcgan", 8), name=name)
    trainer = trainer_of(config)
    for step in range(8):
        trainer.step()
        expected = (0.0, pytest.approx(cosine(0.9, 0.99, step / 8)))
        for optimizer in trainer.optimizers.values():
            stepping = optimizer.rest if name == "muon" else optimizer  # type: ignore[attr-defined]
            assert stepping.param_groups[0]["betas"] == expected


def test_squares_are_remembered_by_the_beta_of_each_step() -> None:
    weight = nn.Parameter(torch.zeros(1))
    config = Optimizer("adam", betas=(0.0, 0.5), beta2_end=0.9)
    optimizer, square = make_optimizer(config, [weight]), 0.0
    for progress, gradient in ((0.0, 1.0), (0.5, 3.0), (1.0, 2.0)):
        beta = betas_at(config, progress)[1]
        optimizer.param_groups[0]["betas"] = betas_at(config, progress)
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        square = beta * square + (1 - beta) * gradient**2
    assert float(optimizer.state[weight]["exp_avg_sq"]) == pytest.approx(square)


def test_without_an_end_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small("rpgan", 4)
    ended = replace(config, optimizer=replace(config.optimizer, beta2_end=config.optimizer.betas[1]))
    left, same_end, risen = (trainer_of(c, 4) for c in (config, ended, following(config)))
    for _ in range(4):
        for trainer in (left, same_end, risen):
            trainer.step()
    assert left.optimizers["generator"].param_groups[0]["betas"] == config.optimizer.betas
    assert not same(left.state(), risen.state())
    assert same(left.state(), same_end.state())
    monkeypatch.setattr("calotype.engine.trainer.betas_at", lambda config, progress: config.betas)
    monkeypatch.setattr("calotype.engine.trainer.ema_share", lambda config, progress: config.ema)
    untouched = trainer_of(config, 4)
    for _ in range(4):
        untouched.step()
    assert same(left.state(), untouched.state())


def test_both_ramps_end_alike_and_the_cosine_is_shorter_before_the_middle() -> None:
    linear, curved = (Training(ema=0.25, ema_ramp=ramp) for ramp in ("linear", "cosine"))  # type: ignore[arg-type]
    assert [ema_share(linear, p) for p in (0.01, 0.5, 1.0)] == [0.25] * 3
    for progress in (0.05, 0.25, 0.75, 1.0):  # the half-life in images of a budget of one
        assert progress * ema_share(curved, progress) == pytest.approx(cosine(0, 0.25, progress))
    assert ema_share(curved, 0.25) < 0.25 < ema_share(curved, 0.75)
    assert ema_decay(ema_share(curved, 1.0), 10**9, 1000, 250) == pytest.approx(0.5)


def test_the_average_of_a_run_takes_its_ramp() -> None:
    config = small("dcgan", 32)
    plain = replace(config, train=replace(config.train, ema=0.25))
    curved = replace(config, train=replace(config.train, ema=0.25, ema_ramp="cosine"))
    runs = [trainer_of(c, 32) for c in (plain, curved)]
    for _ in range(16):  # half of the budget: at its middle and its end the ramps meet
        for trainer in runs:
            trainer.step()
    one, other = (trainer.state() for trainer in runs)
    averages = [name for name in one if name.startswith("average/generator") and name.endswith("weight")]
    assert averages
    assert all(torch.equal(one[name.replace("average/", "model/")], other[name.replace("average/", "model/")]) for name in averages)
    assert not all(torch.equal(one[name], other[name]) for name in averages)


def test_a_resumed_run_follows_the_same_curves(runs: Path) -> None:
    config = following(tiny_gan(8))
    train(config, out=runs / "a")
    train(config, out=runs / "b")
    interrupt(runs / "b", 4)
    resume(runs / "b")
    assert same(final_state(runs / "a"), final_state(runs / "b"))


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("optimizer.beta2_end", replace(small("gan"), optimizer=Optimizer("sgd", beta2_end=0.99))),
        ("train.ema_ramp", replace(small("gan"), train=replace(small("gan").train, ema=0.0, ema_ramp="cosine"))),
    ],
)
def test_a_curve_that_nothing_follows_is_refused(field: str, config: Config) -> None:
    feasible.require_effect(following(small("gan")), spec_of("gan"))
    with pytest.raises(UserError, match=f"`{field}` has no effect"):
        feasible.require_effect(config, spec_of("gan"))
