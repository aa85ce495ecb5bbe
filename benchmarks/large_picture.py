"""How much memory a large picture takes, and how far a result made of tiles is from that of the whole.

    python benchmarks/large_picture.py RUN                      # 12 megapixels, 8-bit JPEG
    python benchmarks/large_picture.py RUN --megapixels 24 --deep --threads 1
    python benchmarks/large_picture.py RUN --score              # degraded again and scored, which takes the middle of such a picture

RUN is a restorer that keeps the size of pictures. The picture is made of the embedded photographs and degraded by noise. `calotype
restore` runs in a process of its own, whose peak of resident memory is printed; that of a 64x64 picture stands beside it, as what Python,
PyTorch and the model take by themselves. Then a smaller picture is restored whole and by tiles, and the largest difference is printed in
levels of 255.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import calotype
from calotype.data import embedded
from calotype.tasks.files import Picture, save_picture
from calotype.tasks.restore import apply


def mosaic(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3) of the embedded photographs side by side, with noise of 15 levels."""
    with zipfile.ZipFile(embedded.photographs("photos")) as archive:
        parts = [np.asarray(Image.open(archive.open(name)).convert("RGB"))[:300, :450] for name in archive.namelist()]
    row = np.concatenate([np.pad(part, ((0, 300 - part.shape[0]), (0, 450 - part.shape[1]), (0, 0)), "symmetric") for part in parts], 1)
    image = np.tile(row, (-(-height // row.shape[0]), -(-width // row.shape[1]), 1))[:height, :width]
    noise = np.random.default_rng(0).normal(0, 15, image.shape[:2]).astype(np.float32)[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def peak(words: list[str], threads: int) -> tuple[float, float]:
    """Peak of resident memory in MB, and seconds, of a process."""
    script = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout.split()[-1]) / (1024**2 / 1000 if sys.platform == "darwin" else 1024), time.perf_counter() - began


def main() -> None:
    """Print the two numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--deep", action="store_true", help="a 16-bit PNG instead of a JPEG")
    parser.add_argument("--score", action="store_true", help="--degrade noise:25 --score besides")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    height = round((options.megapixels * 1e6 * 3 / 4) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        for high, wide in ((64, 64), (height, height * 4 // 3)):
            given, made = Path(folder) / ("in.png" if options.deep else "in.jpg"), Path(folder) / "out.png"
            pixels = mosaic(high, wide)
            save_picture(Picture(pixels.astype(np.uint16) * 257 if options.deep else pixels), given)
            words = [sys.executable, "-m", "calotype", "restore", str(options.run), str(given), str(made), "--overwrite"]
            words += ["--degrade", "noise:25", "--score"] if options.score else []
            memory, seconds = peak(words, options.threads)
            print(f"{wide}x{high}: {memory:,.0f} MB at most, {seconds:.1f} s, {options.threads} thread(s)")
    generator = calotype.load(options.run, device="cpu")
    image = torch.from_numpy(mosaic(500, 700).transpose(2, 0, 1).copy()).float() / 127.5 - 1
    whole, cut = (apply(generator, image, tile=tile) for tile in (4096, 256))
    print(f"tiles of 256 against the whole of 700x500: {float((whole - cut).abs().max()) * 127.5:.3f} levels of 255 at most")


if __name__ == "__main__":
    main()
