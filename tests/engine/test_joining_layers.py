"""Optimizers begin anew where layers join that had no part before: the stages of progressive growing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.config import Optimizer, Schedule
from calotype.engine.checkpoint import Checkpoint
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer, TrainState
from tests.small import small, split_of

STEPS = 16  # stages of 28 pixels begin at shares of 1/12, 1/4 and 5/12: after steps 1.3, 4 and 6.7


def grown(name: str = "adam") -> Trainer:
    slow = {f"{player}.growth": 0.5 for player in ("generator", "discriminator")}
    config = small("progan", STEPS, latent=8, **{"generator.widest": 8, "discriminator.widest": 8}, **slow)
    optimizer = Optimizer(name, lr=1e-3, betas=(0.0, 0.99))  # type: ignore[arg-type]
    return Trainer(
        replace(config, optimizer=optimizer, schedule=Schedule()), split_of("progan"), TrainState(STEPS), torch.device("cpu"), World()
    )


def counted(trainer: Trainer, player: str) -> int:
    """The steps that an optimizer has counted, the same for all of its parameters."""
    (count,) = {int(slots["step"]) for slots in trainer.optimizers[player].state.values() if "step" in slots}  # muon has some without
    return count


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_an_optimizer_counts_anew_from_the_step_in_which_a_stage_joins(name: str) -> None:
    trainer, counts, stages = grown(name), [], []
    model: Any = trainer.model
    for _ in range(9):
        trainer.step()
        counts.append([counted(trainer, player) for player in ("discriminator", "generator")])
        stages.append(model.generator.stage()[0])
    assert stages == [0, 0, 1, 1, 1, 2, 2, 3, 3]
    expected = [1, 2, 1, 2, 3, 1, 2, 1, 2]
    assert counts == [[count, count] for count in expected]


def test_new_layers_begin_with_steps_of_the_learning_rate() -> None:
    longest = {}
    for renews in (True, False):
        trainer = grown()
        model: Any = trainer.model
        if not renews:
            model.joins_at = ()
        trainer.step()
        trainer.step()
        weight = model.generator.to_rgb[1].weight
        before = weight.detach().clone()
        trainer.step()
        assert model.generator.stage()[0] == 1
        longest[renews] = float((weight.detach() - before).abs().max()) / trainer.config.optimizer.lr
    assert longest[True] == pytest.approx(1, rel=0.01)
    assert longest[False] == pytest.approx(((1 - 0.99**3) / (1 - 0.99)) ** 0.5, rel=0.01)  # after two steps without a gradient


def test_a_player_that_plays_seldom_begins_anew_when_it_plays_next_and_can_be_saved_always() -> None:
    trainer = grown()
    discriminator, generator = trainer.players
    trainer.players = (replace(discriminator, every=2), replace(generator, repeats=2))
    counts = []
    for _ in range(9):
        trainer.step()
        counts.append([counted(trainer, player) for player in ("discriminator", "generator")])
        facts = {**vars(trainer.progress), "settings": {"threads": 1, "seconds_per_step": 0.0, **trainer.progress.settings}}
        trainer.check(Checkpoint(trainer.state(), facts, Path(f"step-{trainer.progress.step:09d}")))
    assert [count for count, _ in counts] == [1, 1, 1, 1, 2, 2, 1, 1, 1]
    assert [count for _, count in counts] == [2, 4, 2, 4, 6, 2, 4, 2, 4]


def test_without_layers_that_join_nothing_is_forgotten() -> None:
    config = small("dcgan", STEPS)
    trainer = Trainer(config, split_of("dcgan"), TrainState(STEPS), torch.device("cpu"), World())
    for step in range(9):
        trainer.step()
        assert counted(trainer, "generator") == step + 1
