"""Which optimizer, which guidance, which average? The default recipe on the embedded digits, judged as strictly as other digits are read.

    python benchmarks/guided_digits.py --judge FOLDER --keep RUNS              # FOLDER holds the 10,000 MNIST test digits as IDX files
    python benchmarks/guided_digits.py --judge FOLDER --keep RUNS --costs      # what a step costs

All trainings take the same processor time: those of an arm have the fewer steps, the more one costs (`COSTS`, measured by `--costs`, which
takes steps of all arms in turn). Of one training are kept its averages of several lengths, half-lives as shares of the images seen so far
(power functions of time, see `calotype.engine.optim.ema_decay`), and as guides copies of the shortest one at shares of the budget. All
drawings of a training start from the same noise. The columns are those of default_recipe.py, by a judge that saw half of its batches
unturned, which makes it stricter with what is drawn; "fine" is coverage and variance among the maps before its last pooling.

    none            no guidance
    classifier-free towards the class, as the recipe had it (Ho & Salimans 2022; Kynkäänniemi et al. 2024)
    autoguidance    away from an earlier copy of the same training (Karras et al. 2024)
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from default_recipe import COUNT, Judge, Reference, reference, scores, train_judge, with_budget
from torch import Tensor

import calotype
from calotype.config import Config, Optimizer
from calotype.data import Split
from calotype.engine import device
from calotype.engine.distributed import World
from calotype.engine.optim import EMA_EVERY, ema_decay, update_average
from calotype.engine.trainer import Trainer, TrainState
from calotype.models.diffusion import Diffusion, DiffusionConfig
from calotype.networks.unet import Join
from calotype.types import Noise

T = TypeVar("T")
LENGTHS = (0.02, 0.1, 0.4)  # half-lives of the averages
GUIDES = (1 / 16, 1 / 8)  # shares of the budget after which a guide is kept
ADAMW = Optimizer("adamw", lr=2e-3, betas=(0.9, 0.99))
MUON = dataclasses.replace(ADAMW, name="muon")
BEFORE = "AdamW, concatenated"  # the recipe as it was
ARMS: dict[str, tuple[Optimizer, Join]] = {"Muon": (MUON, "add"), "AdamW": (ADAMW, "add"), BEFORE: (ADAMW, "concat")}
COSTS = {BEFORE: 1.0, "AdamW": 0.912, "Muon": 1.01}  # of a step, by --costs
Guidance = tuple[float, float, tuple[float, float]]  # the share of the budget of the guide, the scale, and where
GUIDANCES: dict[str, Guidance] = {
    "none": (0.0, 1.0, (0.0, 1.0)),
    "classifier-free": (0.0, 2.0, (0.3, 1.0)),
    "autoguidance": (1 / 8, 2.5, (0.0, 0.4)),
}


def of(config: Config) -> DiffusionConfig:
    assert isinstance(config.model, DiffusionConfig)
    return config.model


def config_of(arm: str, seed: int, steps: int) -> Config:
    config = calotype.recipes.named("flow-matching")
    optimizer, join = ARMS[arm]
    model = dataclasses.replace(of(config), join=join, guide=0.0)
    return with_budget(dataclasses.replace(config, optimizer=optimizer, model=model), seed=seed, steps=steps)


def trainer_of(config: Config, split: Split) -> Trainer:
    return Trainer(config, split, TrainState(steps=config.train.steps or 1), torch.device("cpu"), World())


def costs(split: Split, rounds: int = 20) -> Iterator[tuple[str, float]]:
    """The processor time of a step of every arm, relative to the recipe as it was: medians of steps taken in turn."""
    trainers = {arm: trainer_of(config_of(arm, 0, 1_000), split) for arm in ARMS}
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(rounds):
        for arm, trainer in trainers.items():
            trainer.step()  # what it needs is in the caches again
            began = time.process_time()
            for _ in range(8):
                trainer.step()
            times[arm].append(time.process_time() - began)
    medians = {arm: statistics.median(found) for arm, found in times.items()}
    for arm, median in medians.items():
        yield arm, median / medians[BEFORE]


def train(config: Config, split: Split, guides: Sequence[float] = GUIDES) -> dict[str, dict[str, Tensor]]:
    """The weights of every average and guide (by their shares of the budget) of one training, by name."""
    trainer = trainer_of(config, split)
    steps, batch = trainer.progress.steps, config.train.batch
    averages = {length: copy.deepcopy(trainer.model).eval() for length in LENGTHS}
    kept: dict[str, dict[str, Tensor]] = {}
    for step in range(1, steps + 1):
        trainer.step()
        if step % EMA_EVERY == 0 or step == steps:
            fresh = (step - (step - 1) // EMA_EVERY * EMA_EVERY) * batch
            for length, average in averages.items():
                update_average(average, trainer.model, ema_decay(length, 10**12, step * batch, fresh))
        for share in guides:
            if step == max(EMA_EVERY, round(share * steps / EMA_EVERY) * EMA_EVERY):
                kept[f"guide {share}"] = copy.deepcopy(averages[LENGTHS[0]].state_dict())
    return kept | {f"average {length}": average.state_dict() for length, average in averages.items()}


def draw(config: Config, split: Split, weights: dict[str, dict[str, Tensor]], guidance: Guidance, length: float) -> Tensor:
    """Images (COUNT, 1, 28, 28), in the 256 levels of a file."""
    share, scale, interval = guidance
    settings = dataclasses.replace(of(config), guide=share, guidance=scale, guidance_interval=interval)
    model = Diffusion(settings, split.train.spec).eval()
    state = weights[f"average {length}"]
    if share:
        state = state | {name.replace("network.", "guide.", 1): tensor for name, tensor in weights[f"guide {share}"].items()}
    model.load_state_dict(state)
    images = torch.cat([model.sample(Noise(100, seed=1, start=start)) for start in range(0, COUNT, 100)])
    return ((images + 1) * 127.5).round() / 127.5 - 1


class Fine(Judge):
    """The same judge, whose features are the maps before its last pooling."""

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (N, 10) and features (N, 9408)."""
        read, _ = super().read(images)
        return read, torch.cat([self.features[:-5](part).flatten(1) for part in torch.split(images, 500)])


def judged(judge: Judge, drawing: Callable[[], Tensor], against: Reference) -> dict[str, float]:
    samples = drawing()
    fine = Fine().eval()
    fine.load_state_dict(judge.state_dict())
    found = scores(fine, samples, against)
    return scores(judge, samples, against) | {"fine coverage": found["coverage"], "fine variance": found["variance"]}


def drawings(arm: str) -> list[tuple[str, float]]:
    """The guidances and averages to draw by: of the recipe as it was those that were the default."""
    return [("classifier-free", 0.1)] if arm == BEFORE else [(guidance, length) for guidance in GUIDANCES for length in LENGTHS]


def kept(path: Path, make: Callable[..., T], *arguments: Any) -> T:
    """What a file holds, or else what is made now and stored there."""
    if not path.exists():
        torch.save(make(*arguments), path)
    found: T = torch.load(path, weights_only=False)
    return found


COLUMNS = ("> .9", "coverage", "variance", "fine coverage", "fine variance", "copies")


def row(name: str, found: list[dict[str, float]]) -> str:
    """Means over seeds and, of several, standard deviations."""
    cells = []
    for column in COLUMNS:
        values = [each[column] for each in found]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}".replace("0.", "."))
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", required=True, metavar="SOURCE", help="labeled digits that no recipe trains on")
    parser.add_argument("--steps", type=int, default=2_150, help="of AdamW on the network with concatenation")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each arm")
    parser.add_argument("--keep", type=Path, required=True, help="a folder for judge, trainings and scores: what is there is not repeated")
    parser.add_argument("--costs", action="store_true", help="only measure what steps cost")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device.keep_big_blocks()
    split = calotype.data.load("mnist5k")
    if options.costs:
        for arm, cost in costs(split):
            print(f"{arm}: {cost:.3f}", flush=True)
        return
    options.keep.mkdir(parents=True, exist_ok=True)
    judge: Judge = kept(options.keep / "judge.pt", train_judge, options.judge, 12, 0.5)
    against, others = reference(split.train, split.holdout)
    print("| optimizer | steps | guidance | average | " + " | ".join(COLUMNS) + " |\n" + "|---" * (4 + len(COLUMNS)) + "|")
    print(row("real digits | | |", [judged(judge, lambda: others, against)]), flush=True)
    for arm in ARMS:
        steps = round(options.steps / COSTS[arm])
        found: dict[tuple[str, float], list[dict[str, float]]] = {drawing: [] for drawing in drawings(arm)}
        for seed in range(options.seeds):
            name, config = f"{arm}-{steps}-{seed}", config_of(arm, seed, steps)
            weights = kept(options.keep / f"{name}.pt", train, config, split)
            for (guidance, length), rows in found.items():
                drawing = partial(draw, config, split, weights, GUIDANCES[guidance], length)
                rows.append(kept(options.keep / f"{name}-{guidance}-{length}.pt", judged, judge, drawing, against))
        for (guidance, length), rows in found.items():
            print(row(f"{arm} | {steps:,} | {guidance} | {length}", rows), flush=True)


if __name__ == "__main__":
    main()
