"""Trackers: the lines of a run's log, and its sample grids, told to TensorBoard, Weights & Biases or Trackio while it trains.

``log.jsonl`` stays the log. A tracker that fails is said once and then left alone: it never stops a training.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from calotype.config import Config, TrackerName
from calotype.engine.log import Log
from calotype.engine.run import Run
from calotype.errors import DamagedError, UserError, printable
from calotype.files import name_of, read_json, write_json

PROJECT = "calotype"
FOLDER = "tensorboard"  # in the folder of a run: its event files
IDENTITY = "tracker.json"  # what the trackers know the run by, so that a resumed run goes on as the same one


class Backend(Protocol):
    """One tracker."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name after a step."""

    def event(self, step: int, text: str) -> None:
        """Something that happened at a step."""

    def picture(self, step: int, path: Path) -> None:
        """The sample grid after a step."""

    def rewind(self, step: int) -> None:
        """Steps after this one will be taken again."""

    def close(self) -> None:
        """Nothing more comes."""


class _TensorBoard:
    """Event files in ``tensorboard/`` of the run; a resumed one purges what was logged after its step."""

    def __init__(self, run: Run, config: Config, step: int) -> None:
        self._folder = run.folder / FOLDER
        self._writer = self._opened(step)

    def _opened(self, step: int) -> Any:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        return writer(str(self._folder), purge_step=step + 1 if any(self._folder.glob("events.*")) else None)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # what was logged survives a kill

    def event(self, step: int, text: str) -> None:
        self._writer.add_text("events", text, step)

    def picture(self, step: int, path: Path) -> None:
        with Image.open(path) as image:
            self._writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def rewind(self, step: int) -> None:
        self._writer.close()
        self._writer = self._opened(step)

    def close(self) -> None:
        self._writer.close()


class _Hosted:
    """Weights & Biases and Trackio, whose calls are the same. Steps are a number among the others, because they may be taken again."""

    def __init__(self, package: str, run: Run, config: Config, step: int) -> None:
        self._package = import_module(package)
        known = {"name": run.folder.name, "id": _identity(run), "dir": str(run.folder)}
        if package == "trackio":  # it knows runs by their names
            known = {"name": f"{run.folder.name}-{known['id']}"}
        self._run = self._package.init(project=PROJECT, config=_named(config), resume="allow", **known)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._package.log({"step": step, **values})

    def event(self, step: int, text: str) -> None:
        self._package.log({"step": step, "event": text})

    def picture(self, step: int, path: Path) -> None:
        self._package.log({"step": step, "samples": self._package.Image(str(path))})

    def rewind(self, step: int) -> None:
        self._package.log({"step": step, "event": f"back to step {step}"})

    def close(self) -> None:
        self._package.finish()


def _named(config: Config) -> dict[str, Any]:
    """The configuration, with names in the place of the paths of this machine."""
    data, start = config.data, config.train.start
    partner = None if data.partner is None else Path(data.partner).absolute().name
    return asdict(
        replace(
            config,
            data=replace(data, source=Path(data.source).absolute().name, partner=partner),
            train=replace(config.train, start=None if start is None else name_of(Path(start))),
        )
    )


def _identity(run: Run) -> str:
    """What a tracker knows a run by: made once, and kept in its folder."""
    path = run.folder / IDENTITY
    if path.is_file():
        try:
            return str(read_json(path)["id"])[:40]
        except (DamagedError, KeyError):
            pass
    made = secrets.token_hex(4)
    write_json(path, {"id": made})
    return made


def require(name: TrackerName | None) -> None:
    """Raise `UserError` where the package of a tracker is not installed."""
    if name is not None and find_spec(name) is None:
        raise UserError(f"`log.tracker={name}` needs the package {name} (pip install {name})")


def backend(name: TrackerName, run: Run, config: Config, step: int) -> Backend:
    """The tracker of a run that stands at ``step``."""
    return _TensorBoard(run, config, step) if name == "tensorboard" else _Hosted(name, run, config, step)


class Tracker:
    """What tells a backend, and is silent from its first failure on, which ``say`` is told; nothing without a backend."""

    def __init__(self, opened: Callable[[], Backend] | None, say: Callable[[str], object]) -> None:
        self._backend: Backend | None = None
        self._say = say
        if opened is not None:
            self._try(lambda: setattr(self, "_backend", opened()))

    def write(self, record: Mapping[str, Any]) -> None:
        """A record of the log."""
        self._tell(lambda tell: _told(tell, record))

    def picture(self, step: int, path: Path | None) -> None:
        """The sample grid after a step, where there is one."""
        if path is not None:
            self._tell(lambda tell: tell.picture(step, path))

    def rewind(self, step: int) -> None:
        """Steps after this one will be taken again."""
        self._tell(lambda tell: tell.rewind(step))

    def close(self) -> None:
        """The training ends."""
        self._tell(lambda tell: tell.close())
        self._backend = None

    def _tell(self, tell: Callable[[Backend], object]) -> None:
        if (there := self._backend) is not None:
            self._try(lambda: tell(there))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # whatever a tracker raises
            self._backend = None
            said = (str(error).splitlines() or [""])[0][:200]
            self._say(f"the tracker failed ({printable(type(error).__name__ + ': ' + said)}): nothing more is told to it, the run goes on")


def _told(tell: Backend, record: Mapping[str, Any]) -> None:
    """Tell a record of the log."""
    step = int(record["step"])
    if "event" in record:
        said = ", ".join(f"{name} {value}" for name, value in record.items() if name not in ("step", "event"))
        tell.event(step, f"{record['event']}: {said}")
    else:
        tell.numbers(step, {name: float(value) for name, value in record.items() if name != "step" and value is not None})


@dataclass(frozen=True)
class TrackedLog(Log):
    """A log whose lines are told to a tracker, too."""

    tracker: Tracker = field(default_factory=lambda: Tracker(None, print))

    def write(self, record: dict[str, Any]) -> None:
        """Append one record as `Log` does, and tell the tracker."""
        super().write(record)
        self.tracker.write(record)


def tracked(run: Run, config: Config, step: int, say: Callable[[str], object]) -> Tracker:
    """The tracker that the configuration names, for a run that stands at ``step``; one that says nothing where it names none."""
    name = config.log.tracker
    return Tracker(None if name is None else lambda: backend(name, run, config, step), say)
