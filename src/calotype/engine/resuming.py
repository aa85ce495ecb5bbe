"""What a run needs to be continued: how far it has come, and how far it goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calotype.config import BUDGETS, RESUMABLE, Config, More, Training, differences, require_one, to_json, with_one_budget
from calotype.engine import checkpoint
from calotype.engine.checkpoint import Checkpoint
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import DamagedError, UserError
from calotype.settings import checked


def settings(folder: Path, config: Config | None) -> tuple[str, str, dict[str, Any], list[str]]:
    """Of a run to resume: the configuration as JSON, the fingerprint of its images, what `Resolved` lists, and the settings that change."""
    run = Run.open(folder)
    before, facts = run.read_config()
    config = with_one_budget(before, checked(Config, config or before))
    if config.data.flip is None:  # as it was decided
        config = replace(config, data=replace(config.data, flip=before.data.flip))
    changed = differences(before, config)
    if forbidden := [f"{k}: {a!r} -> {b!r}" for k, (a, b) in changed.items() if k not in RESUMABLE]:
        raise UserError(f"a resumed run keeps its settings ({'; '.join(forbidden)}): leave them out, or train anew")
    run.require_writable()
    return to_json(config), facts["data"]["fingerprint"], facts["resolved"], list(changed)


def asked(config: Config, more: More | None, changed: Sequence[str]) -> Training | More | None:
    """The budget that a resumed run is given; None where it keeps its own."""
    budgets = [name for name in BUDGETS if f"train.{name}" in changed and getattr(config.train, name) is not None]
    if more is None:
        return config.train if budgets else None
    more = checked(More, more)
    require_one(more.given, "more")
    if budgets:
        raise UserError(
            f"more {next(iter(more.given))} go on from where the run is, and {budgets[0]} count from its beginning: give one of them"
        )
    return more


def reached(run: Run, resolved: Mapping[str, Any], world: World, display: Display) -> tuple[TrainState, Checkpoint | None]:
    """Where a run stands, and the checkpoint that says so. How far it goes is in its configuration, which is written first."""
    saved = newest(run, world, TrainState.of)
    if saved is None:
        display.say(f"{run.folder} has no checkpoint: it begins at step 0")
        progress = TrainState(resolved["steps"], settings={name: value for name, value in resolved.items() if name != "steps"})
    else:
        _tell_damage(saved, display)
        progress = replace(TrainState.of(saved), steps=resolved["steps"])
    if (before := progress.settings.get("processes", world.size)) != world.size:
        display.say(
            f"the number of processes was {before} and is {world.size} from here on: each draws its own random numbers, so that this "
            "will not be, bit for bit, the run that never stopped"
        )
        progress.settings["processes"] = world.size
    return progress, saved


def newest(run: Run, world: World, check: Callable[[Checkpoint], object]) -> Checkpoint | None:
    """The newest checkpoint that is whole and passes ``check``, as the first process finds it: another one might look while it is
    replaced, or see another disk."""
    saved = checkpoint.load_newest(run.checkpoints, check) if world.is_main else None
    found = world.first(lambda: None if saved is None else (saved.facts, str(saved.path), saved.damaged))
    if found is None:
        return None
    facts, path, damaged = found
    return Checkpoint(world.share({} if saved is None else saved.tensors), facts, Path(path), tuple(damaged))


def restore(run: Run, trainer: Trainer, saved: Checkpoint, display: Display) -> None:
    """Bring a trainer to where a checkpoint stands, or the newest one that holds the state of its model."""
    try:
        trainer.check(saved)
    except DamagedError:
        older = newest(run, trainer.world, trainer.check)
        assert older is not None
        _tell_damage(older, display)
        saved = older
    trainer.restore(saved)


def _tell_damage(saved: Checkpoint, display: Display) -> None:
    for reason in saved.damaged:
        display.say(f"skipped a damaged checkpoint ({reason})")


def require_unfinished(run: Run, progress: TrainState, changed: object) -> None:
    """Raise `UserError` where nothing is left to do, with the command that goes on nevertheless."""
    command = f"calotype train `resume={shlex.quote(str(run.folder))}` `more.minutes={max(1, round(progress.seconds / 60))}`"
    if progress.early and not changed:
        why = "because its scores got no better: to go on give a larger `log.patience`"
        raise UserError(f"{run.folder} ended at step {progress.step:,}, {why}, or {command}")
    if progress.step >= progress.steps:
        raise UserError(
            f"{run.folder} is complete at step {progress.step:,}, and its budget counts from the beginning: to go on, {command}"
        )
