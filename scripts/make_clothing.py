"""Write the embedded photographs of clothing, ``src/calotype/data/embedded/clothing.zip``, from a copy of the clothing data set.

The data set is a folder or a zip archive with one folder for each kind. Of each photograph the middle square is kept, brought to 64
pixels a side and stored as WebP. Photographs that look nearly the same as one that was taken are left out. What is in ``test/`` is held
out. See ``clothing.txt`` beside the archive for origin and license.

    python scripts/make_clothing.py clothing.zip
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from calotype import pictures
from calotype.data import load

OUT = Path(__file__).resolve().parents[1] / "src" / "calotype" / "data" / "embedded" / "clothing.zip"
KINDS = {"t-shirt": 400, "pants": 240}  # how many of each to train on; a tenth of that many are held out
SIZE, QUALITY = 64, 90
ALIKE = 12.0  # levels of 255: the mean difference of two photographs at 8 pixels a side below which one is left out
WHEN = (2026, 1, 1, 0, 0, 0)  # of the members, so that the same input gives the same bytes


def chosen(source: str) -> dict[str, list[np.ndarray]]:
    """Photographs of each kind, none nearly the same as another, in the order of their names."""
    images = load(source, size=SIZE, channels=3, holdout=0).train
    found: dict[str, list[np.ndarray]] = {}
    for kind, count in KINDS.items():
        rows = np.flatnonzero(images.labels == images.classes.index(kind))
        rows = rows[np.argsort([images.name_of(int(row)) for row in rows])]
        taken, small = [], np.empty((0, 8, 8, 3), np.float32)
        for row in rows:
            pixels = np.asarray(images.pixels[row])
            coarse = pixels.astype(np.float32).reshape(8, 8, 8, 8, 3).mean((1, 3))
            if len(small) and np.abs(small - coarse).mean((1, 2, 3)).min() < ALIKE:
                continue
            small = np.concatenate([small, coarse[None]])
            taken.append(pixels)
        if len(taken) < count + count // 10:
            raise SystemExit(f"{source} has {len(taken):,} different photographs of {kind}, and {count + count // 10} are needed")
        found[kind] = taken[: count + count // 10]
    return found


def main() -> None:
    """Write the archive."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_STORED) as archive:
        for kind, photographs in chosen(sys.argv[1]).items():
            for place, pixels in enumerate(photographs):
                part = "train" if place < KINDS[kind] else "test"
                stream = io.BytesIO()
                pictures.to_picture(pixels).save(stream, "WEBP", quality=QUALITY, method=6)
                archive.writestr(zipfile.ZipInfo(f"{part}/{kind}/{place:03}.webp", WHEN), stream.getvalue())
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
