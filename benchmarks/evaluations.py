"""How few evaluations of its network does a diffusion or flow-matching model need? Quality against cost for every solver.

    python benchmarks/evaluations.py RUN
    python benchmarks/evaluations.py RUN --solvers heun dpm++ --evaluations 10 20 100 --count 2000

Each row draws the same noises with one solver and as many steps as give the number of evaluations (the next fewer where a solver
takes two a step). *FD* is the Frechet distance to the real images of the run's data, training and holdout together, in the features
that ``calotype evaluate`` takes, with a 95% interval; the real images are their own floor, which the last line says. *seconds* are
those of drawing. An evaluation with guidance counts once, although the network then sees each image twice.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

import calotype
from calotype import pictures
from calotype.config import Config
from calotype.data import load
from calotype.diffusion.samplers import SolverName
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.metrics.features import FeatureSpace, pick
from calotype.metrics.frechet import frechet_estimate
from calotype.metrics.score import Estimate
from calotype.models import Diffusion, DiffusionSampling
from calotype.types import Noise

BATCH = 100
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One solver with one number of steps."""

    solver: SolverName
    steps: int
    evaluations: int
    value: float  # Frechet distance
    interval: tuple[float, float] | None
    seconds: float


def steps_for(solver: SolverName, evaluations: int) -> int:
    """The most steps that take no more than so many evaluations: Heun's method takes two a step, but one in the last."""
    return (evaluations + 1) // 2 if solver == "heun" else evaluations


def drawn(model: Diffusion, solver: SolverName, steps: int, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, H, W, C) uint8; the noise depends on the seed alone."""
    starts, options = range(0, count, BATCH), DiffusionSampling(steps=steps, solver=solver)
    with torch.no_grad():
        images = [model.sample(Noise(min(BATCH, count - i), seed, i), options=options) for i in starts]
    return pictures.to_uint8(torch.cat(images))


def curve(
    model: Diffusion,
    distance: Callable[[NDArray[np.uint8]], Estimate],
    solvers: Sequence[SolverName],
    evaluations: Sequence[int],
    count: int,
    seed: int = 0,
) -> Iterator[Row]:
    """The distance of what each solver draws at each number of evaluations."""
    for solver in solvers:
        for asked in evaluations:
            steps = steps_for(solver, asked)
            start = time.perf_counter()
            images = drawn(model, solver, steps, count, seed)
            seconds = time.perf_counter() - start
            found = distance(images)
            yield Row(solver, steps, 2 * steps - 1 if solver == "heun" else steps, found.value, found.interval, seconds)


def real_features(space: FeatureSpace, config: Config) -> tuple[Floats, Floats]:
    """Features of all real images, in two random halves."""
    data = config.data
    split = load(data.source, size=data.size, channels=data.channels, fit=data.fit, holdout=data.holdout)
    pixels = split.train.pixels if split.holdout is None else np.concatenate([split.train.pixels, split.holdout.pixels])
    features = space.of(pixels).features
    order = np.random.default_rng(0).permutation(len(features))
    return features[order[::2]], features[order[1::2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--solvers", nargs="+", default=["euler", "heun", "dpm++", "ddpm"], choices=get_args(SolverName))
    parser.add_argument("--evaluations", nargs="+", type=int, default=[5, 10, 15, 20, 50, 100])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="append the rows to this file, a JSON object a line")
    given = parser.parse_args()
    model = calotype.load(given.run, device="cpu").model
    if not isinstance(model, Diffusion):
        raise UserError(f"{given.run} holds no diffusion or flow-matching model")
    (space, *_) = pick(None, model.spec)
    halves = real_features(space, Run.open(given.run).read_config()[0])
    real = np.concatenate(halves)
    print(f"FD[{space.label}] N = {given.count}/{len(real)}")
    print("| solver | steps | evaluations | FD | 95% | seconds |\n|---|---|---|---|---|---|")
    for row in curve(model, lambda p: frechet_estimate(space.of(p).features, real), given.solvers, given.evaluations, given.count):
        low, high = row.interval or (row.value, row.value)
        print(
            f"| {row.solver} | {row.steps} | {row.evaluations} | {row.value:.2f} | {low:.2f} to {high:.2f} | {row.seconds:.1f} |",
            flush=True,
        )
        if given.out:
            with given.out.open("a") as lines:
                lines.write(json.dumps({"run": str(given.run), "count": given.count, **asdict(row)}) + "\n")
    floor = frechet_estimate(halves[0][: given.count], halves[1])
    print(f"floor, {min(given.count, len(halves[0]))} real against {len(halves[1])} other real images: {floor.value:.2f}")


if __name__ == "__main__":
    main()
