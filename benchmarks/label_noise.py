"""Of labels that were swapped on purpose, how many the report of a classifier names, and how many of those that it names were swapped.

    python benchmarks/label_noise.py CLOTHING.zip --share 0.05

A share of the training images gets the label of another class, by lot; they are written as folders, ``calotype train --from photos``
learns from them, as a linear probe and with its last parts tuned, and the report (`calotype.evaluate`) names its suspects.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import calotype
from calotype.data import load
from calotype.evaluation.recognition import SHOWN
from calotype.metrics.predictions import predictions
from calotype.metrics.recognition import suspects
from calotype.recipes import named


def main() -> None:
    """Swap, train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=100, help="of the tuned network; 0 for the linear probe alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    split = load(options.source, size=160, holdout=0.2)
    train, rng = split.train, np.random.default_rng(options.seed)
    assert train.labels is not None
    swapped = np.zeros(len(train), bool)
    swapped[rng.permutation(len(train))[: round(options.share * len(train))]] = True
    moved = rng.integers(1, len(train.classes), len(train))
    labels = np.where(swapped, (train.labels + moved) % len(train.classes), train.labels)
    with tempfile.TemporaryDirectory() as place:
        for part, pixels, of in (("train", train.pixels, labels), ("test", split.holdout.pixels, split.holdout.labels)):
            assert of is not None
            for row, (image, label) in enumerate(zip(pixels, of.tolist(), strict=True)):
                folder = Path(place) / "data" / part / train.classes[label]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / f"{row:05d}.png")
        for way, tune, steps in (("linear probe", 0, 1), (f"tuned, {options.steps} steps", 3, options.steps)):
            if not steps:
                continue
            config = named("transfer")
            config = replace(
                config,
                model=replace(config.model, tune=tune),  # type: ignore[arg-type]
                data=replace(config.data, source=f"{place}/data"),
                train=replace(config.train, minutes=None, steps=steps, threads=1, seed=options.seed),
            )
            run = calotype.train(config, out=Path(place) / f"run-{tune}", display=calotype.Display()).run
            known = load(f"{place}/data", size=160)
            assert known.train.labels is not None
            features = predictions(calotype.load(run.folder).model, known.train.pixels, "cpu").features
            found = suspects(features, known.train.labels, len(known.train.classes), config.train.seed)
            wrong = np.array([bool(swapped[int(Path(known.train.name_of(int(row))).stem)]) for row in found.place], bool)
            print(
                f"{way}: {swapped.sum()} of {len(train)} labels were swapped; {len(wrong)} are named, of them {wrong.sum()} swapped "
                f"({wrong.sum() / max(1, len(wrong)):.0%}; of the {min(SHOWN, len(wrong))} that are shown {wrong[:SHOWN].sum()}); "
                f"{wrong.sum() / swapped.sum():.0%} of the swapped ones are named",
                flush=True,
            )


if __name__ == "__main__":
    main()
