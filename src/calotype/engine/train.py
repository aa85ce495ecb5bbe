"""A whole training, from a configuration to a finished run folder."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from calotype.config import Config, More, from_json, to_json, with_one_budget
from calotype.data import Split
from calotype.diagnose.training import Watcher
from calotype.engine import checkpoint, distributed, feasible, resuming, selection, shown, starting, timing, tracker
from calotype.engine import device as machine
from calotype.engine.budget import steps_of
from calotype.engine.calibrating import calibrated
from calotype.engine.display import Display, Terminal
from calotype.engine.distributed import Poll, World
from calotype.engine.images import augmentation_of, load_images
from calotype.engine.log import Log
from calotype.engine.opening import opened
from calotype.engine.run import Run
from calotype.engine.selection import ModelSelector
from calotype.engine.tracker import TrackedLog
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import LostError, TrainingError, UserError
from calotype.files import has_space
from calotype.settings import checked

CHECKPOINTS = 10  # in a run, where nothing else is asked for
ROLLBACK_LR = 0.5  # the learning rate after a rollback, relative to the one before
LIVE = ("d_real", "d_fake", "d_holdout", "loss_holdout")  # the scalars that are worth a place on the live line, beside the losses
FIRST = "learning the last layer"  # what progress says before the first step
SMALLER = "give a smaller `train.batch` or `data.size`, or a smaller network; a run that had begun can be resumed"


@dataclass(frozen=True)
class Result:
    """What a training left behind."""

    run: Run
    step: int
    steps: int
    seconds: float
    early: bool = False  # stopped because its scores no longer improved
    is_main: bool = True  # whether this process, of several that trained together, is the one that writes and prints

    @property
    def complete(self) -> bool:
        """Whether the whole budget was spent, or more of it would not have helped."""
        return self.early or self.step >= self.steps


def train(config: Config, *, out: str | Path | None = None, display: Display | None = None, world: World | None = None) -> Result:
    """Train into a new run folder, from scratch or from the model that ``train.start`` names; with other processes under ``torchrun``.

    ``display`` is told how far it has come: a bar or lines on stderr where none is given, nothing by ``Display()``.

    Raises `UserError` for settings or data that cannot work, before anything is written, and `TrainingError` where training
    itself fails; the run that it leaves can be resumed or sampled.
    """
    out, display = None if out is None else Path(out), display or Terminal()
    with distributed.joined(world, display.close) as world, machine.enough_memory(SMALLER):
        display = display if world.is_main else Display()
        config = from_json(Config, world.first(lambda: to_json(_asked(config, out))))
        device = machine.take_device(config.train.device, world.local, world.size)
        threads = world.first(lambda: timing.most_threads(config))
        torch.set_num_threads(1 if timing.settles_threads(config, device, world, threads) else threads)
        config, split = opened(config, device, display, world)
        own = torch.get_num_threads()
        torch.set_num_threads(threads)
        trainer = Trainer(config, split, TrainState(steps=1), device, world)  # how many they are its first steps tell
        starting.take(trainer, display)
        trainer.learn_first(partial(display.show, FIRST))
        torch.set_num_threads(own)
        seconds = timing.settled(trainer, threads, display)
        settings = {"threads": torch.get_num_threads(), "seconds_per_step": seconds, "processes": world.size}
        trainer.progress.settings |= settings
        trainer.progress.steps = steps_of(config.train, trainer, seconds)
        trainer.compile()
        run = Run(Path(world.first(lambda: str(_create(out, f"{config.recipe}-{split.train.name}", trainer).folder))))
        with _training_in(run, world):
            world.first(lambda: _begin(run, trainer, split))
            return _loop(run, trainer, display)


def resume(
    folder: str | Path,
    config: Config | None = None,
    *,
    more: More | None = None,
    display: Display | None = None,
    world: World | None = None,
) -> Result:
    """Continue a run from its newest whole checkpoint, exactly as if it had never stopped (with as many processes as before).

    A run that has no checkpoint yet begins at step 0. ``config`` may change the budget, which counts from the beginning, and what is
    logged; any other difference is a `UserError` that names it, and so are a finished run, a folder that is no run, and data that
    changed. ``more`` continues any run from where it is, be it finished. A learning-rate schedule is always that of the whole budget:
    where that grows, the rate takes up its course again.
    """
    folder, display = Path(folder), display or Terminal()
    with distributed.joined(world, display.close) as world, machine.enough_memory(SMALLER):
        display = display if world.is_main else Display()
        run = Run(folder)
        text, fingerprint, resolved, changed = world.first(lambda: resuming.settings(folder, config))
        config = from_json(Config, text)
        tracker.require(config.log.tracker)
        asked = resuming.asked(config, more, changed)
        device = machine.take_device(config.train.device, world.local, world.size)
        with _training_in(run, world):
            progress, saved = resuming.reached(run, resolved, world, display)
            torch.set_num_threads(progress.settings["threads"])
            split = load_images(config, display, world)
            if split.fingerprint != fingerprint:
                raise UserError(f"the images of {config.data.source} changed since the run began: restore them, or train anew")
            feasible.require_room(config, augmentation_of(config.data).spec(split.train), device, world)
            selection.require(config, split)
            ended = progress.early
            trainer = Trainer(config, split, progress, device, world)
            if saved is None:
                starting.take(trainer, display)
                trainer.learn_first(partial(display.show, FIRST))
            else:
                resuming.restore(run, trainer, saved, display)
            if asked is not None:
                trainer.progress.steps = steps_of(asked, trainer, timing.known(trainer, asked, display))
            if more is not None:
                trainer.config = replace(config, train=replace(config.train, minutes=None, epochs=None, steps=trainer.progress.steps))
            resuming.require_unfinished(run, replace(trainer.progress, early=ended), changed or more)
            trainer.compile()
            if ended and asked is not None:
                trainer.progress.since = 0
            world.first(lambda: _go_on(run, trainer, split, saved is None, bool(changed or more), ended))
            display.say(f"resuming {folder} at step {trainer.progress.step:,} of {trainer.progress.steps:,}")
            return _loop(run, trainer, display)


def _begin(run: Run, trainer: Trainer, split: Split) -> None:
    """Write what a new run consists of before its first step."""
    Run.require_free(run.folder)  # another process may have been here since
    run.write_config(trainer.config, split.fingerprint, {"steps": trainer.progress.steps, **trainer.progress.settings})
    _save(run, trainer)


def _go_on(run: Run, trainer: Trainer, split: Split, fresh: bool, changed: bool, ended: bool) -> None:
    """Write what a run needs to go on from here, whenever it is killed."""
    run.log().rewind(trainer.progress.step)
    if changed:
        run.write_config(trainer.config, split.fingerprint, {"steps": trainer.progress.steps, **trainer.progress.settings})
    if fresh:
        _save(run, trainer)
    elif ended:  # that it no longer is
        checkpoint.save(run.checkpoints, trainer.progress.step, trainer.state(), asdict(trainer.progress))


def _loop(run: Run, trainer: Trainer, display: Display) -> Result:
    config, world = trainer.config, trainer.world
    told = tracker.tracked(run, config, trainer.progress.step, display.say) if world.is_main else tracker.Tracker(None, display.say)
    log = TrackedLog(run.log().path, told)
    display.say(f"run {run.folder}: {_about(trainer)}")
    display.show("training", trainer.progress.step, trainer.progress.steps)
    every = config.log.checkpoints or math.ceil(trainer.progress.steps / CHECKPOINTS)
    scorer = ModelSelector(run, trainer) if config.log.evaluate and world.is_main else None
    world.all(None)  # the first may have taken long to look at the real images
    watcher, asked = Watcher(log.read()), Poll(world)
    mark, marked = time.perf_counter(), trainer.progress.seen
    with _interrupts() as interrupted:
        while (at := trainer.progress).step < at.steps and not at.early:
            last = at.step + 1 == at.steps
            watch = last or (at.step + 1) % config.log.every == 0
            scalars = trainer.step(watch)
            stop = asked(bool(interrupted))
            score = config.log.evaluate is not None and at.step % config.log.evaluate == 0
            keep = last or stop or at.step % every == 0
            if watch or keep or score:
                if world.any(not trainer.all_finite()):
                    _roll_back(run, trainer, display)
                    told.rewind(at.step)
                    watcher = Watcher(log.read())
                else:
                    now = time.perf_counter()
                    at.seconds += now - mark
                    if world.is_main and watch:
                        _report(trainer, scalars, (at.seen - marked) / (now - mark), log, watcher, display)
                    if score:
                        at.best, at.since, at.early = world.first(lambda: _scored(scorer, log, display))
                    if keep or at.early:
                        world.first(lambda: _save(run, trainer))
                        if world.is_main:
                            told.picture(at.step, dict(run.grids()).get(at.step))
                mark, marked = time.perf_counter(), trainer.progress.seen
            if stop:
                break
    told.close()
    display.close()
    at = trainer.progress
    return Result(run, at.step, at.steps, at.seconds, at.early, world.is_main)


def _scored(scorer: ModelSelector | None, log: Log, display: Display) -> tuple[float | None, int, bool]:
    """Take a score; returns the best one so far, how many came after it, and whether the training should end."""
    assert scorer is not None  # the first process has one
    event = scorer.look()
    log.write(event)
    at = scorer.trainer.progress
    display.say(f"step {at.step:,}: {selection.told(event, at.best)}")
    if at.early:
        display.say(f"{at.since} scores in a row brought nothing better: the training ends, and {scorer.run.best} holds the best weights")
    return at.best, at.since, at.early


def _report(trainer: Trainer, scalars: dict[str, Tensor], speed: float, log: Log, watcher: Watcher, display: Display) -> None:
    at = trainer.progress
    record = {"step": at.step, "images": at.seen, "seconds": at.seconds, "images_per_second": speed, "lr_scale": at.lr_scale}
    record |= {name: float(value) for name, value in scalars.items()}
    if trainer.holdout is not None:
        record["holdout_images"] = len(trainer.holdout.images)
    log.write(record)
    for event in watcher.see(record):
        log.write(event)
        display.say(f"step {at.step:,}: {event['says']}")
    live = [f"{name.removesuffix('/loss')} {float(v):.3f}" for name, v in scalars.items() if name.endswith("/loss") or name in LIVE]
    display.show("training", at.step, at.steps, f"{speed:,.0f} images/s  {'  '.join(live)}")


def _save(run: Run, trainer: Trainer) -> None:
    """The model to sample from, the fixed-noise grid, and last the checkpoint: a kill in between repeats all of it."""
    at, best = trainer.progress, trainer.best
    best.eval()
    finished = at.early or at.step >= at.steps
    known = calibrated(best, trainer.loader.images, trainer.held_out, trainer.config.data, trainer.device) if finished else None
    run.export(best, trainer.config, best.spec, at.step, calibration=known)
    shown.save(run, trainer)
    checkpoint.save(run.checkpoints, at.step, trainer.state(), asdict(at))


def _roll_back(run: Run, trainer: Trainer, display: Display) -> None:
    """Go back to the last good checkpoint with a lower learning rate; `TrainingError` after too many times."""
    at, limit = trainer.progress, trainer.config.train.retries
    saved = resuming.newest(run, trainer.world, trainer.check)
    good = saved.step if saved else 0
    event = f"a loss, gradient or weight was not finite before step {at.step}"
    if saved is None or at.retries >= limit:
        display.close()
        if trainer.world.is_main:
            run.log().write({"event": "gave up", "step": at.step})
        raise TrainingError(
            f"{event}, after {at.retries} retries at a lower learning rate: {run.folder} is intact at step {good}; "
            f"train anew with a smaller `optimizer.lr`, or with `optimizer.clip=1`"
        )
    retries, scale = at.retries + 1, at.lr_scale * ROLLBACK_LR
    trainer.restore(saved)
    trainer.progress.retries, trainer.progress.lr_scale = retries, scale
    record = {"event": "rollback", "step": at.step, "to": good, "lr_scale": scale}
    trainer.world.first(lambda: _went_back(run, trainer, record))
    display.say(f"{event}: back to step {good}, learning rate x {scale:g} (try {retries} of {limit})")


def _went_back(run: Run, trainer: Trainer, event: dict[str, Any]) -> None:
    """Save what a run went back to: with the lower rate in it, a resume goes the same way; an event is logged for what is saved alone."""
    checkpoint.save(run.checkpoints, trainer.progress.step, trainer.state(), asdict(trainer.progress))
    run.log().rewind(trainer.progress.step)
    run.log().write(event)


def _about(trainer: Trainer) -> str:
    count = sum(p.numel() for p in trainer.model.parameters())
    precision = ("bfloat16" if trainer.bf16 else "float32") + ", compiled" * bool(trainer.compiled)
    data, source = trainer.loader.images, trainer.loader.spec.source
    made = f" ({'from' if trainer.model.from_source else 'beside'}: {source})" if source else ""
    what = "points" if data.spec.points else f"images of {data.spec.size}x{data.spec.size}x{data.spec.channels}{made}"
    return (
        f"{count / 1e6:.2f} M parameters, {len(data):,} {what}, "
        f"{trainer.progress.steps:,} steps of {trainer.config.train.batch}, {_place(trainer)}, {precision}"
    )


def _place(trainer: Trainer) -> str:
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)}" if trainer.device.type == "cpu" else str(trainer.device)


def _asked(config: Config, out: Path | None) -> Config:
    """The configuration as it is valid, once it is known that a run can be put into ``out``."""
    config = with_one_budget(config, checked(Config, config))
    tracker.require(config.log.tracker)
    if out is not None:
        Run.require_free(out)
    return config


def _require_space(folder: Path, trainer: Trainer) -> None:
    """Raise `UserError` where the disk cannot hold the run, before anything of it is written."""
    weights = sum(t.numel() * t.element_size() for t in trainer.state().values())
    size = 7 * weights  # weights, averages and two moments, in two generations and one that is being written, and the model
    if not has_space(folder, size):
        raise UserError(f"no space for a run in {folder}: {size / 1e6:.0f} MB are needed; free some, or choose another disk with `out`")


def _create(out: Path | None, stem: str, trainer: Trainer) -> Run:
    _require_space(out or Path("runs"), trainer)
    return Run.create(out, stem)


@contextmanager
def _training_in(run: Run, world: World) -> Iterator[None]:
    """Hold the run's lock."""
    handle = run.lock() if world.is_main else None
    try:
        if world.is_main:
            run.sweep()
        yield
    except LostError as error:
        raise LostError(f"{error}; {run.folder} is intact: continue it with `resume`") from error
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The first Ctrl-C (or termination signal) fills the list, so that the loop can stop in order; the second stops at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
