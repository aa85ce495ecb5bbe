"""Which file an image came from: the same through every way that leads to it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_samples import encode, smooth
from PIL import Image

from calotype.data import Images, load, prepare
from calotype.data.partner import LoadOptions, load_sides
from calotype.data.prepared import read_prepared
from calotype.errors import DamagedError, UserError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Thirty pictures in two classes, told apart by their brightest pixel, and one that is none."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as out:
        for n in range(30):
            image = Image.fromarray(np.full((16, 16), 5 + 8 * n, np.uint8))
            out.writestr(f"set/{'cat' if n % 3 else 'dog'}/{n}.png", encode(image, "PNG"))
        out.writestr("set/cat/5 not one.png", b"no")
    return path


def brightness(images: Images) -> list[int]:
    """The number in the name of each file."""
    return [(int(image.max()) - 5) // 8 for image in images.pixels]


def named(images: Images) -> list[int]:
    return [int(file.rsplit("/", 1)[1].removesuffix(".png")) for file in images.files]


def test_every_image_is_named_by_its_file(archive: Path, tmp_path: Path) -> None:
    prepare(str(archive), tmp_path / "all")
    prepare(str(tmp_path / "all.calotype"), tmp_path / "small", size=8)
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path / "folder", [name for name in zipped.namelist() if "not" not in name])
    fresh, cached = load(str(archive)), load(str(archive))
    for split in (fresh, cached, *(load(str(tmp_path / name)) for name in ("all.calotype", "small.calotype", "folder"))):
        for part in (split.train, split.holdout):
            assert len(part) == len(part.files) > 0
            assert named(part) == brightness(part)
    resized = load(str(tmp_path / "all.calotype"), size=8).train
    assert named(resized) == brightness(resized)
    assert fresh.train.files[0].startswith("set/")
    assert fresh.train.name_of(0) == fresh.train.files[0]


def test_some_images_keep_their_files(archive: Path) -> None:
    images = load(str(archive)).train
    for rows in (np.array([4, 0, 7]), np.arange(len(images)) % 2 == 0, slice(3, 9)):
        some = images.take(rows)
        assert named(some) == brightness(some)
        assert some.labels is not None
        assert [some.classes[label] for label in some.labels] == [file.split("/")[1] for file in some.files]


def test_sources_without_files_name_none() -> None:
    images = load("mnist5k").train
    assert images.files == ()
    assert images.take(slice(0, 3)).files == ()
    assert images.name_of(12) == "mnist5k 12"


def test_tiles_of_one_picture_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    smooth(48, 24, 1).save(tmp_path / "wide/a.png")
    smooth(24, 24, 2).save(tmp_path / "wide/b.png")
    images = load(str(tmp_path / "wide"), size=24, fit="tile", holdout=0).train
    assert sorted(images.files) == ["a.png, tile 1", "a.png, tile 2", "b.png"]


def test_pairs_are_named_by_the_files_that_they_are(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / f"both/train{side}").mkdir(parents=True)
        for n in range(6):
            smooth(16, 16, n).save(tmp_path / f"both/train{side}/{n}.png")
    for paired in (True, False):
        split = load_sides(str(tmp_path / "both"), "auto", paired, LoadOptions(holdout=0.2))
        assert split.train.partner is not None
        assert {file.split("/")[0] for file in split.train.files} == {"trainB"}
        assert {file.split("/")[0] for file in split.train.partner.files} == {"trainA"}
        assert len(split.train.files) == len(split.train)


def test_a_file_without_names_is_read_and_damaged_names_are_found(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("mnist5k", tmp_path / "digits")
    assert read_prepared(tmp_path / "digits.calotype").facts.files is None  # as every file was written before names were kept
    compress = zlib.compress
    monkeypatch.setattr(zlib, "compress", lambda data: compress(data[:-20]))
    with pytest.raises(UserError, match="names of its files are damaged"):
        prepare(str(archive), tmp_path / "short")
    with pytest.raises(DamagedError, match="names of its files are damaged"):
        read_prepared(tmp_path / "short.calotype")
