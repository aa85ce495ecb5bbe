"""Which recipe draws the best digits after a minute? Train several, judge their samples by a recognizer that none of them knows.

    python benchmarks/default_recipe.py --judge FOLDER                  # FOLDER holds the 10,000 MNIST test digits as IDX files
    python benchmarks/default_recipe.py --judge FOLDER --candidates hinge rpgan --minutes 1.25
    python benchmarks/default_recipe.py --judge FOLDER --candidates flow-matching --steps 2000 --seeds 3
    python benchmarks/default_recipe.py --judge FOLDER --candidates "hinge model.generator.condition=input"

The judge is a small convolutional network that the script trains on the images of FOLDER, which no recipe sees (keep it so: the
embedded digits come from the other part of MNIST). A thousand samples of each run are compared with a thousand embedded digits:

    > .9       share of samples that the judge reads with a confidence above .9
    coverage   share of real digits with a sample nearer than their fifth real neighbor, in the judge's features (Naeem et al. 2020)
    density    how many such balls a sample lies in, relative to a real digit
    variance   within classes, relative to real digits, in the judge's features
    least      share of the rarest class
    copies     median distance of a sample to the nearest training image, relative to that of a held-out image: near 0 for copies

The first row judges other real digits: no recipe can be expected to do better. Confidence alone rewards collapse; read it with
coverage beside it. With --minutes the number of steps depends on what else the machine does. --cpu-seconds does not: it takes as
many steps as need so many seconds of processor time, and --steps repeats a run exactly.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import calotype
from calotype.config import Config, from_json, to_json
from calotype.data import Images
from calotype.models import MODELS

CLASSES = 10
CANDIDATES: dict[str, Callable[[], Config]] = {
    **{name: recipe for name, recipe in calotype.recipes.RECIPES.items() if MODELS[type(recipe().model)].draws},
    "hinge, no labels": lambda: of_model("hinge", conditional=False),
    "rpgan by class": lambda: of_model("rpgan", conditional=True),
    "rpgan, no labels": lambda: of_model("rpgan", conditional=False),
    "flow, no labels": lambda: of_model("flow-matching", conditional=False),
    "flow, no guidance": lambda: of_model("flow-matching", guidance=1.0),
    "flow, velocity": lambda: of_model("flow-matching", predict="velocity"),
}
COUNT = 1_000  # samples of a run, and real digits to compare with
NEIGHBORS = 5
CONFIDENT = 0.9
FEW, TELLING = 20, 1.0  # steps that every timing takes, and seconds of processor time that others must cost to say how long one takes


class Judge(nn.Module):
    """A recognizer of 28x28 digits; its last hidden layer is the space in which samples are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU()),
            *(nn.Conv2d(48, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 49, 128), nn.ReLU()),
        )
        self.head = nn.Linear(128, CLASSES)

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (N, 10) and features (N, 128) of images (N, 1, 28, 28) in [-1, 1]."""
        features = torch.cat([self.features(part) for part in torch.split(images, 500)])
        return self.head(features).softmax(1), features


def tensor(images: Images) -> Tensor:
    return torch.from_numpy(np.asarray(images.pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def label_of(images: Images) -> NDArray[np.int64]:
    if images.labels is None or len(images.classes) != CLASSES:
        raise SystemExit("the judge needs labeled digits of ten classes")
    return np.asarray(images.labels)


def train_judge(source: str, epochs: int, turned: float = 1.0) -> Judge:
    """A recognizer trained on all but a tenth of the source, with shifts and rotations; prints its accuracy on that tenth.

    A judge that sees a share of its batches ``turned`` only is stricter: it forgives less of what no pen writes.
    """
    split = calotype.data.load(source, size=28, channels=1)
    images, labels = tensor(split.train), torch.from_numpy(label_of(split.train))
    torch.manual_seed(0)
    judge = Judge()
    steps = epochs * len(images) // 100
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.15)
    for _ in range(steps):
        chosen = torch.randint(len(images), (100,))
        seen = images[chosen]
        if turned == 1 or torch.rand(()) < turned:
            seen = jittered(seen)
        loss = F.cross_entropy(judge.head(judge.features(seen)), labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    judge.eval()
    read, _ = judge.read(tensor(split.holdout))
    accuracy = float((read.argmax(1) == torch.from_numpy(label_of(split.holdout))).float().mean())
    print(f"judge: {len(images):,} digits of {source}, accuracy {accuracy:.3f} on {len(read):,} others\n", flush=True)
    return judge


def jittered(images: Tensor) -> Tensor:
    """Each image turned by up to 14 degrees, scaled by up to 15% and shifted by up to 2 pixels."""
    angle, scale, x, y = (torch.empty(len(images)).uniform_(-a, a) for a in (0.25, 0.15, 0.15, 0.15))
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    matrix = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


@dataclasses.dataclass(frozen=True)
class Reference:
    """What samples are compared with."""

    real: Tensor  # (COUNT, 1, 28, 28)
    train: Tensor
    holdout: Tensor


def reference(train: Images, holdout: Images) -> tuple[Reference, Tensor]:
    """The embedded digits, with as many others of them to judge first."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    digits = tensor(train)
    return Reference(digits[order[:COUNT]], digits, tensor(holdout)), digits[order[COUNT : 2 * COUNT]]


def spread(features: Tensor, labels: Tensor) -> float:
    """The variance within classes, summed over features and averaged over classes."""
    of_class = [features[labels == c] for c in range(CLASSES)]
    return float(torch.stack([f.var(0).sum() for f in of_class if len(f) > 1]).mean())


def scores(judge: Judge, samples: Tensor, against: Reference) -> dict[str, float]:
    real_read, real = judge.read(against.real)
    read, drawn = judge.read(samples)
    radius = torch.cdist(real, real).kthvalue(NEIGHBORS + 1, dim=1).values  # the nearest is the digit itself
    inside = torch.cdist(real, drawn) < radius[:, None]
    nearest = torch.cdist(samples.flatten(1), against.train.flatten(1)).amin(1).median()
    usual = torch.cdist(against.holdout.flatten(1), against.train.flatten(1)).amin(1).median()
    return {
        "> .9": float((read.amax(1) > CONFIDENT).float().mean()),
        "coverage": float(inside.any(1).float().mean()),
        "density": float(inside.float().sum(0).mean() / NEIGHBORS),
        "variance": spread(drawn, read.argmax(1)) / spread(real, real_read.argmax(1)),
        "least": float(torch.bincount(read.argmax(1), minlength=CLASSES).min() / len(samples)),
        "copies": float(nearest / usual),
    }


def of_model(recipe: str, **changes: object) -> Config:
    """A recipe with other settings of its model."""
    config = calotype.recipes.named(recipe)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))  # type: ignore[arg-type]


def with_budget(config: Config, *, seed: int = 0, minutes: float | None = None, steps: int | None = None) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed, minutes=minutes, steps=steps, epochs=None))


def candidate(words: str) -> Config:
    """One of `CANDIDATES`, or a recipe with settings behind it, each a path, an equals sign and a JSON value or a bare word."""
    if words in CANDIDATES:
        return CANDIDATES[words]()
    recipe, *settings = words.split()
    whole = json.loads(to_json(calotype.recipes.named(recipe)))
    for setting in settings:
        path, value = setting.split("=", 1)
        *rooms, last = path.split(".")
        place = whole
        for room in rooms:
            place = place[room]
        try:
            place[last] = json.loads(value)
        except ValueError:
            place[last] = value
    return from_json(Config, json.dumps(whole))


def steps_in(seconds: float, config: Config) -> int:
    """How many steps take so many seconds of processor time: by what a hundred or more of them cost beyond the first twenty."""
    config = dataclasses.replace(config, log=dataclasses.replace(config.log, grid=1))

    def cost(steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            calotype.train(with_budget(config, steps=steps), out=Path(folder) / "run")
            return time.process_time() - began

    cost(FEW)  # what only the first training of a process costs is nobody's
    few, more = cost(FEW), 100
    while (spent := cost(FEW + more) - few) < TELLING:
        more *= 4
    return max(1, round(more * seconds / spent))


def configurations(options: argparse.Namespace) -> Iterator[tuple[str, Config]]:
    for name in options.candidates:
        config = candidate(name)
        steps = steps_in(options.cpu_seconds, config) if options.cpu_seconds else options.steps
        for seed in range(options.seeds):
            yield f"{name}, seed {seed}", with_budget(config, seed=seed, minutes=None if steps else options.minutes, steps=steps)


def line(name: str, cells: dict[str, float]) -> str:
    whole = ("steps", "train s", "draw s")
    return f"| {name:24} | " + " | ".join(f"{value:8.0f}" if key in whole else f"{value:8.3f}" for key, value in cells.items()) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", required=True, metavar="SOURCE", help="labeled digits that no recipe trains on")
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), help="recipes, with settings behind them if need be")
    parser.add_argument("--minutes", type=float, default=1.25, help="of training for each run")
    parser.add_argument("--steps", type=int, help="of training for each run, instead of minutes")
    parser.add_argument("--cpu-seconds", type=float, help="of processor time for each run, instead of minutes")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each recipe")
    parser.add_argument("--epochs", type=int, default=12, help="of the judge's training")
    parser.add_argument("--json", type=Path, help="append one object for each run to this file")
    options = parser.parse_args()
    judge = train_judge(options.judge, options.epochs)
    split = calotype.data.load("mnist5k")
    against, others = reference(split.train, split.holdout)
    real = {"steps": 0.0, "train s": 0.0, "draw s": 0.0} | scores(judge, others, against)
    print(f"| {'run':24} | " + " | ".join(f"{key:>8}" for key in real) + " |")
    print("|" + "---|" * (len(real) + 1))
    print(line("real digits", real), flush=True)
    for name, config in configurations(options):
        with tempfile.TemporaryDirectory() as folder:
            result = calotype.train(config, out=Path(folder) / "run")
            began = time.perf_counter()
            samples = calotype.load(result.run.folder).sample(COUNT, seed=1)
            seconds = time.perf_counter() - began
        cells = {"steps": float(result.steps), "train s": result.seconds, "draw s": seconds} | scores(judge, samples, against)
        print(line(name, cells), flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps({"run": name, **cells}) + "\n")


if __name__ == "__main__":
    main()
