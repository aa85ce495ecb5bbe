"""Scores while a run trains: keep the best weights, and stop when they no longer improve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from calotype import pictures
from calotype.config import Config
from calotype.data import Images, Split
from calotype.data.images import some
from calotype.engine.calibrating import calibrated
from calotype.engine.images import aside, augmentation_of
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer
from calotype.errors import UserError
from calotype.metrics.confidence import log_softmax
from calotype.metrics.features import cached, for_selection
from calotype.metrics.frechet import FD, Moments, bias, check_count, frechet
from calotype.metrics.inputs import Beliefs
from calotype.metrics.predictions import predictions
from calotype.metrics.quality import PSNR
from calotype.metrics.recognition import ACCURACY, LOG_LOSS, log_loss, share_right
from calotype.models import MODELS
from calotype.types import Noise, mix

BATCH = 100  # images drawn at once
PATCHES = 4  # of each held-out image, where that is fewer than scores take images
NOISE = 4  # the stream of random numbers of these images, apart from those of training and of reports


def require(config: Config, split: Split) -> None:
    """Raise `UserError` where scores are wanted and cannot be had: no truth, no images, or fewer than features have dimensions."""
    model, share, train = MODELS[type(config.model)], config.data.validation, split.train
    if share and model.draws:
        raise UserError("`data.validation` sets images aside by which the weights of classifiers are chosen: leave it out")
    if config.log.evaluate is None:
        if share:
            raise UserError("`data.validation` sets images aside by which weights are chosen: say how often with `log.evaluate=N`")
        if config.log.patience is not None:
            raise UserError("`log.patience` counts scores: say how often to take one with `log.evaluate=N`")
        return
    if share and config.data.fit == "tile":
        raise UserError("tiles of one picture would be trained on and set aside: leave out `data.validation`, or `data.fit=tile`")
    if share and not aside(config.data, len(train)):
        raise UserError(f"`data.validation={share:g}` sets none of {some(len(train), 'image')} aside: give a larger share, or more images")
    augmentation = augmentation_of(config.data)
    if model.from_source:
        if not augmentation.paired:
            raise UserError("without pairs there is no truth that results could be scored by: leave out `log.evaluate` and `log.patience`")
        if not len(split.holdout):
            raise UserError("`log.evaluate` scores held-out images, and none are held out: give `data.holdout=0.1`")
        return
    if not model.draws:
        if not share:
            raise UserError("`log.evaluate` chooses weights by training images that are set aside: give `data.validation=0.1`")
        return
    if train.spec.points is not None:
        raise UserError("`log.evaluate` scores images by their features, which points have none of: leave it out")
    check_count(min(config.log.evaluate_images, len(train)), for_selection(train.spec).dimension)


class ModelSelector:
    """Judges the averaged weights by a few images and keeps the best in ``best/``.

    Models that draw are judged by the Frechet distance, lower being better: the images come from noise and are compared in a feature
    space that no report uses, for what selects must not judge. Models that make images from images are judged by the PSNR of held-out
    patches, always the same; classifiers by the log loss of training images that were set aside. What it remembers is in the run's
    progress, so that going back and resuming need nothing more.
    """

    def __init__(self, run: Run, trainer: Trainer) -> None:
        self.run, self.trainer = run, trainer
        if trainer.average.from_source or not trainer.average.draws:
            return
        train = trainer.loader.images
        assert isinstance(train, Images)  # moments are of a whole set, which memory holds
        self.space = for_selection(train.spec, trainer.device)
        self.real = Moments.of(cached(self.space, train).features)

    @torch.no_grad()
    def look(self) -> dict[str, Any]:
        """Score the weights as they are now; returns the event to log."""
        trainer = self.trainer
        config, at, model = trainer.config, trainer.progress, trainer.best.eval()
        value, more = self._psnr() if model.from_source else self._distance() if model.draws else self._log_loss()
        if not model.draws:
            assert trainer.validation is not None
            facts: dict[str, Any] = {LOG_LOSS.name: value, ACCURACY.name: more, "n": len(trainer.validation)}
        elif model.from_source:
            facts = {PSNR.name: -value, "n": int(more)}
        else:
            facts = {FD.name: value, "bias": more, "n": config.log.evaluate_images, "features": self.space.label}
        at.since += 1
        if better := value < (math.inf if at.best is None else at.best):  # infinity is no score to remember
            at.best, at.since = value, 0
            known = calibrated(model, trainer.loader.images, trainer.held_out, config.data, trainer.device)
            self.run.export(model, config, model.spec, at.step, self.run.best, known)
        at.early = config.log.patience is not None and at.since >= config.log.patience
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

    def _log_loss(self) -> tuple[float, float]:
        """The log loss of the images that were set aside, infinite where it is not finite; and the accuracy."""
        images = self.trainer.validation
        assert images is not None
        assert images.labels is not None
        mirrored = bool(self.trainer.config.data.flip) and self.trainer.best.mirror_pays
        logits = predictions(self.trainer.best, images.pixels, self.trainer.device, mirrored=mirrored).logits
        if not np.isfinite(logits).all():
            return math.inf, math.nan
        beliefs = Beliefs(images.labels, log_softmax(logits))
        return log_loss(beliefs).value, share_right(beliefs).value

    def _psnr(self) -> tuple[float, float]:
        """Minus the mean PSNR in dB of held-out patches, all channels, infinite for results that are not finite; and their number."""
        trainer, found = self.trainer, []
        assert trainer.holdout is not None
        batch = trainer.holdout.batch
        for start in range(0, max(batch, min(trainer.config.log.evaluate_images, PATCHES * len(trainer.holdout.images))), batch):
            given = trainer.holdout.batch_at(start)
            made = trainer.best.sample(Noise(batch, mix(trainer.config.train.seed, NOISE), start, trainer.device), given.condition)
            error = (made.float().clamp(-1, 1) - given.image).square().mean((1, 2, 3)).clamp(min=1e-8)
            found.append(10 * torch.log10(4 / error))
        value = -float(torch.cat(found).mean())
        return value if math.isfinite(value) else math.inf, batch * len(found)


def told(event: Mapping[str, Any], best: float | None) -> str:
    """A score in words; ``best`` is the best one so far as the run's progress holds it, None before the first that is finite."""
    n, restores = event["n"], PSNR.name in event
    if best is None:
        return f"no score, since {n} {'results' if restores else 'images'} are not finite"
    if LOG_LOSS.name in event:
        said = f"log loss {event[LOG_LOSS.name]:.3f}, accuracy {100 * event[ACCURACY.name]:.1f}% on {n} training images set aside"
        return f"{said}; " + ("the best so far" if event["best"] else f"the best is {best:.3f}")
    said = f"PSNR {event[PSNR.name]:.2f} dB on {n} held-out patches" if restores else f"FD {event[FD.name]:.3g} on {n} images"
    said += "" if restores else f", of which {event['bias']:.2g} is bias"
    return f"{said}; " + ("the best so far" if event["best"] else f"the best is {abs(best):.4g}" if restores else f"the best is {best:.3g}")
