"""From minutes, steps or epochs to the number of steps that a run will take."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import replace

import torch

from calotype.config import Config
from calotype.data import Split
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.trainer import Progress, Trainer
from calotype.errors import UserError

LEAST, ENOUGH, MOST = 3, 8, 2_000  # steps that are timed: where they are slow, else, and at most
WORTH = 1.5  # how many times faster all threads must be than one to be worth their risk


def budget(config: Config, split: Split, device: torch.device, world: World, display: Display) -> tuple[int, float]:
    """The number of steps to take, and the seconds that one takes (0 where nothing was timed).

    Timing a processor also settles the number of threads, where none was asked for: a small network gains little from another
    thread, and threads that wait for each other lose far more when something else runs on the machine.
    """
    if config.train.minutes is None:
        return steps_of(config, split, 0.0), 0.0
    display.say("timing the first steps ...")
    window = min(4.0, 0.05 * config.train.minutes * 60)
    if config.train.compile == "auto":  # whether that pays follows from the number of steps
        config = replace(config, train=replace(config.train, compile="off"))
    trainer = Trainer(config, split, Progress(steps=1_000_000), device, world)
    threads = torch.get_num_threads()
    pace = _pace(trainer, window)
    if device.type == "cpu" and threads > 1 and config.train.threads is None and world.size == 1:
        torch.set_num_threads(1)
        alone = _pace(trainer, window)
        if alone > WORTH * pace:
            torch.set_num_threads(threads)
        else:
            pace = alone
    pace = world.first(lambda: round(pace, 9))
    return steps_of(config, split, pace), pace


def _pace(trainer: Trainer, window: float) -> float:
    """The median seconds of a step, over about ``window`` seconds by the clock of the first process: all of them take as many steps."""
    times: list[float] = []
    while more := trainer.world.first(lambda: _more(times, window)):
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


def steps_of(config: Config, split: Split, pace: float) -> int:
    """The budget as a number of steps, given the seconds that one takes."""
    if config.train.steps is not None:
        return config.train.steps
    if config.train.epochs is not None:
        return max(1, math.ceil(config.train.epochs * len(split.train) / config.train.batch))
    if not pace:
        raise UserError("this run was not budgeted in minutes, so its speed is unknown: give --steps or --epochs")
    return max(1, round((config.train.minutes or 0) * 60 / pace))
