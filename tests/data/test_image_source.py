"""What a training asks of its data: three kinds of sources that give the same batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from calotype.data import Augmentation, Images, Loader
from calotype.data.images import ImageSource, Labels, Pixels
from calotype.types import ImageSpec


class Shards:
    """A set in parts, none of which is the whole."""

    name, fingerprint, partner, waits = "shards", "0" * 64, None, True

    def __init__(self, parts: list[Images]) -> None:
        self.parts, self.spec = parts, parts[0].spec

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def _place(self, row: int) -> tuple[Images, int]:
        for part in self.parts:
            if row < len(part):
                return part, row
            row -= len(part)
        raise IndexError

    def pixels_at(self, rows: NDArray[np.int64]) -> Pixels:
        return np.stack([part.pixels[row] for part, row in map(self._place, rows.tolist())])

    def labels_at(self, rows: NDArray[np.int64]) -> Labels | None:
        return np.array([part.labels[row] for part, row in map(self._place, rows.tolist())])  # type: ignore[index]

    def square_at(self, row: int, top: int, left: int, side: int) -> Pixels:
        part, row = self._place(row)
        return part.pixels[row, top : top + side, left : left + side]


def made(pixels: Pixels, labels: Labels) -> Images:
    return Images(pixels, labels, ("a", "b", "c"), "made", "1" * 64)


@pytest.fixture
def sources(tmp_path: Path) -> list[ImageSource]:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (30, 12, 12, 3), np.uint8), rng.integers(0, 3, 30)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    parts = [made(pixels[a:b], labels[a:b]) for a, b in ((0, 7), (7, 20), (20, 30))]
    return [made(pixels, labels), made(mapped, labels), Shards(parts)]


@pytest.mark.parametrize(
    "augmentation", [Augmentation(), Augmentation(flip=True), Augmentation(patch=8, turn=True), Augmentation(turn=True)]
)
def test_the_same_images_give_the_same_batches_wherever_they_lie(sources: list[ImageSource], augmentation: Augmentation) -> None:
    assert [source.waits for source in sources] == [False, True, True]
    assert all(source.spec == ImageSpec(12, 3, ("a", "b", "c")) for source in sources)
    loaders = [Loader(source, 8, 5, augmentation) for source in sources]
    for seen in (0, 8, 27, 1000, 8):
        first, *others = (loader.batch_at(seen) for loader in loaders)
        for other in others:
            assert torch.equal(first.image, other.image)
            assert first.condition.label is not None
            assert other.condition.label is not None
            assert torch.equal(first.condition.label, other.condition.label)
