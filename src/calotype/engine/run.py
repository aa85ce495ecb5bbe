"""The folder that holds all of one training."""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors.torch import save as pack_tensors

import calotype
from calotype import earlier
from calotype.capabilities import DrawsPairs
from calotype.config import Config
from calotype.engine import calibrating
from calotype.engine.calibrating import BeliefCalibration
from calotype.engine.device import machine_of
from calotype.engine.log import Log
from calotype.engine.model_card import command_for, judged_card, model_card
from calotype.errors import DamagedError, UserError
from calotype.files import (
    absent,
    claim,
    claimed,
    obstacle,
    read_bytes,
    read_json,
    safe_name,
    sha256,
    write_atomic,
    write_json,
    write_text,
)
from calotype.models import MODELS, stored
from calotype.provenance.marker import Marker
from calotype.settings import Count, NotNegative, checked
from calotype.types import ImageSpec, Model

RUNS = Path("runs")
CARD = 1 << 20  # bytes of the card of a model at most
_GRID = re.compile(r"step-([0-9]{9,18})\.png")
LOOKED_AT = 0.2  # seconds within which whoever asks whether a run is being trained has looked
_LEFT = re.compile(r"\.lock|\..*\.tmp")  # what a training leaves that was killed before it wrote anything else


@dataclass(frozen=True)
class Resolved:
    """What minutes and ``auto`` became on the machine of a run; what `Run.read_config` finds under ``resolved``."""

    steps: Count
    threads: Annotated[int, Field(ge=1, le=4096)]
    seconds_per_step: NotNegative  # 0 where nothing was timed
    bf16: bool
    processes: Count = 1
    start: str = ""  # SHA-256 of the weights that it started from, where it did


@dataclass(frozen=True)
class Run:
    """Paths and files of a run; see docs/run-folder.md for what each file holds."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Where the generations of checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """All that sampling needs."""
        return self.folder / "model"

    @property
    def best(self) -> Path:
        """The model with the best score, where scores are taken during training."""
        return self.folder / "best"

    @property
    def samples(self) -> Path:
        """The same noise drawn at each checkpoint."""
        return self.folder / "samples"

    @property
    def over_time(self) -> Path:
        """Points of the same noise at several checkpoints in one picture; of points alone."""
        return self.folder / "over-time.png"

    def grids(self) -> list[tuple[int, Path]]:
        """The pictures in ``samples/`` with the steps after which they were drawn, in that order; nothing else that lies there."""
        there = self.samples.glob("step-*.png")
        return sorted((int(found[1]), path) for path in there if (found := _GRID.fullmatch(path.name)))

    @staticmethod
    def require_free(out: Path) -> None:
        """Raise `UserError` where no new run can be put."""
        try:
            there = out.exists()
        except OSError as error:
            raise UserError(f"`out={out}` cannot be read ({error.strerror or error}): choose another place") from None
        if there and not out.is_dir():
            raise UserError(f"`out={out}` is a file: choose another place")
        if Run(out).begun:
            raise UserError(f"{out} holds a run: choose another `out`, or continue that run with `resume={shlex.quote(str(out))}`")
        if out.is_dir() and any(not _LEFT.fullmatch(path.name) for path in out.iterdir()):
            raise UserError(f"`out={out}` is not empty: choose a new or an empty folder")
        if reason := obstacle(out, folder=True):
            raise UserError(f"cannot create {out}: {reason}; choose another `out`")

    @property
    def begun(self) -> bool:
        """Whether there is a run here that can be resumed, be it from step 0."""
        if not (self.folder / "config.json").is_file():
            return False
        try:
            return self.checkpoints.is_dir() or bool(self.read_config())
        except UserError:
            return False

    @staticmethod
    def create(out: Path | None, stem: str, root: Path = RUNS) -> Run:
        """A new empty run folder: ``out``, or the next number of ``{stem}-NNNN`` in ``root``."""
        if out is not None:
            Run.require_free(out)
            _make(out)
            return Run(out)
        stem = safe_name(stem, "run")
        _make(root)
        number = 1 + max((int(m[1]) for p in root.iterdir() if (m := re.fullmatch(re.escape(stem) + r"-(\d+)", p.name))), default=0)
        while True:
            try:
                (folder := root / f"{stem}-{number:04d}").mkdir()
                return Run(folder)
            except FileExistsError:  # another process took the number
                number += 1

    @staticmethod
    def open(folder: Path) -> Run:
        """An existing run; `UserError` where the folder is none."""
        try:
            there = (folder / "config.json").is_file()
        except OSError as error:
            raise UserError(f"{folder} cannot be read ({error.strerror or error}): give the folder that calotype train printed") from None
        if not there and not folder.exists():
            raise UserError(absent(folder, "the folder that calotype train printed"))
        if not there:
            raise UserError(f"{folder} is not a run (it has no config.json): give the folder that calotype train printed")
        return Run(folder)

    def write_config(self, config: Config, fingerprint: str, settings: dict[str, Any]) -> None:
        """Keep everything that repeats the run exactly."""
        origin = {"calotype": calotype.__version__, "torch": torch.__version__, "python": platform.python_version()}
        facts = {"config": asdict(config), "data": {"fingerprint": fingerprint}, "resolved": settings, "versions": origin}
        write_json(self.folder / "config.json", facts)

    def read_config(self) -> tuple[Config, dict[str, Any]]:
        """The configuration and all facts of ``config.json``: ``data.fingerprint`` and what `Resolved` lists are there.

        Raises:
            DamagedError: where the file is not what a training writes.
        """
        path = self.folder / "config.json"
        try:
            facts = read_json(path)
        except DamagedError as error:
            raise DamagedError(f"{error}: restore it from a copy") from None
        try:
            config = checked(Config, earlier.config(facts["config"]))
            checked(Resolved, facts["resolved"])
            if not isinstance(facts["data"]["fingerprint"], str):
                raise UserError("data.fingerprint: it should be a string")
        except KeyError as error:
            raise DamagedError(f"{path} is damaged ({error} is missing): restore it from a copy") from None
        except (TypeError, UserError) as error:
            raise DamagedError(f"{path} is damaged or from another version ({error}): restore it from a copy") from None
        return config, facts

    def use(self) -> str | None:
        """The command that puts the exported model to work where it makes images from images; None where it draws."""
        found = stored.find(self.model)
        return None if found.starts_from is None else command_for(MODELS[type(found.config)], found.starts_from)

    def lock(self) -> int:
        """Keep other processes from training into this folder; released when the process ends, however it ends.

        Raises `UserError` where another one is at it, and where nothing can be written.
        """
        try:
            handle = claim(self.folder / ".lock", LOOKED_AT)
        except OSError as error:
            where = f"cannot write into {self.folder} ({error.strerror or error})"
            raise UserError(f"{where}: a run goes on in its own folder; copy it to where you may write") from None
        if handle is None:
            raise UserError(f"another process is training in {self.folder}: wait for it, or stop it first") from None
        with suppress(OSError):  # on a full disk nobody can be told
            os.truncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        return handle

    @property
    def trainer(self) -> int | None:
        """The process that is training here, to which SIGTERM says to stop in order; 0 where it does not say, None where there is none."""
        return self.trained_by if claimed(self.folder / ".lock") else None

    @property
    def trained_by(self) -> int:
        """The process that trained here last, or does; 0 where nothing says so."""
        with suppress(OSError, ValueError):
            return max(0, int(read_bytes(self.folder / ".lock", 20)))
        return 0

    def sweep(self) -> None:
        """Remove what a kill left of files that were being written; nobody else may be training here."""
        for folder in (self.folder, self.model, self.samples, self.best):
            for path in folder.glob(".*.tmp"):
                with suppress(OSError):
                    path.unlink()

    def require_writable(self) -> None:
        """Raise `UserError` where a training could not go on, because one of the run's folders cannot be written."""
        for folder in (self.folder, self.checkpoints, self.model, self.samples, self.best):
            if folder.exists() and (reason := obstacle(folder, folder=True)):
                raise UserError(f"cannot continue in {folder}: {reason}; repair that, or copy the run to where you may write")

    def export(
        self,
        model: Model,
        config: Config,
        spec: ImageSpec,
        step: int,
        folder: Path | None = None,
        calibration: BeliefCalibration | None = None,
    ) -> None:
        """Write what sampling needs into ``model/`` or another folder: weights, what they mean, and a card for people.

        ``calibration`` is what a classifier's probabilities need besides.
        """
        folder = folder or self.model
        folder.mkdir(exist_ok=True)
        facts = {"model": asdict(config.model), "spec": asdict(spec), "recipe": config.recipe, "calotype": calotype.__version__}
        write_json(folder / "config.json", facts)
        write_text(folder / "README.md", model_card(config, spec, model, step, self._fingerprint()))
        state = {name: t for name, t in model.state_dict().items() if not name.startswith(model.training_only)}
        tensors = {name: t.detach().cpu().contiguous() for name, t in state.items()}
        calibrating.write(folder, None)  # of the weights before
        write_atomic(folder / "model.safetensors", lambda stream: stream.write(pack_tensors(tensors)))
        calibrating.write(folder, calibration)

    def _fingerprint(self) -> str:
        """That of the training images; empty before the run has a configuration."""
        with suppress(UserError):
            return str(self.read_config()[1]["data"]["fingerprint"])
        return ""

    def tell_judgement(self, report: Mapping[str, Any]) -> None:
        """Let the card of the exported model say what an evaluation of it found (``report`` is that of ``report.json``)."""
        card = self.model / "README.md"
        with suppress(OSError, ValueError):  # a model does without its card, and nothing that was judged is lost
            write_text(card, judged_card(read_bytes(card, CARD).decode(errors="replace"), report))

    def marker(self, config: Config, model: Model, device: torch.device) -> Marker:
        """What the sample grid of the model that was exported last says of its making."""
        count, seed, weights = config.log.grid, config.train.seed, sha256(self.model / stored.WEIGHTS)
        if model.from_source or model.spec.points or isinstance(model, DrawsPairs):
            return Marker("overview", weights=weights, recipe=config.recipe, seed=seed, machine=machine_of(device))
        drawn = Marker("sample", weights=weights, recipe=config.recipe, seed=seed, index=0, machine=machine_of(device))
        return replace(drawn, cells=count, batch=(0, count, count))

    def log(self) -> Log:
        """The log of this run."""
        return Log(self.folder / "log.jsonl")


def _make(folder: Path) -> None:
    if reason := obstacle(folder, folder=True):
        raise UserError(f"cannot create a run in {folder}: {reason}; choose another place with `out`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror or error}; choose another place with `out`") from None
