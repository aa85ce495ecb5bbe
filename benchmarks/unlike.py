"""How many strange images a trained classifier calls unlike those that it knows, by several measures, at the same false alarms.

    calotype train resnet --minutes 2 --train.threads 1
    python benchmarks/unlike.py runs/resnet-mnist5k-0001 --strange letters inverted CIFAR.zip clothing noise

The limits of every measure are set on half of the images that the run held out, by lot, so that 5% of such images are called unlike; the
other half is counted as false alarms. ``neighbor`` is what `calotype classify` does. Strange images are brought to the shape of the
classifier: a name of `calotype.data`, a path, or one of
  letters    A to Z in the typefaces of matplotlib, white on black, a little turned and moved
  inverted   the held-out images themselves with black and white exchanged
  noise      every pixel by itself
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from calotype.data import load
from calotype.evaluation.request import Request
from calotype.evaluation.run_info import RunInfo
from calotype.metrics.confidence import halves, softmax
from calotype.metrics.familiar import FALSE_ALARMS, KnownImages, distance_limit
from calotype.metrics.predictions import Predictions
from calotype.tasks.classify import open_classifier
from calotype.types import ImageSpec

Features = NDArray[np.float64]
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral", "cmr10", "cmss10")
COUNT = 300  # images of each strange kind at most


def letters(spec: ImageSpec, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(COUNT, H, W, C): drawn large, then turned, moved and made smaller."""
    found, side = [], 4 * spec.size
    for row in range(COUNT):
        font = ImageFont.truetype(font_manager.findfont(FONTS[row % len(FONTS)]), round(side * rng.uniform(0.6, 0.75)))
        picture = Image.new("L", (side, side))
        place = tuple(side / 2 + side * rng.uniform(-0.05, 0.05, 2))
        ImageDraw.Draw(picture).text(place, chr(ord("A") + row % 26), fill=255, font=font, anchor="mm")
        small = picture.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC).resize((spec.size, spec.size), Image.Resampling.LANCZOS)
        found.append(np.repeat(np.asarray(small)[:, :, None], spec.channels, 2))
    return np.stack(found)


def strange(name: str, held: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """Images of a kind, in the shape of the classifier."""
    rng = np.random.default_rng(7)
    if name == "letters":
        return letters(spec, rng)
    if name == "inverted":
        return 255 - held[:COUNT]
    if name == "noise":
        return rng.integers(0, 256, (COUNT, *held.shape[1:]), dtype=np.uint8)
    split = load(name, size=spec.size, channels=spec.channels)
    pixels = split.train.pixels
    return np.asarray(pixels[np.sort(rng.permutation(len(pixels))[:COUNT])])


class Known:
    """What measures know of the training images: their features by class."""

    def __init__(self, features: Features, labels: NDArray[np.int64], classes: int) -> None:
        self.labels, self.features = labels, features
        self.means = np.stack([features[labels == k].mean(0) for k in range(classes) if (labels == k).any()])
        place = np.searchsorted(np.unique(labels), labels)
        self.center, apart = features.mean(0), features - self.means[place]
        self.within, self.whole = _precision(apart), _precision(features - self.center)

    def mahalanobis(self, x: Features) -> Features:
        """The squared distance to the nearest class mean (Lee et al. 2018)."""
        found: Features = np.min(np.stack([_squared(x - mean, self.within) for mean in self.means]), 0)
        return found

    def relative(self, x: Features) -> Features:
        """The same less the distance to all images as one class (Ren et al. 2021)."""
        return self.mahalanobis(x) - _squared(x - self.center, self.whole)

    def residual(self, x: Features) -> Features:
        """The part of the features in the directions in which training images vary least (Wang et al. 2022, ViM), a share of the whole."""
        values, vectors = np.linalg.eigh(np.cov(self.features.T))
        small = vectors[:, np.cumsum(values) <= 0.05 * values.sum()]
        found: Features = np.linalg.norm((x - self.center) @ small, axis=1)
        return found


def _precision(apart: Features) -> Features:
    """The inverse of the covariance of (N, d), shrunk towards a multiple of the unit matrix (Ledoit & Wolf 2004)."""
    n, d = apart.shape
    covariance = apart.T @ apart / n
    mean = np.trace(covariance) / d
    spread = ((covariance - mean * np.eye(d)) ** 2).sum() / d
    noise = min(spread, ((apart**2).sum(1) ** 2).mean() / d / n - (covariance**2).sum() / d / n)
    share = noise / spread if spread > 0 else 1.0
    found: Features = np.linalg.inv((1 - share) * covariance + max(share, 1e-6) * mean * np.eye(d))
    return found


def _squared(apart: Features, precision: Features) -> Features:
    found: Features = np.einsum("ni,ij,nj->n", apart, precision, apart, optimize=True)
    return found


def energy(logits: Features) -> Features:
    """The energy -log sum_k exp(z_k) of each image (Liu et al. 2020)."""
    top = logits.max(1)
    found: Features = -(top + np.log(np.exp(logits - top[:, None]).sum(1)))
    return found


def measures(known: Known, images: KnownImages) -> dict[str, Callable[[Predictions], Features]]:
    """Each a number that is large for strange images."""

    def of(measure: Callable[[Features], Features]) -> Callable[[Predictions], Features]:
        return lambda found: measure(found.features.astype(np.float64))

    return {
        "belief": lambda found: -softmax(found.logits).max(1),
        "energy": lambda found: energy(found.logits),
        "mahalanobis": of(known.mahalanobis),
        "relative": of(known.relative),
        "neighbor": lambda found: images.distances(found.features),
        "residual": of(known.residual),
    }


def main() -> None:
    """Ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--strange", nargs="+", required=True)
    parser.add_argument("--train", type=int, default=1_000, help="training images that the measures know")
    parser.add_argument("--keep", type=Path, help="an .npz file for the features")
    options = parser.parse_args()
    trained = open_classifier(options.run)
    split = RunInfo.of(options.run, Request()).split
    assert split is not None
    assert split.train.labels is not None
    spec = trained.spec
    rows = np.sort(np.random.default_rng(0).permutation(len(split.train))[: options.train])
    taught = trained.predictions(split.train.pixels[rows])
    known = Known(taught.features.astype(np.float64), split.train.labels[rows], len(spec.classes))
    held = trained.predictions(split.holdout.pixels)
    sets = {Path(name).stem: trained.predictions(strange(name, split.holdout.pixels, spec)) for name in options.strange}
    if options.keep:
        found = {"train": taught, "held": held, **sets}
        arrays = {f"{kind}/{name}": getattr(p, kind) for name, p in found.items() for kind in ("features", "logits")}
        np.savez(options.keep, labels=split.train.labels[rows], **arrays)
    one, two = halves(len(held))
    print(f"{'':14}{'false alarms':>14}" + "".join(f"{name[:14]:>16}" for name in sets))
    for name, measure in measures(known, KnownImages.of(taught.features)).items():
        of_held = measure(held)
        limit = distance_limit(of_held[one])
        assert limit is not None
        caught = [(of_held[two] > limit).mean(), *((measure(found) > limit).mean() for found in sets.values())]
        print(f"{name:14}{caught[0]:14.1%}" + "".join(f"{share:16.1%}" for share in caught[1:]))
    energies = energy(held.logits[one])
    low, high = np.quantile(energies, FALSE_ALARMS / 2), np.quantile(energies, 1 - FALSE_ALARMS / 2)
    shares = []
    for logits in (held.logits[two], *(found.logits for found in sets.values())):
        outside = (energy(logits) < low) | (energy(logits) > high)
        shares.append(float(outside.mean()))
    print(f"{'both energies':14}{shares[0]:14.1%}" + "".join(f"{share:16.1%}" for share in shares[1:]))


if __name__ == "__main__":
    main()
