"""How long until a zip of 50,000 small JPEG files is ready to train on: the first time, and from then on.

    python benchmarks/zip_ready.py [ARCHIVE.zip]

Each time is that of a fresh process from the start of ``load``, into a cache folder of its own that is removed afterwards.
Without an archive one is made of smooth random images, 32x32 in color, in ten class folders.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 50_000
_LOAD = """
import sys, time
from pathlib import Path
import calotype.data.parallel as parallel
from calotype.data import load
if int(sys.argv[3]):
    parallel.workers = lambda: int(sys.argv[3])
start = time.perf_counter()
split = load(sys.argv[1], cache=Path(sys.argv[2]))
print(time.perf_counter() - start, len(split.train) + len(split.holdout), len(split.train.skipped))
"""


def make_zip(path: Path) -> None:
    """Write ``COUNT`` JPEG files in ten class folders."""
    rng = np.random.RandomState(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index in range(COUNT):
            picture = Image.fromarray(rng.randint(0, 256, (6, 6, 3)).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
            data = io.BytesIO()
            picture.save(data, "JPEG", quality=90)
            archive.writestr(f"class{index % 10}/{index:05d}.jpg", data.getvalue())


def measure(archive: Path, cache: Path, threads: int = 0) -> tuple[float, int, int]:
    """Seconds, images and skipped files of one ``load`` in a fresh process; 0 threads are as many as there are cores."""
    command = [sys.executable, "-c", _LOAD, str(archive), str(cache), str(threads)]
    seconds, images, skipped = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), int(images), int(skipped)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "images.zip"
        if len(sys.argv) < 2:
            print(f"making {COUNT:,} images ...", flush=True)
            make_zip(archive)
        first, images, skipped = measure(archive, Path(folder) / "cache")
        again, _, _ = measure(archive, Path(folder) / "cache")
        single, _, _ = measure(archive, Path(folder) / "single", threads=1)
        print(f"{images:,} images, {skipped} skipped")
        print(f"first time {first:6.2f} s ({images / first:,.0f} images/s)   one thread {single:.2f} s")
        print(f"from then  {again:6.2f} s ({images / again:,.0f} images/s)")


if __name__ == "__main__":
    main()
