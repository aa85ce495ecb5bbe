"""Write the embedded photographs, ``src/calotype/data/embedded/photos.zip``, from those that scikit-image and scikit-learn carry.

Both are needed for this script alone, never by the package. JPEG files are taken as they are; PNG files become lossless WebP, with the
same pixels. What is in ``test/`` is held out. See ``photos.txt`` beside the archive for origin and licenses.

    python scripts/make_photos.py
"""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parents[1] / "src" / "calotype" / "data" / "embedded" / "photos.zip"
TRAIN = ("astronaut.png", "brick.png", "gravel.png", "rocket.jpg", "china.jpg", "flower.jpg")
TEST = ("chelsea.png", "coffee.png")
WHEN = (2026, 1, 1, 0, 0, 0)  # of the members, so that the same input gives the same bytes


def folder(package: str, *parts: str) -> Path:
    """A folder of an installed package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install scikit-image scikit-learn")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def member(name: str) -> tuple[str, bytes]:
    """The name and the bytes of a photograph in the archive."""
    places = (folder("skimage", "data"), folder("sklearn", "datasets", "images"))
    data = next(place / name for place in places if (place / name).is_file()).read_bytes()
    if name.endswith(".jpg"):
        return name, data
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).save(stream, "WEBP", lossless=True, quality=100, method=6)
    return Path(name).with_suffix(".webp").name, stream.getvalue()


def main() -> None:
    """Write the archive."""
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_STORED) as archive:
        for part, names in (("train", TRAIN), ("test", TEST)):
            for name in names:
                inner, data = member(name)
                archive.writestr(zipfile.ZipInfo(f"{part}/{inner}", WHEN), data)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
