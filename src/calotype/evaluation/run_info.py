"""What the run of a model that makes images from images tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from calotype.config import Config
from calotype.data import Split
from calotype.data.load import has_a_name, short_name
from calotype.diagnose.remedy import Judged, model_settings
from calotype.evaluation import result
from calotype.evaluation.beside import own_split, vanished
from calotype.evaluation.cost import training
from calotype.evaluation.request import Request
from calotype.evaluation.target import SELECTED, Subject, run_of, settings_of, taken
from calotype.files import expanded, name_of
from calotype.tasks.sample import Generator


@dataclass(frozen=True)
class RunInfo:
    """A run, its settings, images and log; nothing of a model by itself."""

    config: Config | None = None
    split: Split | None = None
    records: tuple[dict[str, Any], ...] = ()
    steps: int | None = None  # of the training that led to the weights
    threads: int | None = None  # of the training
    selected: bool = False  # whether the weights are those that a score chose

    @staticmethod
    def of(path: Path, request: Request | None = None) -> RunInfo:
        """What is known of the model at ``path``: a run, or weights inside one; with the images of the run where a judgement is asked for.

        Where pictures to judge by are named, the images of the run are those only if they are not where the run found them.

        Raises:
            UserError: where these are no longer the images that it was trained on.
        """
        run = run_of(path)
        if run is None:
            return RunInfo()
        config, facts = run.read_config()
        records = tuple(run.log().read())
        selected = path.resolve() == run.best.resolve()
        wanted = request is not None and (request.data is None or vanished(config.data.source))
        split = own_split(config.data, facts["data"]["fingerprint"], request) if request is not None and wanted else None
        steps = max((r.get("step", 0) for r in records if not selected or r.get("best")), default=0)
        return RunInfo(config, split, records, steps, facts["resolved"]["threads"], selected)

    @property
    def settings(self) -> str:
        """What it shares with runs that differ in nothing but their seed."""
        return "" if self.config is None else settings_of(self.config, "best" if self.selected else "")

    @property
    def train_seed(self) -> int | None:
        """Of the training."""
        return None if self.config is None else self.config.train.seed

    @property
    def data(self) -> result.ReferenceData | None:
        """The images of the run."""
        if self.split is None:
            return None
        train, held = self.split.train, self.split.holdout
        return result.ReferenceData(train.name, len(train), len(held), self.split.fingerprint, held.fingerprint if len(held) else "")

    def subject(self, path: Path, generator: Generator) -> Subject:
        """Who the model at ``path`` is."""
        config = getattr(generator.model, "config", None)
        run = {} if self.config is None else taken(self.config)
        return Subject(
            name_of(path),
            self.about(generator),
            self.records,
            generator.recipe or None,
            self.settings,
            self.train_seed,
            (SELECTED,) if self.selected else (),
            None if config is None else Judged(model_settings(config), generator.recipe, run),
            draws=generator.model.draws,
        )

    def learned_from(self, source: str) -> bool:
        """Whether a file or folder is the one that the run was trained on, holds it or lies in it."""
        if self.config is None or has_a_name(source):
            return False
        own, other = (expanded(name).resolve() for name in (self.config.data.source, source))
        return other.exists() and (own == other or own in other.parents or other in own.parents)

    def about(self, generator: Generator) -> dict[str, str]:
        """The model in words."""
        about = {"model": f"{sum(p.numel() for p in generator.model.parameters()):,} parameters"}
        if self.config is not None:
            about |= {"recipe": self.config.recipe, "training": f"{self.steps:,} steps of {self.config.train.batch} images"}
            about |= {"training data": short_name(Path(self.config.data.source))}
        return about

    def cost(self, generator: Generator, seconds_per_megapixel: float) -> result.Cost:
        """What the model takes."""
        return result.Cost(
            parameters=sum(p.numel() for p in generator.model.parameters()),
            threads=torch.get_num_threads(),
            device=generator.device.type,
            train_threads=self.threads,
            seconds_per_megapixel=seconds_per_megapixel,
            **training(self.records, self.steps),
        )
