"""From a model of points to what a report says of it: draw, and count in which of the known modes the points lie."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from calotype import scatter
from calotype.data.images import HOLDOUT_CAP, some
from calotype.data.toy import TRAIN, draw_points
from calotype.diagnose.checks import answers
from calotype.diagnose.known_modes import CountedModes
from calotype.diagnose.training import OSCILLATION, History
from calotype.diagnose.verdict import not_applicable
from calotype.engine.display import progress
from calotype.errors import UserError
from calotype.evaluation import result
from calotype.evaluation.cost import training
from calotype.evaluation.request import Request
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.scores import in_table_order, scored
from calotype.evaluation.target import EvaluationResult, Subject, run_of
from calotype.metrics.known_modes import NEAR, of_points
from calotype.metrics.manifold import wilson
from calotype.modes import PointModes
from calotype.tasks.sample import Generator
from calotype.types import mix

COUNT = 2_500  # points judged, as published
FEWEST = 100  # of fewer not even the real ones hit every mode
BATCH = 500  # drawn at once
REAL = 17  # the stream of random numbers of the real points beside them
PLACES = "their places"
"""Where scores of points are computed."""


@dataclass(frozen=True)
class PointsTarget:
    """A generator of points, whose modes are known: nothing but its model is needed."""

    path: Path
    generator: Generator
    modes: PointModes
    known: RunInfo

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return self.known.subject(self.path, self.generator)

    def measure(self, request: Request) -> EvaluationResult:
        """Draw points and as many real ones, and count both."""
        modes, count = self.modes, COUNT if request.count is None else request.count
        made, seconds = self._drawn(count, request)
        real = draw_points(modes, count, mix(request.seed, REAL) & 0xFFFFFFFF)
        found = CountedModes(of_points(made, modes), of_points(real, modes), _names(modes))
        report = result.Report(
            self.path.name,
            scores=tuple(in_table_order(scored([found.made], [found.real], PLACES, count, count))),
            data=result.ReferenceData(modes.name, TRAIN, HOLDOUT_CAP, hashlib.sha256(repr(modes).encode()).hexdigest()),
            protocol={
                "modes": f"{modes.count} Gaussians of {modes.name}, {modes.std:g} wide, of which a point belongs to the nearest within "
                f"{NEAR:g} standard deviations",
                "real-vs-real baseline": f"{count:,} points drawn from them",
            },
            pictures=result.ReportImages(points=self._pictures(made, real)),
            classes=_classes(found),
            cost=self._cost(seconds),
        )
        moved = not_applicable(OSCILLATION.name, "Points over time are for the eye: their picture stands in the report of a run.")
        history = [moved if one.name == moved.name else one for one in answers(History(self.known.records))]
        return EvaluationResult(report, [*answers(found), *history])

    def _drawn(self, count: int, request: Request) -> tuple[NDArray[np.float32], float]:
        """Places (count, 2) in units of the testbed, and the seconds of a thousand."""
        began, said, parts = time.perf_counter(), progress(request.say, "drawing points"), []
        for part in self.generator.batches(count, {}, seed=request.seed, batch_size=BATCH):
            parts.append(scatter.in_units(part, self.modes))
            if said is not None:
                said(sum(map(len, parts)), count)
        return np.concatenate(parts), 1000 * (time.perf_counter() - began) / count

    def _pictures(self, made: NDArray[np.float32], real: NDArray[np.float64]) -> result.PointPictures:
        run = run_of(self.path)
        over_time = run.over_time if run is not None and run.over_time.is_file() else None
        with_time = None if over_time is None else np.asarray(Image.open(over_time).convert("RGB"))
        generated, beside = (np.asarray(scatter.scatter(places, self.modes)) for places in (made, real))
        return result.PointPictures(generated, beside, with_time)

    def _cost(self, seconds: float) -> result.Cost:
        size = sum(p.numel() for p in self.generator.model.parameters())
        facts = training(self.known.records, self.known.steps)
        return result.Cost(
            size, None, None, seconds, torch.get_num_threads(), self.generator.device.type, train_threads=self.known.threads, **facts
        )


def open_target(path: Path, generator: Generator, modes: PointModes, request: Request) -> PointsTarget:
    """A model of points, before anything is drawn. Raises `UserError` for what only images can be judged with."""
    for name in ("data", "holdout", "features", "size", "fit"):
        if getattr(request, name) is not None:
            raise UserError(f"{path} makes points of {modes.name}, whose modes are known: leave out `{name}`")
    if request.count is not None and request.count < FEWEST:
        raise UserError(f"a judgement needs hundreds of points, not {request.count}: give a `count` of {FEWEST} or more")
    return PointsTarget(path, generator, modes, RunInfo.of(path))


def _names(modes: PointModes) -> tuple[str, ...]:
    """The modes by their places."""
    return tuple(f"({x:.2g}, {y:.2g})" for x, y in modes.centers)


def _classes(found: CountedModes) -> result.ClassCounts:
    """How often each mode comes out."""
    made, real = found.made, found.real
    placed = int(made.counts.sum())
    intervals = tuple(wilson(int(count), max(1, placed)) for count in made.counts)
    judge = f"the shares are of those that are near a mode: {placed:,} of {some(made.n, 'point')}"
    return result.ClassCounts(tuple(found.names), tuple(made.counts.tolist()), tuple(real.counts.tolist()), intervals, judge)
