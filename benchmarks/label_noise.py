"""Of labels that were swapped on purpose, how many the report of a linear probe names, and how many of those that it names were swapped.

    python benchmarks/label_noise.py CLOTHING.zip --share 0.05

A share of the training images gets the label of another class, by lot. What ``calotype train --from photos --model.tune 0 --steps 1`` sees
in them hangs on no label, and so the suspects of its report are those that are asked for here.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from calotype.data import load
from calotype.evaluation.recognition import SHOWN
from calotype.metrics.predictions import predictions
from calotype.metrics.recognition import suspects
from calotype.models.transfer import TransferClassifier, TransferConfig


def main() -> None:
    """Swap, ask, print."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--count", type=int, help="training images, by lot; all where none is given")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    split = load(options.source, size=160, holdout=0.2)
    train = split.train.take(np.random.default_rng(0).permutation(len(split.train))[: options.count])
    rng = np.random.default_rng(options.seed)
    assert train.labels is not None
    swapped = np.zeros(len(train), bool)
    swapped[rng.permutation(len(train))[: round(options.share * len(train))]] = True
    moved = rng.integers(1, len(train.classes), len(train))
    labels = np.where(swapped, (train.labels + moved) % len(train.classes), train.labels)
    model = TransferClassifier(TransferConfig(tune=0), train.spec)
    model.network.load_published()
    found = suspects(predictions(model, train.pixels, "cpu").features, labels, len(train.classes), options.seed)
    wrong = swapped[found.place]
    print(
        f"{swapped.sum()} of {len(train)} labels were swapped; {len(wrong)} are named, of them {wrong.sum()} swapped "
        f"({wrong.sum() / max(1, len(wrong)):.0%}; of the {min(SHOWN, len(wrong))} that are shown {wrong[:SHOWN].sum()}); "
        f"{wrong.sum() / swapped.sum():.0%} of the swapped ones are named"
    )


if __name__ == "__main__":
    main()
