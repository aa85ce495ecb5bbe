"""Scores while a run trains: keep the best weights, and stop when they no longer improve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from calotype import pictures
from calotype.config import Config
from calotype.data import Images
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer
from calotype.errors import UserError
from calotype.metrics.features import cached, pick
from calotype.metrics.frechet import Moments, bias, check_count, frechet
from calotype.models import build
from calotype.types import Noise

BATCH = 100  # images drawn at once


def require(config: Config, train: Images) -> None:
    """Raise `UserError` where scores are wanted and cannot be had: a model without images, or fewer than features have dimensions."""
    if config.log.evaluate is None:
        if config.log.patience is not None:
            raise UserError("--patience counts scores: say how often to take one with --evaluate-every N")
        return
    if not build(config.model, train.spec).draws:
        raise UserError("a classifier draws no images that could be scored: leave out --evaluate-every")
    check_count(min(config.log.evaluate_images, len(train)), pick(None, train.spec)[0].dimension)


class Keeper:
    """Judges the averaged weights by the Frechet distance of a few images and keeps the best in ``best/``.

    The features are those that ``calotype evaluate`` would pick, and the noise is the same each time. A model that was selected by a
    score looks better by that score than it is: the noise of ``calotype evaluate`` is another.
    """

    def __init__(self, run: Run, trainer: Trainer, train: Images, records: Iterable[dict[str, Any]]) -> None:
        self.run, self.trainer = run, trainer
        self.space = pick(None, train.spec, trainer.device)[0]
        self.real = Moments.of(cached(self.space, train).features)
        scores = [r for r in records if r.get("event") == "score" and r["step"] <= trainer.progress.step]
        self.best = min((r["FD"] for r in scores), default=float("inf"))
        self.since = next((i for i, r in enumerate(reversed(scores)) if r["FD"] == self.best), 0)

    @torch.no_grad()
    def look(self) -> dict[str, Any]:
        """Score the weights as they are now; returns the event to log."""
        config, at, model = self.trainer.config, self.trainer.progress, self.trainer.best.eval()
        count, parts = config.log.evaluate_images, []
        for start in range(0, count, BATCH):
            noise = Noise(min(BATCH, count - start), config.train.seed + 1, start, self.trainer.device)
            parts.append(pictures.to_uint8(model.sample(noise)))
        drawn = Moments.of(self.space.of(np.concatenate(parts)).features)
        value, extra = frechet(drawn, self.real), bias(drawn, self.real)
        self.since += 1
        if better := value < self.best:
            self.best, self.since = value, 0
            self.run.export(model, config, model.spec, at.step, self.run.best)
        return {"event": "score", "step": at.step, "FD": value, "bias": extra, "n": count, "features": self.space.label, "best": better}

    @property
    def tired(self) -> bool:
        """Whether so many scores in a row brought nothing better that the training should end."""
        patience = self.trainer.config.log.patience
        return patience is not None and self.since >= patience
