"""The bicubic rows of the super-resolution literature, from pairs of images such as those of Set5, and how exact the resizing is.

    python benchmarks/bicubic_rows.py set5.zip
    python benchmarks/bicubic_rows.py Set14/            # a folder that holds them, at any depth

Pairs are files named ``*_SRF_3_HR.png`` and ``*_SRF_3_LR.png``, as they are usually shared; the number is the scale. For each scale

  published   the mean PSNR and SSIM of the row that tables print: luma made smaller and larger again, nothing rounded on the way
  from files  those of the low-resolution files made larger again: what a method that is given them starts from
  resizing    how many values of the low-resolution files differ from those that our resizing makes of the high-resolution ones
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calotype import degrade
from calotype.degrade.resize import resize
from calotype.metrics.quality import convention_for, published_bicubic
from calotype.types import Noise

PAIR = re.compile(r"(.*)_SRF_(\d)_HR\.png")


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from ((str(file), file.read_bytes()) for file in sorted(path.rglob("*.png")))
        return
    with zipfile.ZipFile(path) as archive:
        yield from ((name, archive.read(name)) for name in sorted(archive.namelist()) if name.endswith(".png"))


def image(data: bytes) -> Tensor:
    pixels = np.array(Image.open(BytesIO(data)))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().sub_(127.5).mul_(1 / 127.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    found = dict(files(parser.parse_args().path))
    rows: dict[int, list[Tensor]] = {}
    texts = set()
    for name, data in found.items():
        match = PAIR.fullmatch(name)
        if match is None:
            continue
        scale = int(match[2])
        high, low = image(data), image(found[name.replace("_HR.png", "_LR.png")])
        degradation = degrade.parse(f"downsample:{scale}")
        ours = degradation(high, Noise(1)).image
        differing = int(((ours - low).abs() > 1 / 255).sum())
        convention = convention_for(degradation, high.shape[1])
        texts.add(convention.text)
        made = published_bicubic(high, scale), resize(low, high.shape[2], high.shape[3])
        scores = [float(score(one, high)[0]) for one in made for score in (convention.psnr, convention.ssim)]
        rows.setdefault(scale, []).append(torch.tensor([*scores, differing, low.numel()], dtype=torch.float64))
    for scale, values in sorted(rows.items()):
        psnr, ssim, file_psnr, file_ssim, differing, count = torch.stack(values).sum(0).tolist()
        n = len(values)
        print(
            f"x{scale}: {n} images, published {psnr / n:.4f} dB / {ssim / n:.5f}, from files {file_psnr / n:.4f} dB / {file_ssim / n:.5f}, "
            f"resizing differs in {differing:,.0f} of {count:,.0f} values"
        )
    print("\n".join(sorted(texts)))


if __name__ == "__main__":
    main()
