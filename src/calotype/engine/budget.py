"""From minutes, steps or epochs to the number of steps that a run will take."""

from __future__ import annotations

import math
from typing import TypeVar

from calotype.config import BUDGETS, More, Training
from calotype.engine.batches import batches_before, steps_until
from calotype.engine.trainer import Trainer
from calotype.errors import SettingError
from calotype.settings import STEPS

N = TypeVar("N", int, float)


def steps_of(asked: Training | More, trainer: Trainer, seconds_per_step: float = 0.0) -> int:
    """The step at which a budget is spent: from the beginning of a run, or ``More`` from where it is; minutes need the seconds of a step.

    An epoch is spent when as many images were drawn as there are to train on. Where a player takes several steps in one, each of
    them draws a batch.

    Raises:
        UserError: where these are more steps than a run takes.
    """
    start = trainer.progress.step if isinstance(asked, More) else 0
    if asked.steps is not None:
        return _bounded(start + asked.steps, asked)
    if asked.epochs is not None:
        players = trainer.players
        batches = asked.epochs * len(trainer.loader.images) / trainer.config.train.batch
        _bounded(batches / max(p.repeats for p in players), asked)
        return _bounded(steps_until(players, batches_before(players, start) + math.ceil(batches)), asked)
    assert asked.minutes is not None
    return _bounded(start + max(1, round(_bounded(asked.minutes * 60 / seconds_per_step, asked))), asked)


def _bounded(steps: N, asked: Training | More) -> N:
    if not steps <= STEPS:
        name, value = next((name, value) for name in BUDGETS if (value := getattr(asked, name)) is not None)
        field = f"{'more' if isinstance(asked, More) else 'train'}.{name}"
        raise SettingError(f"`{field}={value:g}` would take {steps:.3g} steps, and a run takes {STEPS:,} at most: give less", field)
    return steps
