"""What a training asks of its data: three kinds of sources that give the same batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from calotype.data import Augmentation, Images, Loader
from calotype.data.images import ImageSource, Labels, Pixels, make_images
from calotype.settings import checked
from calotype.types import ImageSpec, Target

FACE = Target("face", ("smiling", "wearing a hat"))


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

    def targets_at(self, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
        places = [self._place(row) for row in rows.tolist()]
        return {t.name: np.stack([part.targets[t][row] for part, row in places]) for t in self.spec.targets}

    def square_at(self, row: int, top: int, left: int, side: int) -> Pixels:
        part, row = self._place(row)
        return part.pixels[row, top : top + side, left : left + side]


def made(pixels: Pixels, labels: Labels, numbers: NDArray[np.float32]) -> Images:
    return Images(pixels, labels, ("a", "b", "c"), "made", "1" * 64, targets={FACE: numbers})


@pytest.fixture
def sources(tmp_path: Path) -> list[ImageSource]:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (30, 12, 12, 3), np.uint8), rng.integers(0, 3, 30)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    numbers = pixels[:, 0, 0, :2].astype(np.float32)  # of which an image can be told
    parts = [made(pixels[a:b], labels[a:b], numbers[a:b]) for a, b in ((0, 7), (7, 20), (20, 30))]
    return [made(pixels, labels, numbers), made(mapped, labels, numbers), Shards(parts)]


@pytest.mark.parametrize(
    "augmentation", [Augmentation(), Augmentation(flip=True), Augmentation(patch=8, rot90=True), Augmentation(rot90=True)]
)
def test_the_same_images_give_the_same_batches_wherever_they_lie(sources: list[ImageSource], augmentation: Augmentation) -> None:
    assert [source.waits for source in sources] == [False, True, True]
    assert all(source.spec == ImageSpec(12, 3, ("a", "b", "c"), targets=(FACE,)) for source in sources)
    loaders = [Loader(source, 8, 5, augmentation) for source in sources]
    for seen in (0, 8, 27, 1000, 8):
        first, *others = (loader.batch_at(seen) for loader in loaders)
        for other in others:
            assert torch.equal(first.image, other.image)
            assert first.condition.label is not None
            assert other.condition.label is not None
            assert torch.equal(first.condition.label, other.condition.label)
            assert torch.equal(first.targets["face"], other.targets["face"])


def test_targets_stay_with_their_images(sources: list[ImageSource]) -> None:
    for source in sources:
        loader = Loader(source, 8, 5)
        assert loader.spec.targets == (FACE,)
        batch = loader.batch_at(27)
        corners = (batch.image[:, :2, 0, 0] * 127.5 + 127.5).round()
        assert batch.targets["face"].dtype == torch.float32
        assert torch.equal(batch.targets["face"], corners)
        assert torch.equal(batch[2:5].targets["face"], corners[2:5])
        second = Loader(source, 8, 5, rank=1, world=2).batch_at(27)
        assert torch.equal(second.targets["face"], corners[1::2])


def test_targets_are_part_of_what_a_set_is_and_of_its_parts() -> None:
    pixels, numbers = np.zeros((3, 8, 8, 1), np.uint8), np.eye(3, 2, dtype=np.float32)
    plain, known = (make_images(pixels, None, (), "made", targets=targets) for targets in ({}, {FACE: numbers}))
    others = [{FACE: numbers + 1}, {replace(FACE, entries=("smiling", "old")): numbers}]
    assert len({plain.fingerprint, known.fingerprint, *(make_images(pixels, None, (), "made", targets=o).fingerprint for o in others)}) == 4
    assert known.take(np.array([2, 0])).targets[FACE].tolist() == [[0, 0], [1, 0]]


def test_a_description_with_targets_survives_its_file() -> None:
    spec = ImageSpec(8, 3, targets=(FACE,))
    assert checked(ImageSpec, json.loads(json.dumps(asdict(spec)))) == spec
    assert checked(ImageSpec, {"size": 8, "channels": 3}).targets == ()
