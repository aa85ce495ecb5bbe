"""By how much does the batch size change an image? Layers sum in another order for other sizes, and floating-point sums depend on it.

    python benchmarks/batch_sizes.py RUN ... --count 1000

Each run draws the same images at every batch size, always from the same seed. A line says how many of the 8-bit values differ from
those of the first batch size, and by how many levels of 255 at most.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import calotype
from calotype import pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 1, 8, 100])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for run in options.runs:
        generator = calotype.load(run)
        drawn = [pictures.to_uint8(generator.sample(options.count, seed=options.seed, batch_size=size)) for size in options.batches]
        for size, images in zip(options.batches[1:], drawn[1:], strict=True):
            apart = np.abs(images.astype(int) - drawn[0].astype(int))
            values, images_apart = int((apart > 0).sum()), int((apart.reshape(len(apart), -1).max(1) > 0).sum())
            print(
                f"{run}: batches of {size} and {options.batches[0]}: {values:,} of {apart.size:,} values differ, in {images_apart:,} of "
                f"{len(apart):,} images, by {apart.max()} of 255 at most"
            )


if __name__ == "__main__":
    main()
