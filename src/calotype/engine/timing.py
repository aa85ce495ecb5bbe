"""How long a step takes, and how many threads pay: measured on the trainer that is to run, which then stands where it stood before."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import torch

from calotype.config import Config, More, Training
from calotype.engine.budget import steps_of
from calotype.engine.checkpoint import Checkpoint
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer
from calotype.errors import UserError

FAR = 1_000_000  # steps of the budget while steps are timed
LEAST, ENOUGH, MOST = 3, 8, 2_000  # steps that are timed: where they are slow, else, and at most
WORTH = 1.5  # how many times faster all threads must be than one to be worth their risk
FEW, QUICK = 20, 30.0  # steps, and seconds on one thread, of a run that is too short for timing threads to pay
GLANCE = 0.1  # seconds: the window in which the length of a run on one thread is guessed


@contextmanager
def taken_back(trainer: Trainer) -> Iterator[None]:
    """Steps that are not to count: afterwards model, averages, optimizers and progress are what they were, to the last bit.

    What was is kept in the memory of the processor, which a checkpoint needs as well.
    """
    progress = trainer.progress
    tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in trainer.state().items()}
    trainer.progress = replace(progress, steps=progress.step + FAR)
    yield
    trainer.restore(Checkpoint(tensors, asdict(progress), Path()))
    trainer.progress = progress


def most_threads(config: Config) -> int:
    """The threads that a training asks for, or all that PyTorch takes by itself. Raises `UserError` for more than there are cores."""
    wanted, there = config.train.threads or torch.get_num_threads(), os.cpu_count() or 1
    if wanted > there:  # threads that wait for a core wait for each other, and a step takes hours
        raise UserError(f"this machine has {there} processor cores, not {wanted}: give a smaller `train.threads`")
    return wanted


def settles_threads(config: Config, device: torch.device, world: World, threads: int) -> bool:
    """Whether the number of threads is for `settled` to choose: on a processor, where none was asked for and there are several."""
    return device.type == "cpu" and threads > 1 and config.train.threads is None and world.size == 1


def settled(trainer: Trainer, threads: int, display: Display) -> float:
    """The seconds of a step of a new run (0 where nothing was timed), once the number of threads is settled, ``threads`` at most.

    A small network gains little from another thread, and threads that wait for each other lose far more when something else runs on the
    machine. All of them have to be ``WORTH`` times as fast as one; a run in steps or epochs that is short on one thread takes that one.
    """
    asked = trainer.config.train
    free = settles_threads(trainer.config, trainer.device, trainer.world, threads)
    steps = steps_of(asked, trainer) if asked.minutes is None else None
    if steps is not None and (not free or steps < FEW):
        return 0.0
    display.say("timing the first steps ..." if steps is None else "timing threads ...")
    with taken_back(trainer):
        window = GLANCE if asked.minutes is None else _window(asked.minutes)
        seconds = _mean_step(trainer, window)
        if free and (steps is None or steps * seconds >= QUICK):
            seconds = _faster(trainer, seconds, window if steps is None else _window(steps * seconds / 60), threads)
    return trainer.world.first(lambda: round(seconds, 9))


def _faster(trainer: Trainer, alone: float, window: float, threads: int) -> float:
    """The seconds of a step with all threads, where they pay against ``alone``, those of a step with one; else ``alone``, with one."""
    torch.set_num_threads(threads)
    together = _mean_step(trainer, window, alone)
    if alone > WORTH * together:
        return together
    torch.set_num_threads(1)
    return alone


def known(trainer: Trainer, asked: Training | More, display: Display) -> float:
    """The seconds of a step of a run that goes on: as the first ones were timed, or on average so far; else a few are timed for minutes."""
    at = trainer.progress
    seconds: float = at.settings["seconds_per_step"] or at.seconds / max(at.step, 1)
    if seconds or asked.minutes is None:
        return seconds
    display.say("timing a few steps ...")
    with taken_back(trainer):
        seconds = _mean_step(trainer, _window(asked.minutes))
    return trainer.world.first(lambda: round(seconds, 9))


def _mean_step(trainer: Trainer, window: float, beaten: float = math.inf) -> float:
    """The seconds of a step over a whole run, whose steps may change in it."""
    first, shares = trainer.progress, (0.0, *sorted(trainer.model.changes_at), 1.0)
    before = {name: buffer.clone() for name, buffer in trainer.model.named_buffers()}  # grown networks do not shrink
    mean = 0.0
    for start, end in pairwise(shares):
        if start:
            trainer.progress = replace(first, step=math.ceil(start * first.steps))
        mean += (end - start) * _seconds_per_step(trainer, window, beaten)
    trainer.progress = first
    with torch.no_grad():
        for name, buffer in trainer.model.named_buffers():
            buffer.copy_(before[name])
    return mean


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
