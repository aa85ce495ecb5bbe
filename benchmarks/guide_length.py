"""How long should the guide of autoguidance be trained? One training of the default recipe on the embedded digits, many guides.

    python benchmarks/guide_length.py --judge FOLDER --keep RUNS --steps 16831 --guides 266 400 608 904 1304

A guide is a copy of the same training after so many of its steps (Karras et al. 2024). It guides by what it does worse than the whole
training: one that is nearly as good leads nowhere, one that knows too little leads astray. Rows and columns are those of
guided_digits.py: the average of a half-life of a tenth, 1,000 samples from the same noise, judge and files the same.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from default_recipe import Judge, reference, train_judge
from guided_digits import COLUMNS, GUIDANCES, Guidance, config_of, draw, judged, kept, row, train

import calotype
from calotype.engine import device

AVERAGE = 0.1  # half-life of the averaged weights, as a share of the images seen so far
UNTIL = (0.0, 0.4)  # where a copy guides: early on the way it differs by the shapes that it confuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", required=True, metavar="SOURCE", help="labeled digits that no recipe trains on")
    parser.add_argument("--keep", type=Path, required=True, help="a folder for judge, trainings and scores: what is there is not repeated")
    parser.add_argument("--steps", type=int, required=True, help="of the training")
    parser.add_argument("--guides", type=int, nargs="+", required=True, help="steps after which a copy is kept")
    parser.add_argument("--scales", type=float, nargs="+", default=[2.0, 2.5], help="of the guidance")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device.keep_big_blocks()
    options.keep.mkdir(parents=True, exist_ok=True)
    split = calotype.data.load("mnist5k")
    judge: Judge = kept(options.keep / "judge.pt", train_judge, options.judge, 12, 0.5)
    against, _ = reference(split.train, split.holdout)
    config = config_of("Muon", options.seed, options.steps)
    name, shares = f"Muon-{options.steps}-{options.seed}", {steps: steps / options.steps for steps in options.guides}
    weights = kept(options.keep / f"{name}-guides.pt", train, config, split, tuple(shares.values()))
    ways: dict[str, Guidance] = {"none | ": GUIDANCES["none"], "no class | 2": GUIDANCES["classifier-free"]}
    ways |= {f"{steps} steps | {scale}": (share, scale, UNTIL) for steps, share in shares.items() for scale in options.scales}
    print("| guide | scale | " + " | ".join(COLUMNS) + " |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for title, guidance in ways.items():
        drawing = partial(draw, config, split, weights, guidance, AVERAGE)
        found = kept(options.keep / f"{name}-{title.replace(' | ', '-')}.pt", judged, judge, drawing, against)
        print(row(title, [found]), flush=True)


if __name__ == "__main__":
    main()
