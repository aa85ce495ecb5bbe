"""The folder that holds all of one training."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as pack_tensors
from torch import Tensor

import calotype
from calotype.config import Config
from calotype.engine.model_card import command_for, model_card
from calotype.errors import UserError
from calotype.files import obstacle, parse_json, read_json, safe_name, write_atomic, write_json, write_text
from calotype.models import stored
from calotype.settings import checked
from calotype.types import ImageSpec, Model


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

    @staticmethod
    def require_free(out: Path) -> None:
        """Raise `UserError` where no new run can be put."""
        if out.is_file():
            raise UserError(f"--out {out} is a file: choose another place")
        if (out / "config.json").is_file() and (out / "checkpoints").is_dir():
            raise UserError(f"{out} holds a run: choose another --out, or continue that run with --resume {shlex.quote(str(out))}")
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"--out {out} is not empty: choose a new or an empty folder")
        if reason := obstacle(out, folder=True):
            raise UserError(f"cannot create {out}: {reason}; choose another --out")

    @staticmethod
    def create(out: Path | None, stem: str) -> Run:
        """A new empty run folder: ``out``, or the next number of ``runs/{stem}-NNNN``."""
        if out is not None:
            Run.require_free(out)
            _make(out)
            return Run(out)
        root, stem = Path("runs"), safe_name(stem, "run")
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
        if not (folder / "config.json").is_file():
            near = sorted(p.parent.name for p in folder.parent.glob("*/config.json"))[-3:] if folder.parent.is_dir() else []
            hint = f"runs beside it: {', '.join(near)}" if near else "give the folder that calotype train printed"
            raise UserError(f"{folder} is not a run (it has no config.json): {hint}")
        return Run(folder)

    def write_config(self, config: Config, fingerprint: str, settings: dict[str, Any]) -> None:
        """Keep everything that repeats the run exactly."""
        origin = {"calotype": calotype.__version__, "torch": torch.__version__, "python": platform.python_version()}
        facts = {"config": asdict(config), "data": {"fingerprint": fingerprint}, "resolved": settings, "versions": origin}
        write_json(self.folder / "config.json", facts)

    def read_config(self) -> tuple[Config, dict[str, Any]]:
        """The configuration and the other facts of ``config.json``."""
        try:
            facts = read_json(self.folder / "config.json")
            return checked(Config, facts["config"]), facts
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.folder / 'config.json'} is damaged ({error!r}): restore it from a copy") from None

    def use(self) -> str | None:
        """The command that puts the exported model to work where it makes images from images; None where it draws."""
        found = stored.find(self.model)
        return None if found.spec.source is None else command_for(found.config, found.spec.source)

    def lock(self) -> int:
        """Keep other processes from training into this folder; released when the process ends, however it ends."""
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        if os.name != "nt":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                raise UserError(f"another process is training in {self.folder}: wait for it, or stop it first") from None
        return handle

    def export(self, model: Model, config: Config, spec: ImageSpec, step: int, folder: Path | None = None) -> None:
        """Write what sampling needs into ``model/`` or another folder: weights, what they mean, and a card for people."""
        folder = folder or self.model
        folder.mkdir(exist_ok=True)
        facts = {"model": asdict(config.model), "spec": asdict(spec), "recipe": config.recipe, "calotype": calotype.__version__}
        write_json(folder / "config.json", facts)
        write_text(folder / "README.md", model_card(config, spec, model, step))
        state = {name: t for name, t in model.state_dict().items() if not name.startswith(model.training_only)}
        tensors = {name: t.detach().cpu().contiguous() for name, t in state.items()}
        write_atomic(folder / "model.safetensors", lambda stream: stream.write(pack_tensors(tensors)))

    def log(self) -> Log:
        """The log of this run."""
        return Log(self.folder / "log.jsonl")


@dataclass(frozen=True)
class Log:
    """``log.jsonl``: one JSON object a line, in the order of the steps."""

    path: Path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; a number that JSON cannot hold becomes null."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({k: _plain(v) for k, v in record.items()}, allow_nan=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole records; a line torn by a kill is left out."""
        records = []
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            try:
                record = parse_json(line)
            except ValueError:
                continue
            if isinstance(record.get("step"), int):
                records.append(record)
        return records

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``, because those steps will be taken again; that the run went back stays."""
        kept = [r for r in self.read() if r.get("step", 0) <= step or r.get("event") == "retreat"]
        text = "".join(json.dumps(r) + "\n" for r in kept)
        write_text(self.path, text)


def _make(folder: Path) -> None:
    if reason := obstacle(folder, folder=True):
        raise UserError(f"cannot create a run in {folder}: {reason}; choose another place with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror or error}; choose another place with --out") from None


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        value = float(value)
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
