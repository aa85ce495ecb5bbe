"""Faces against other patches: the accuracy of ``transfer`` and ``resnet`` by cross-validation on the 200 patches that scikit-image ships.

    python benchmarks/faces.py                        # the linear probe of --from photos, then tuned for 40 steps, and resnet
    python benchmarks/faces.py --recipes probe

``skimage.data.lfw_subset``: 100 faces and 100 patches without any, gray, 25 pixels a side. Each fold holds a fifth of either kind out, is
written as a folder with train/ and test/ and a subfolder for each class, as a user would bring it, and goes through `calotype.train` and
`calotype.classify`. Every patch is judged once, by a classifier that never saw it. The interval (95%) is exact.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import lfw_subset

import calotype
from calotype.config import Config
from calotype.metrics.confidence import exact_interval
from calotype.recipes import named

FOLDS = 5
CLASSES = ("face", "other")


def config_of(way: str, data: Path, seed: int) -> Config:
    """What is trained on the folder of one fold."""
    recipe, steps = {"probe": ("transfer", 1), "transfer": ("transfer", 40), "resnet": ("resnet", 200)}[way]
    config = named(recipe)
    if way == "probe":
        config = replace(config, model=replace(config.model, tune=0))  # type: ignore[arg-type]
    train = replace(config.train, minutes=None, steps=steps, seed=seed, threads=1, batch=min(32, config.train.batch))
    return replace(config, data=replace(config.data, source=str(data), channels=1), train=train)


def write(folder: Path, patches: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> None:
    """The patches as files, those that are ``asked`` about under test/."""
    for row, (patch, label) in enumerate(zip(patches, labels, strict=True)):
        place = folder / ("test" if asked[row] else "train") / CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch).save(place / f"{row:03d}.png")


def judged(way: str, patches: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Whether each patch was named rightly by a classifier that learned from the other folds, (N,) bool."""
    order = np.random.default_rng(seed).permutation(len(labels))
    fold_of = np.empty(len(labels), np.int64)
    for label in range(len(CLASSES)):
        own = order[labels[order] == label]
        fold_of[own] = np.arange(len(own)) % FOLDS
    right = np.zeros(len(labels), bool)
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as place:
            data, run = Path(place) / "patches", Path(place) / "run"
            write(data, patches, labels, fold_of == fold)
            calotype.train(config_of(way, data, seed), out=run, display=calotype.Display())
            for one in calotype.classify(run, data / "test", display=calotype.Display()):
                row = int(Path(one.file).stem)
                right[row] = one.classes[0][0] == CLASSES[labels[row]]
    return right


def main() -> None:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["probe", "transfer", "resnet"], choices=["probe", "transfer", "resnet"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    patches = (np.asarray(lfw_subset()) * 255).round().astype(np.uint8)  # type: ignore[no-untyped-call]
    labels = np.repeat([0, 1], 100)
    for way in options.recipes:
        right = judged(way, patches, labels, options.seed)
        low, high = exact_interval(int(right.sum()), len(right))
        wrong = [f"{(~right[labels == k]).sum()} of 100 {name}" for k, name in enumerate(CLASSES)]
        share = f"{100 * right.mean():.1f}% of {len(right)} ({100 * low:.1f}% to {100 * high:.1f}%)"
        print(f"{way:9} {share}; wrong: {', '.join(wrong)}", flush=True)


if __name__ == "__main__":
    main()
