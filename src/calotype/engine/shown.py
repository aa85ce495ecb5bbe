"""What a run shows of its model while it trains: the same noise drawn again at each checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calotype import pictures, scatter
from calotype.capabilities import DrawsPairs
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer
from calotype.modes import PointModes
from calotype.types import Noise

PANELS = 6  # of points over time, from the first to the last
POINTS = 2_500  # drawn for each of them


def save(run: Run, trainer: Trainer) -> None:
    """The grid of this step into the run's folder; of points a plot, and how they came to lie there."""
    at, best = trainer.progress, trainer.best
    points = best.spec.points
    if not (best.draws and (at.step or points) and trainer.config.log.grid):
        return
    run.samples.mkdir(exist_ok=True)
    drawn = grid(trainer) if points is None else _points(trainer, points)
    pictures.save(drawn, run.samples / f"step-{at.step:09d}.png", run.marker(trainer.config, best, trainer.device))
    if points is not None:
        _over_time(run, trainer)


@torch.no_grad()
def grid(trainer: Trainer) -> Image.Image:
    """The same noise drawn again, pairs side by side; of a model that starts from images, the first held-out ones: source, result and
    known truth in a row."""
    count, best = trainer.config.log.grid, trainer.best
    noise = Noise(count, seed=trainer.config.train.seed, device=trainer.device)
    if isinstance(best, DrawsPairs):
        drawn, others = best.sample_pairs(noise)
        return _rows([drawn, pictures.like(others, drawn)])
    if not best.from_source:
        return pictures.grid(pictures.to_uint8(best.sample(noise)))
    loader = trainer.holdout or trainer.loader
    batch = loader.batch_at(0)
    count = max(1, min(count // 3, len(batch.image)))
    condition = batch.condition[:count]
    made = best.sample(Noise(count, seed=trainer.config.train.seed, device=trainer.device), condition)
    assert condition.source is not None
    assert best.spec.source is not None
    source = condition.source[:, : best.spec.source.channels]  # behind it stand maps of what is known
    return _rows([pictures.like(source, made), made, *([batch.image[:count]] if loader.augmentation.paired else [])])


@torch.no_grad()
def _points(trainer: Trainer, modes: PointModes) -> Image.Image:
    """Points of the same noise drawn again."""
    drawn = trainer.best.sample(Noise(POINTS, seed=trainer.config.train.seed, device=trainer.device))
    return scatter.scatter(scatter.in_units(drawn, modes), modes)


def _over_time(run: Run, trainer: Trainer) -> None:
    """Some of the scatter plots so far side by side: how the modes were filled, or lost again."""
    there = [(step, path) for step, path in run.grids() if step <= trainer.progress.step]
    chosen = sorted({round(place) for place in np.linspace(0, len(there) - 1, PANELS)})
    shown = []
    for step, path in (there[place] for place in chosen):
        with suppress(OSError), Image.open(path) as picture:  # one that is damaged ends no training
            shown.append((f"step {step:,}", picture.convert("RGB")))
    pictures.save(scatter.panels(shown), run.over_time, run.marker(trainer.config, trainer.best, trainer.device))


def _rows(shown: Sequence[Tensor]) -> Image.Image:
    """Pictures (N, C, H, W) of several kinds, those of the same number side by side."""
    return pictures.grid(pictures.to_uint8(torch.stack(list(shown), 1).flatten(0, 1)), columns=len(shown) * max(1, 12 // len(shown) // 2))
