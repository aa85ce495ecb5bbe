"""Which features of photographs to judge by: input size, layer, projection, by what they see of failures planted into real images.

    python benchmarks/photo_features.py --data cifar10-train.zip --size 32 >> benchmarks/results/photo_features.md
    python benchmarks/photo_features.py --data clothing-train.zip --size 64 >> benchmarks/results/photo_features.md

For every candidate, on images with ten kinds that it is told nothing of:

*s / 2,000*      seconds that 2,000 images take on one thread, from pixels to features
*kind*           share of images whose nearest other image is of the same kind
*3 / 1 missing*  `calotype.metrics.kinds.rare_kinds` of --made images without three kinds or one, drawn anew in each trial: the share of
                 trials with p < .001 and p < .005 (what a verdict asks of the smallest of ten p-values), and the mean share of rare kinds
*none missing*   the same of images that lack nothing: the share of trials with p < .05
*blur, noise*    Frechet distance of images blurred by one pixel, or with noise of ten levels, less that of other real images, in standard
                 deviations of the latter (only where there are more images than dimensions)
*copies*         share of training images of four fifths of their contrast whose nearest image is their original
*r*              correlation of coverage with that in the full ImageNet features (head, 224 pixels, 1280 numbers), over sets that lack 0 to
                 8 kinds or repeat a half to a twentieth of their images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from calotype.data import load
from calotype.diagnose import planted
from calotype.metrics.features import pick
from calotype.metrics.features_photos import PHOTOS
from calotype.metrics.frechet import Moments, frechet
from calotype.metrics.kinds import rare_kinds
from calotype.metrics.manifold import nearest, prdc
from calotype.networks.efficientnet import EfficientNetLite, folded, prepared
from calotype.networks.published import published
from calotype.types import ImageSpec

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
DAMAGED = 400  # images that are blurred, noisy, copied
LAYERS = ("stage 4", "stage 5", "stage 6", "stage 7", "head")


def layers_of(pixels: Pixels, size: int) -> tuple[dict[str, Floats], float]:
    """The means of the later layers at one input size, and the seconds that they took."""
    network = EfficientNetLite().eval().requires_grad_(False)
    network.load_state_dict(folded(published(PHOTOS)))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found: list[list[Floats]] = []
    start = time.perf_counter()
    for first in range(0, len(pixels), 16):
        x = torch.from_numpy(pixels[first : first + 16]).permute(0, 3, 1, 2).float()
        maps = network.maps(prepared(x, size).contiguous(memory_format=torch.channels_last))
        head = functional.relu6(network.head(maps[-1]))
        found.append([m.mean((2, 3)).numpy() for m in (*maps[3:], head)])
    seconds = time.perf_counter() - start
    return dict(zip(LAYERS, (np.concatenate(part) for part in zip(*found, strict=True)), strict=True)), seconds


def orthogonal(width: int, dimension: int) -> Floats:
    drawn = np.random.RandomState(1861).standard_normal((width, dimension))
    return np.asarray(np.linalg.qr(drawn)[0] * np.sqrt(width), np.float32)


def axes_of(z: Floats, dimension: int) -> Floats:
    """The principal axes of other images."""
    return np.asarray(np.linalg.svd(z - z.mean(0), full_matrices=False)[2][:dimension].T * np.sqrt(z.shape[1]), np.float32)


def candidates(means: dict[str, Floats], foreign: dict[str, Floats], size: int) -> Iterator[tuple[str, Floats]]:
    """Names and features; ``foreign`` are the layers of other photographs, from which axes can be learned."""
    if size == 224:
        yield "head, 1280", means["head"]
    unit = {name: z / np.linalg.norm(z, axis=1, keepdims=True) for name, z in means.items()}
    other = {name: z / np.linalg.norm(z, axis=1, keepdims=True) for name, z in foreign.items()}
    for name in LAYERS if size == 128 else ("stage 6",):
        width = unit[name].shape[1]
        yield f"{name}, {width}, length 1", unit[name]
        for dimension in (64, 128) if name in ("stage 6", "stage 7", "head") else ():
            yield f"{name}, length 1, random {dimension}", unit[name] @ orthogonal(width, dimension)
        if name == "stage 6":
            yield f"{name}, length 1, foreign axes 64", unit[name] @ axes_of(other[name], 64)


class Judge:
    """Planted failures in ``images`` real images, of which the first are damaged besides."""

    def __init__(self, labels: NDArray[np.int64], made: int, trials: int, full: Floats) -> None:
        self.labels, self.made, self.trials = labels, made, trials
        self.reference = self.coverages(full)

    def coverages(self, z: Floats) -> list[float]:
        """Coverage by sets that lack kinds or repeat themselves."""
        rng, half = np.random.default_rng(0), len(self.labels) // 2
        real, values = z[half:], []
        for gone in range(0, 9, 2):
            kept = np.flatnonzero(~np.isin(self.labels[:half], rng.permutation(10)[:gone]))
            values.append(prdc(z[rng.choice(kept, 400)], real)["coverage"].value)
        for share in (0.5, 0.2, 0.05):
            values.append(prdc(z[rng.choice(rng.choice(half, int(400 * share)), 400)], real)["coverage"].value)
        return values

    def missing(self, z: Floats) -> str:
        """Three cells: three kinds missing, one, none."""
        seen: dict[int, list[tuple[float, float]]] = {3: [], 1: [], 0: []}
        for trial in range(self.trials):
            rng = np.random.default_rng(trial)
            order = rng.permutation(len(z))
            pool, real = order[: len(z) // 2], order[len(z) // 2 :]
            for gone, found in seen.items():
                kept = pool[~np.isin(self.labels[pool], rng.permutation(10)[:gone])]
                kinds = rare_kinds(z[rng.choice(kept, self.made, replace=len(kept) < self.made)], z[real], trial)
                found.append((kinds.p, kinds.share))
        told = [
            f"{np.mean([p < level for p, _ in seen[k]]):.2f}, {np.mean([s for _, s in seen[k]]):.3f}"
            for k, level in ((3, 0.001), (1, 0.005))
        ]
        return f"{told[0]} | {told[1]} | {np.mean([p < 0.05 for p, _ in seen[0]]):.2f}"

    def row(self, z: Floats) -> str:
        """All cells of one candidate, the damaged images behind the plain ones."""
        count = len(self.labels)
        plain, damaged = z[:count], {name: z[count + i * DAMAGED :][:DAMAGED] for i, name in enumerate(("blur", "noise", "copies"))}
        index, _ = nearest(plain, plain, own=np.arange(count))
        cells = [f"{np.mean(self.labels[index] == self.labels):.2f}", self.missing(plain)]
        if plain.shape[1] < DAMAGED:
            real = Moments.of(plain[2 * DAMAGED :])
            rng = np.random.default_rng(0)
            usual = [frechet(Moments.of(plain[rng.choice(2 * DAMAGED, DAMAGED, replace=False)]), real) for _ in range(10)]
            cells += [f"{(frechet(Moments.of(damaged[k]), real) - np.mean(usual)) / np.std(usual):.0f}" for k in ("blur", "noise")]
        else:
            cells += ["", ""]
        index, _ = nearest(damaged["copies"], plain)
        cells += [f"{np.mean(index == np.arange(DAMAGED)):.2f}", f"{np.corrcoef(self.reference, self.coverages(plain))[0, 1]:.3f}"]
        return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="images in ten class folders")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--made", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--inputs", type=int, nargs="+", default=[64, 96, 128, 224])
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = load(given.data, size=given.size).train
    order = np.random.default_rng(0).permutation(len(images))[: given.images]
    pixels, labels = images.pixels[order], images.labels[order]  # type: ignore[index]
    some = pixels[:DAMAGED]
    pale = np.rint(127.5 + 0.8 * (some.astype(np.float32) - 127.5)).astype(np.uint8)
    every = np.concatenate([pixels, planted.blur(some, 1.0), planted.noise(some, 10, np.random.default_rng(1)), pale])
    photographs = load("photos", size=160).train.pixels
    foreign = np.concatenate([photographs[:, y : y + 40, x : x + 40] for y in range(0, 120, 20) for x in range(0, 120, 20)])
    found = {size: (layers_of(every, size), layers_of(foreign, size)[0]) for size in given.inputs}
    judge = Judge(labels, given.made, given.trials, found[max(found)][0][0]["head"][: len(labels)])
    print(f"\n{images.name}, {given.size}x{given.size}, {len(labels):,} images, {given.made:,} made, {given.trials} trials:\n")
    print("| input | features | s / 2,000 | kind | 3 missing | 1 missing | none missing | blur | noise | copies | r |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size, ((means, seconds), other) in found.items():
        for name, z in candidates(means, other, size):
            print(f"| {size} | {name} | {2000 * seconds / len(every):.0f} | {judge.row(z)} |", flush=True)
    for space in pick("random", ImageSpec(given.size, 3)):
        start = time.perf_counter()
        z = space.of(every).features
        print(
            f"| {given.size} | {space.name}, {space.dimension} | {2000 * (time.perf_counter() - start) / len(every):.0f} | {judge.row(z)} |"
        )


if __name__ == "__main__":
    main()
