"""How close a trained restorer comes to the true images, in the conventions of the literature.

    python benchmarks/restoration_scores.py RUN IMAGES.zip                  # the degradation that the run was trained on
    python benchmarks/restoration_scores.py RUN IMAGES.zip --degrade noise:25 --json
    python benchmarks/restoration_scores.py RUN IMAGES.zip --mirrored       # with borders as calotype restore treats them

IMAGES.zip (or a folder) holds true images, gray or color, of any size; or, for super-resolution, pairs NAME_HR.png and NAME_LR.png
in folders image_SRF_2, image_SRF_3 ..., in which case the smaller images are those given, and the folder of the run's scale is read.

Super-resolution is scored on the luma of MATLAB's rgb2ycbcr with as many border pixels cut off as the scale. A model for gray images
is given the luma of color ones, and its result is scored as luma. Noise is Gaussian, left unclipped, seeded by the number of the image
in the order of names; results are clipped and rounded. A model that can be told the noise level is told it. The first row is the
untouched or bicubic image.

The network is given the image alone, beyond whose borders its convolutions see zeros; with --mirrored the image goes on there as its
mirror image, as for `calotype restore` and `upscale`.

Train, for instance, with

    calotype train upscale --scale 3 --data TRAIN400.zip --minutes 2.5
    calotype train denoise --sigma 25 --data TRAIN400.zip --minutes 2.5
"""

from __future__ import annotations

import argparse
import io
import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import calotype
from calotype import degrade
from calotype.degrade.base import Degradation
from calotype.degrade.noise import LEVEL
from calotype.degrade.resize import resize
from calotype.metrics.quality import Convention, convention_for, luma
from calotype.tasks.restore import Applied
from calotype.types import Condition, Noise, Source

SEED = 0


def read(path: Path) -> dict[str, bytes]:
    """The picture files of a zip archive or a folder by name, in the order of names."""
    if path.is_dir():
        files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    else:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    return {name: files[name] for name in sorted(files) if name.lower().endswith((".png", ".bmp", ".jpg", ".jpeg", ".tif"))}


def picture(data: bytes) -> Tensor:
    """(1, C, H, W) float32 in [-1, 1], gray or color as the file is."""
    image = Image.open(io.BytesIO(data))
    pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)


def fit(image: Tensor, channels: int, convention: Convention) -> Tensor:
    """An image as a model for so many channels takes it: of color, the luma; of gray, three equal channels."""
    if image.shape[1] == channels:
        return image
    if channels == 3:
        return image.expand(-1, 3, -1, -1)
    if convention.space == "luma":
        return luma(image)
    raise SystemExit("the model was trained on gray images, and these are in color: give gray ones")


def examples(files: dict[str, bytes], scale: int) -> list[tuple[str, Tensor, Tensor | None]]:
    """Name, true image and, where one is given, its smaller version."""
    pairs = [name for name in files if name.endswith("_HR.png") and f"image_SRF_{scale}/" in name]
    if pairs and scale > 1:
        return [(Path(n).name.split("_SRF")[0], picture(files[n]), picture(files[n.replace("_HR.png", "_LR.png")])) for n in pairs]
    found: list[tuple[str, Tensor, Tensor | None]] = []
    for name, data in files.items():
        image = picture(data)
        high, wide = (side - side % scale for side in image.shape[2:])
        found.append((Path(name).stem, image[:, :, :high, :wide], None))
    return found


def told(source: Source, degraded: degrade.Degraded, image: Tensor) -> Tensor:
    """The source, with the noise level in its map where the model takes one."""
    if source.conditioning != ("sigma",):
        return degraded.source if source.conditioning else image
    sigma = degraded.operator.sigma
    assert sigma is not None
    return torch.cat([image, torch.full_like(image[:, :1], float(sigma[0]) * 127.5 / LEVEL)], 1)


@torch.no_grad()
def scores(run: Path, images: Path, spec: str | None, mirrored: bool) -> dict[str, Any]:
    """PSNR and SSIM of each image and their means, of the model and of the untouched or bicubic image."""
    generator = calotype.load(run, device="cpu")
    applied = Applied(generator)
    source = generator.model.spec.source
    if source is None:
        raise SystemExit(f"{run} restores nothing")
    degradation: Degradation = degrade.parse(spec or source.degradation)
    rows, convention, began = [], convention_for(degradation, 1), time.perf_counter()
    for number, (name, true, small) in enumerate(examples(read(images), degradation.scale)):
        convention = convention_for(degradation, true.shape[1])
        given = fit(true, generator.model.spec.channels, convention)
        noise = Noise(1, SEED, number)
        if small is None:
            degraded = degradation(given, noise)
            start, mask = (
                told(source, degraded, degraded.image),
                None if degraded.conditioning is None else 1 - degraded.conditioning[:, -1:],
            )
        else:
            start, mask = fit(small, source.channels, convention), None
        made = applied.images(start) if mirrored else generator.model.sample(Noise(1, SEED, number), Condition(source=start))
        before = start[:, : source.channels]
        if degradation.scale > 1:
            before = resize(before, made.shape[2], made.shape[3], eight_bit=True)
        space = convention.space
        if made.shape[1] == 1:  # luma already, where the image has color: compared as it is
            true, space = fit(true, 1, convention), "gray"
        elif true.shape[1] == 1:
            true, space = fit(true, 3, convention), "luma" if degradation.scale > 1 else "rgb"
        same = replace(convention, space=space)
        row: dict[str, Any] = {"image": name}
        for key, result in (("model", made), ("before", before)):
            row[f"{key} PSNR"] = float(same.psnr(result, true, mask))
            row[f"{key} SSIM"] = float(same.ssim(result, true, mask))
        rows.append(row)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "image"}
    return {
        "run": str(run),
        "degrade": degradation.spec,
        "convention": convention.text,
        "before is": "bicubic" if degradation.scale > 1 else "untouched",
        "images": rows,
        "mean": mean,
        "seconds": round(time.perf_counter() - began, 2),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--degrade", help="score another degradation than the one of the training, such as noise:15")
    parser.add_argument("--mirrored", action="store_true", help="images go on as their mirror image beyond their borders")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = scores(options.run, options.images, options.degrade, options.mirrored)
    if options.json:
        print(json.dumps(result))
        return
    rows, mean = result["images"], result["mean"]
    print(f"{result['degrade']}: {result['convention']}")
    print(f"{'image':<16}{result['before is']!s:>16}{'model':>16}")
    for row in [*rows, {"image": "mean", **mean}]:
        print(f"{row['image']:<16}" + "".join(f"{row[f'{key} PSNR']:>9.3f} {row[f'{key} SSIM']:.4f}" for key in ("before", "model")))


if __name__ == "__main__":
    main()
