"""Scores while a run trains: keep the best weights, and stop when they no longer improve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from calotype import pictures
from calotype.config import Config
from calotype.data import Images
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer
from calotype.errors import UserError
from calotype.metrics.features import cached, for_selection
from calotype.metrics.frechet import Moments, bias, check_count, frechet
from calotype.models import build
from calotype.types import Noise, mix

BATCH = 100  # images drawn at once
NOISE = 4  # the stream of random numbers of these images, apart from those of training and of reports


def require(config: Config, train: Images) -> None:
    """Raise `UserError` where scores are wanted and cannot be had: a model without images, or fewer than features have dimensions."""
    if config.log.evaluate is None:
        if config.log.patience is not None:
            raise UserError("--patience counts scores: say how often to take one with --evaluate-every N")
        return
    if not build(config.model, train.spec).draws:
        raise UserError("a classifier draws no images that could be scored: leave out --evaluate-every")
    check_count(min(config.log.evaluate_images, len(train)), for_selection(train.spec).dimension)


class Keeper:
    """Judges the averaged weights by the Frechet distance of a few images and keeps the best in ``best/``.

    The images come from noise and are compared in a feature space that no report uses: what selects must not judge. What it remembers
    is in the run's progress, so that going back and resuming need nothing more.
    """

    def __init__(self, run: Run, trainer: Trainer) -> None:
        train = trainer.loader.images
        self.run, self.trainer = run, trainer
        self.space = for_selection(train.spec, trainer.device)
        self.real = Moments.of(cached(self.space, train).features)

    @torch.no_grad()
    def look(self) -> dict[str, Any]:
        """Score the weights as they are now; returns the event to log."""
        config, at, model = self.trainer.config, self.trainer.progress, self.trainer.best.eval()
        value, extra = self._distance()
        at.since += 1
        if better := at.best is None or value < at.best:
            at.best, at.since = value, 0
            self.run.export(model, config, model.spec, at.step, self.run.best)
        at.early = config.log.patience is not None and at.since >= config.log.patience
        facts = {"FD": value, "bias": extra, "n": config.log.evaluate_images, "features": self.space.label}
        return {"event": "score", "step": at.step, **facts, "best": better}

    def _distance(self) -> tuple[float, float]:
        """The distance to the training images and the part of it that small samples explain; infinite for images that are not finite."""
        config, model, parts = self.trainer.config, self.trainer.best, []
        for start in range(0, config.log.evaluate_images, BATCH):
            count = min(BATCH, config.log.evaluate_images - start)
            images = model.sample(Noise(count, mix(config.train.seed, NOISE), start, self.trainer.device))
            if not torch.isfinite(images).all():
                return math.inf, math.nan
            parts.append(pictures.to_uint8(images))
        drawn = Moments.of(self.space.of(np.concatenate(parts)).features)
        return frechet(drawn, self.real), bias(drawn, self.real)
