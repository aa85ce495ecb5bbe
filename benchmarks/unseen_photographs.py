"""How a restorer does on photographs that its training never saw: the eight embedded ones, each a whole picture.

    calotype train enhance --data BSDS500-TRAIN.zip --minutes 10 --train.threads 1
    python benchmarks/unseen_photographs.py runs/enhance-BSDS500-TRAIN-0001

For runs that were trained on something else than ``photos``. Every photograph is degraded --draws times as in training, restored, and
compared with the truth, beside what needs no training. The mean over its draws is one number of a photograph, and intervals (95%,
Student's t) are over photographs: two damages to one photograph say less than two photographs do. Two of the eight are gray; to a
colorizer they tell nothing and are left out. PSNR is taken by the restoration's convention; the perceptual distance, that of ``calotype
restore --score``, for the first draw alone. With --out the first draws are shown: before, after, truth.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

import calotype
from calotype import pictures
from calotype.capabilities import HasBaselines
from calotype.data import embedded
from calotype.data.decode import decode
from calotype.degrade import classical, parse
from calotype.metrics.perceptual import perceptual_distances, perceptual_name
from calotype.metrics.quality import convention_for
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.restore import Applied, is_gray
from calotype.tasks.score import like, missing_in
from calotype.types import Noise

OWN = "this model"
SHOWN = 256  # pixels a side of what is shown of a photograph


def photographs(color: bool) -> dict[str, Tensor]:
    """(1, 3, H, W) in [-1, 1] by name; with ``color`` only those that have any."""
    found = {}
    with zipfile.ZipFile(embedded.photographs("photos")) as archive:
        for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
            image = decode(archive.read(name), name)
            truth = to_tensor(np.asarray(image.convert("RGB"))[None])
            if not color or not is_gray(truth[0]):
                found[Path(name).stem] = truth
    return found


def interval(values: NDArray[np.float64]) -> str:
    """The mean of numbers of several photographs, with its interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


@torch.no_grad()
def main() -> None:
    """Restore, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--degrade", help="another damage than that of the training, such as mask:strokes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    generator = calotype.load(options.run, device="cpu")
    applied, source = Applied(generator), generator.spec.source
    assert source is not None
    degradation = parse(options.degrade or source.degradation)
    fixed = degradation.spec == "gray"
    psnr: dict[str, dict[str, list[float]]] = {}
    apart: dict[str, list[float]] = {}
    shown = []
    images = photographs(color=fixed)
    for number, (photograph, truth) in enumerate(images.items()):
        convention = convention_for(degradation, 3)
        for draw in range(1 if fixed else options.draws):
            degraded = degradation(truth, Noise(1, draw, number))
            maps = None if degraded.conditioning is None else degraded.conditioning[0]
            made = {
                OWN: applied.tensor(degraded.image[0], maps)[None],
                **classical.baselines(degraded, degradation, (truth.shape[2], truth.shape[3])),
            }
            if isinstance(generator.model, HasBaselines):
                made |= {name: image.cpu() for name, image in generator.model.baselines(degraded.image).items()}
            made = {name: like(image, truth).clamp(-1, 1) for name, image in made.items() if image.shape[2:] == truth.shape[2:]}
            holes = missing_in(degradation, degraded)
            for name, image in made.items():
                psnr.setdefault(name, {}).setdefault(photograph, []).append(float(convention.psnr(image, truth, holes)))
            if not draw:
                for name, one in zip(made, perceptual_distances(list(made.values()), truth, generator.model.through), strict=True):
                    apart.setdefault(name, []).append(float(one))
                shown += [image[..., :SHOWN, :SHOWN] for image in (made["input"], made[OWN], truth)]
        print(f"{photograph}: " + ", ".join(f"{name} {np.mean(of[photograph]):.2f}" for name, of in psnr.items()), flush=True)
    means = {name: np.array([np.mean(of[one]) for one in images]) for name, of in psnr.items()}
    far = {name: np.array(values) for name, values in apart.items()}
    print(f"\n{len(images)} photographs, {degradation.spec}; PSNR in dB; perceptual: {perceptual_name(3, generator.model.through)}")
    print(f"{'':16}{'PSNR':>8}  {'gain of the model':28}{'perceptual':>10}  gain of the model (less is better)")
    for name in means:
        print(
            f"{name:16}{means[name].mean():8.2f}  {interval(means[OWN] - means[name]) if name != OWN else '':28}"
            f"{far[name].mean():10.4f}  {interval(far[name] - far[OWN]) if name != OWN else ''}"
        )
    if options.out:
        shown = [torch.nn.functional.pad(x, (0, SHOWN - x.shape[3], 0, SHOWN - x.shape[2]), value=1.0) for x in shown]
        pictures.save(pictures.grid(pictures.to_uint8(torch.cat(shown)), columns=6), options.out)


if __name__ == "__main__":
    main()
