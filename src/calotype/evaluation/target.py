"""What is judged, whatever it is: who it is, what was measured of it, and what runs say of their training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from calotype.config import Config
from calotype.diagnose.check import Findings
from calotype.diagnose.remedy import Judged
from calotype.engine.run import Run
from calotype.evaluation.request import Request
from calotype.evaluation.result import Report

SELECTED = "these weights were chosen among others by a score during the training: they look better by scores than they are"


@dataclass(frozen=True)
class Subject:
    """Who is judged, and what is known of its training."""

    name: str
    about: Mapping[str, str] = field(default_factory=dict)  # for people: model, parameters, steps ...
    records: Sequence[dict[str, Any]] = ()  # of the training log
    recipe: str | None = None
    settings: str = ""  # what runs share that differ in nothing but their training seed
    train_seed: int | None = None
    notes: tuple[str, ...] = ()
    judged: Judged | None = None  # what remedies depend on; None where no settings are known
    files: bool = False  # whether nothing is known but files
    draws: bool = True  # whether it makes images: a classifier does not


@dataclass(frozen=True)
class EvaluationResult:
    """What was measured of a target."""

    report: Report  # its scores and parts, and what is to be noted of them; without verdicts, and without what `Subject` hold
    findings: Findings  # that verdicts rest on


class EvaluationTarget(Protocol):
    """A generator, a restorer, a translator: opened, so that all that may be wrong with it has been looked at, but not measured yet."""

    @property
    def subject(self) -> Subject:
        """Who it is."""

    def measure(self, request: Request) -> EvaluationResult:
        """Draw, restore or translate, and score what comes of it."""


def run_of(path: Path) -> Run | None:
    """The run at a path, or around the weights there; None where there is none."""
    weights = path.resolve()
    folders = [path, *([weights.parent] if weights.name in ("best", "model") and (weights / "model.safetensors").is_file() else [])]
    return next((Run(f) for f in folders if (f / "checkpoints").is_dir() and (f / "config.json").is_file()), None)


def taken(config: Config) -> dict[str, object]:
    """The settings of a training by their full names, but those of the model."""
    tree = asdict(config)
    return {f"{section}.{name}": value for section in ("data", "optimizer", "schedule", "train") for name, value in tree[section].items()}


def settings_of(config: Config, which: str = "") -> str:
    """The first 12 hexadecimal digits of the SHA-256 of all that decides what a run computes but its seed.

    The budget counts as it was asked for: other minutes are another recipe. What a run logs does not count, unless it may end the
    training. ``which`` tells weights of one run from each other.
    """
    tree = asdict(config)
    del tree["train"]["seed"], tree["reasons"]
    log = tree.pop("log")
    if config.log.patience is not None:
        tree["stop"] = {name: log[name] for name in ("evaluate", "evaluate_images", "patience")}
    return hashlib.sha256(json.dumps([tree, which], sort_keys=True).encode()).hexdigest()[:12]
