"""How long a training takes on this machine, by taking some of its steps: the whole of it, or until its images can be used."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from calotype.config import Config
from calotype.data import Images, Split
from calotype.engine import device as machine
from calotype.engine import timing
from calotype.engine.budget import steps_of
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.opening import opened
from calotype.engine.trainer import Trainer, TrainState
from calotype.types import ImageSpec, small_gray

USABLE = {"flow-matching": 115_000, "projected": 144_000}
"""Images that a recipe had seen when most of what it drew could be told for what it is: flow matching digits (docs/recipes.md), the
other garments (``benchmarks/results/photographs.md``)."""


TIMED = 2.0  # minutes of the training whose first steps are timed: of so many steps are timed for four seconds


@dataclass(frozen=True)
class TrainingCost:
    """What a training takes on this machine."""

    steps: int
    batch: int  # images of each step
    seconds_per_step: float
    threads: int

    @property
    def minutes(self) -> float:
        """From the first step to the last, without checkpoints and reports."""
        return self.steps * self.seconds_per_step / 60


def training_cost(config: Config, display: Display | None = None) -> TrainingCost:
    """The steps of a training and the seconds of each, by taking its first ones for a few seconds; nothing is written.

    Raises:
        UserError: for settings or data that a training would refuse, but for folders that are taken or full.
    """
    shown = display or Display()
    device, before = machine.take_device(config.train.device), torch.get_num_threads()
    threads = timing.most_threads(config)
    config, split = opened(config, device, shown, World())
    timed = replace(config, train=replace(config.train, minutes=TIMED, steps=None, epochs=None))
    try:
        torch.set_num_threads(1 if timing.settles_threads(config, device, World(), threads) else threads)
        trainer = Trainer(timed, split, TrainState(steps=1), device, World())
        seconds = timing.settled(trainer, threads, shown)
        return TrainingCost(steps_of(config.train, trainer, seconds), config.train.batch, seconds, torch.get_num_threads())
    finally:
        torch.set_num_threads(before)


def minutes(config: Config, classes: int) -> float | None:
    """Of training until most of what is drawn can be told for what it is; None for a recipe of which that was never measured.

    Nothing is written.
    """
    images, size, channels = USABLE.get(config.recipe), config.data.size, config.data.channels
    if images is None or size is None or channels is None or (config.recipe == "flow-matching") != small_gray(ImageSpec(size, channels)):
        return None
    count = max(config.train.batch, classes)
    pixels = np.random.RandomState(0).randint(0, 256, (count, size, size, channels), dtype=np.uint8)
    labels = np.arange(count) % classes if classes > 1 else None
    blank = Images(pixels, labels, tuple(map(str, range(classes))) if classes > 1 else (), "noise", "0" * 64)
    nothing = replace(blank, pixels=pixels[:0], labels=None if labels is None else labels[:0])
    device, world = machine.take_device(config.train.device), World()
    before = torch.get_num_threads()
    try:
        trainer = Trainer(config, Split(blank, nothing), TrainState(steps=1), device, world)
        seconds = timing.settled(trainer, before, Display())
    finally:
        torch.set_num_threads(before)
    return images / config.train.batch * seconds / 60
