"""From how many images on a network that learns from nothing names classes better than a linear judge of what photographs taught.

    python benchmarks/recognition_table.py --data CLOTHING.zip:64 CIFAR.zip mnist5k

Of each source a part is held out and judges all; from the others --sizes images are taken, every class alike. ``resnet`` trains for --steps
of 64 images (fewer where there are not four such batches) at the size behind the colon, else their own; ``photos`` is the linear probe that
``calotype train --from photos --model.tune 0 --steps 1`` learns, at 160 pixels. Intervals of 95% are exact.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import calotype
from calotype.data import Images, load
from calotype.data.images import holdout_order
from calotype.losses.logistic import logistic
from calotype.metrics.confidence import exact_interval
from calotype.metrics.predictions import predictions
from calotype.models.transfer import TransferClassifier, TransferConfig
from calotype.recipes import named

ASKED = 500  # held-out images at most
PHOTOGRAPHS = 160  # pixels a side that the network of photographs sees


def part(images: Images, count: int) -> Images:
    """So many of them, every class alike."""
    return images.take(holdout_order(len(images), images.labels)[:count])


def enlarged(images: Images) -> Images:
    """In the size in which a network of photographs sees them, in color."""
    side = PHOTOGRAPHS
    whole = [Image.fromarray(p[:, :, 0] if p.shape[2] == 1 else p).convert("RGB") for p in images.pixels]
    return replace(images, pixels=np.stack([np.asarray(one.resize((side, side), Image.Resampling.LANCZOS)) for one in whole]))


def write(folder: Path, images: Images) -> None:
    """Class folders."""
    assert images.labels is not None
    for row, (pixels, label) in enumerate(zip(images.pixels, images.labels.tolist(), strict=True)):
        place = folder / images.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(place / f"{row:05d}.png")


def by_resnet(train: Images, asked: Images, steps: int) -> NDArray[np.bool_]:
    """Whether a residual network that learned from nothing is right, (N,)."""
    with tempfile.TemporaryDirectory() as place:
        write(Path(place) / "data/train", train)
        write(Path(place) / "data/test", asked)
        config = named("resnet")
        batch = min(config.train.batch, len(train) // 4)
        config = replace(
            config,
            data=replace(config.data, source=f"{place}/data"),
            train=replace(config.train, minutes=None, steps=steps, threads=1, batch=batch),
        )
        run = calotype.train(config, out=f"{place}/run", display=calotype.Display()).run
        model = calotype.load(run.folder).model
        assert asked.labels is not None
        names = sorted(asked.classes)
        label = np.array([names.index(asked.classes[k]) for k in asked.labels.tolist()])
        found: NDArray[np.bool_] = predictions(model, asked.pixels, "cpu").logits.argmax(1) == label
        return found


def by_photographs(train: Images, asked: Images, counts: list[int]) -> list[NDArray[np.bool_]]:
    """Whether the linear probe is right that learned from the first so many images, (N,) each."""
    model = TransferClassifier(TransferConfig(tune=0), train.spec)
    model.network.load_published()
    known, features = (torch.from_numpy(predictions(model, images.pixels, "cpu").features) for images in (train, asked))
    assert train.labels is not None
    found = []
    for count in counts:
        weight, bias = logistic(known[:count], torch.from_numpy(train.labels[:count]), len(train.classes), model.config.decay)
        found.append(torch.nn.functional.linear(features, weight, bias).argmax(1).numpy() == asked.labels)
    return found


def told(right: NDArray[np.bool_]) -> str:
    """A share and its interval."""
    low, high = exact_interval(int(right.sum()), len(right))
    return f"{100 * right.mean():5.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1_000])
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'source':24}{'images':>8}  {'resnet':24}{'photos':24}")
    for given in options.data:
        source, _, size = given.partition(":")
        small = load(source, size=int(size) if size else None, holdout=0.2)
        large = load(source, size=PHOTOGRAPHS, holdout=0.2) if size else small
        counts = sorted({min(size, len(small.train)) for size in options.sizes})
        most, asked = counts[-1], part(small.holdout, ASKED)
        photos = by_photographs(enlarged(part(large.train, most)), enlarged(part(large.holdout, ASKED)), counts)
        for count, right in zip(counts, photos, strict=True):
            own = by_resnet(part(small.train, count), asked, options.steps)
            print(f"{Path(source).stem:24}{count:8,}  {told(own):24}{told(right):24}", flush=True)


if __name__ == "__main__":
    main()
