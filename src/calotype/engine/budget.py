"""From minutes, steps or epochs to the number of steps that a run will take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch

from calotype.config import BUDGETS, Config, More, Training
from calotype.data import Split
from calotype.engine.batches import batches_before, steps_until
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.images import augmentation_of
from calotype.engine.trainer import Progress, Trainer
from calotype.errors import SettingError
from calotype.models import build
from calotype.settings import STEPS

N = TypeVar("N", int, float)
LEAST, ENOUGH, MOST = 3, 8, 2_000  # steps that are timed: where they are slow, else, and at most
WORTH = 1.5  # how many times faster all threads must be than one to be worth their risk
FEW, QUICK = 20, 30.0  # steps, and seconds on one thread, of a run that is too short for timing threads to pay
GLANCE = 0.1  # seconds: the window in which the length of a run on one thread is guessed


def budget(config: Config, split: Split, device: torch.device, world: World, display: Display) -> tuple[int, float]:
    """The number of steps to take, and the seconds that one takes (0 where nothing was timed).

    On a processor this also settles the number of threads, where none was asked for: a small network gains little from another
    thread, and threads that wait for each other lose far more when something else runs on the machine. All of them have to be
    ``WORTH`` times as fast as one; a run in steps or epochs that is short on one thread takes that one.
    """
    threads = torch.get_num_threads()
    free = device.type == "cpu" and threads > 1 and config.train.threads is None and world.size == 1
    if config.train.minutes is None:
        steps = steps_of(config.train, config, split)
        return steps, _threaded(steps, threads, config, split, device, world, display) if free else 0.0
    display.say("timing the first steps ...")
    window = _window(config.train.minutes)
    trainer = _trial(config, split, {}, device, world)
    if free:
        torch.set_num_threads(1)
    seconds_per_step = _seconds_per_step(trainer, window)
    if free:
        seconds_per_step = _faster(trainer, seconds_per_step, window, threads)
    seconds_per_step = world.first(lambda: round(seconds_per_step, 9))
    return steps_of(config.train, config, split, seconds_per_step), seconds_per_step


def _threaded(steps: int, threads: int, config: Config, split: Split, device: torch.device, world: World, display: Display) -> float:
    """Settle the number of threads of a run of so many steps; the seconds of a step, 0 where that is not known."""
    torch.set_num_threads(1)
    if steps < FEW:
        return 0.0
    display.say("timing threads ...")
    trainer = _trial(config, split, {}, device, world)
    alone = _seconds_per_step(trainer, GLANCE)
    return round(alone if steps * alone < QUICK else _faster(trainer, alone, _window(steps * alone / 60), threads), 9)


def _faster(trainer: Trainer, alone: float, window: float, threads: int) -> float:
    """The seconds of a step with all threads, where they pay against ``alone``, those of a step with one; else ``alone``, with one."""
    torch.set_num_threads(threads)
    together = _seconds_per_step(trainer, window, alone)
    if alone > WORTH * together:
        return together
    torch.set_num_threads(1)
    return alone


def further(
    asked: Training | More, progress: Progress, config: Config, split: Split, device: torch.device, world: World, display: Display
) -> int:
    """The step at which a run ends that is given another budget: from the beginning, or ``More`` from where it is.

    A step takes as long as when the first ones were timed, or on average so far; where neither is known, a few are timed.
    """
    seconds_per_step = progress.settings["seconds_per_step"] or progress.seconds / max(progress.step, 1)
    if asked.minutes is not None and not seconds_per_step:
        display.say("timing a few steps ...")
        seconds_per_step = _seconds_per_step(_trial(config, split, progress.settings, device, world), _window(asked.minutes))
        seconds_per_step = world.first(lambda: round(seconds_per_step, 9))
    return steps_of(asked, config, split, seconds_per_step, progress.step if isinstance(asked, More) else 0)


def _trial(config: Config, split: Split, settings: Mapping[str, Any], device: torch.device, world: World) -> Trainer:
    """A trainer whose steps are timed. It is not compiled unless that was asked for: whether it pays follows from the number of steps."""
    if config.train.compile == "auto":
        config = replace(config, train=replace(config.train, compile="off"))
    return Trainer(config, split, Progress(steps=1_000_000, settings=dict(settings)), device, world)


def _window(minutes: float) -> float:
    """The seconds that timing may take."""
    return min(4.0, 0.05 * minutes * 60)


def _seconds_per_step(trainer: Trainer, window: float, beaten: float = math.inf) -> float:
    """The median seconds of a step, over about ``window`` seconds by the clock of the first process: all of them take as many steps.

    Two steps are enough where both take longer than ``beaten`` seconds: threads that wait for a busy core may take minutes for eight.
    """
    times: list[float] = []
    while more := trainer.world.first(lambda: 0 if len(times) >= 2 and min(times) > beaten else _more(times, window)):
        for _ in range(more):
            began = time.perf_counter()
            trainer.step()
            if trainer.device.type == "cuda":
                torch.cuda.synchronize(trainer.device)
            times.append(time.perf_counter() - began)
    return _typical(times)


def _more(times: list[float], window: float) -> int:
    """How many steps to time before asking again, after these seconds of each; 0 for enough."""
    spent = sum(times)
    if len(times) >= MOST or (len(times) >= LEAST and spent > 4 * window) or (len(times) >= ENOUGH and spent >= window):
        return 0
    if len(times) < ENOUGH:
        return 1
    return min(MOST - len(times), math.ceil((window - spent) / _typical(times)))


def _typical(times: list[float]) -> float:
    """The median; the first steps allocate and warm up, they are not like the others."""
    return statistics.median(times[min(LEAST, len(times) - 1) :])


def steps_of(asked: Training | More, config: Config, split: Split, seconds_per_step: float = 0.0, start: int = 0) -> int:
    """The step at which a budget is spent that begins at step ``start``; ``seconds_per_step`` is the seconds of a step, for minutes.

    An epoch is spent when as many images were drawn as there are to train on. Where a player takes several steps in one, each of
    them draws a batch.

    Raises:
        UserError: where these are more steps than a run takes.
    """
    if asked.steps is not None:
        return _bounded(start + asked.steps, asked)
    if asked.epochs is not None:
        players = build(config.model, augmentation_of(config.data).spec(split.train)).players()
        batches = asked.epochs * len(split.train) / config.train.batch
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
