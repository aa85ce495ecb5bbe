import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_samples import OTHERS, UNUSABLE, USABLE, encode, hostile_files, smooth
from PIL import Image

from calotype.data import load
from calotype.data.files import Folder, Zip
from calotype.data.folder_layout import arrange
from calotype.errors import UserError
from calotype.tasks.inputs import open_inputs

Write = Callable[[dict[str, Image.Image | bytes]], Path]


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return out


def test_hostile_folder(hostile: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said to the user but what we say
        split = load(str(hostile), size=16, holdout=0)
    assert len(split.train) == USABLE
    assert len(split.holdout) == 0
    assert split.train.spec.channels == 3
    expected = {name for name in hostile_files() if name.startswith("bad/")} | {"bad/dangling.png"}
    assert {skipped.name for skipped in split.train.skipped} == expected
    assert len(expected) == UNUSABLE + 1
    assert all(skipped.reason for skipped in split.train.skipped)


def test_hostile_zip_equals_hostile_folder(hostile: Path, tmp_path: Path) -> None:
    for link in ("deep/loop", "bad/dangling.png", "pipe.png"):
        (hostile / link).unlink()
    archive = tmp_path / "hostile.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in hostile_files().items():
            out.writestr(name, data)
    one, other = (load(str(path), size=16) for path in (hostile, archive))
    assert one.fingerprint == other.fingerprint
    assert {s.name for s in one.train.skipped} == {s.name for s in other.train.skipped}


def test_listing_counts_what_is_no_image(hostile: Path) -> None:
    assert Folder(hostile).listing().others == OTHERS  # the pipe counts, what lies under __MACOSX is never visited


def test_encrypted_and_corrupt_members_are_skipped(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for n in range(6):
            out.writestr(f"{n}.png", encode(smooth(seed=n), "PNG"))
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as members:
        infos = members.infolist()
    data[infos[2].header_offset + 200] ^= 0xFF  # the contents of one
    central = data.find(b"PK\x01\x02", infos[-1].header_offset)
    data[central + 8] |= 1  # the flags of the first: encrypted
    archive.write_bytes(bytes(data))
    split = load(str(archive), holdout=0)
    assert len(split.train) == 4
    assert {s.name: s.reason for s in split.train.skipped}["0.png"].startswith("encrypted: unpack it")
    assert "CRC" in {s.name: s.reason for s in split.train.skipped}["2.png"]


def test_member_that_declares_too_much_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.data.files.Files.largest", 10_000)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("huge.png", bytes(20_000))
        out.writestr("a.png", encode(smooth(), "PNG"))
        out.writestr("b.png", encode(smooth(), "PNG"))
    split = load(str(archive), holdout=0)
    assert len(split.train) == 2
    assert "limit" in split.train.skipped[0].reason


def test_more_pixels_allow_larger_files_in_archives_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(smooth(16, 16), "BMP")
    monkeypatch.setattr("calotype.tasks.inputs.MAX_BYTES", len(data) - 1)
    monkeypatch.setattr("calotype.data.files.Files.largest", len(data) - 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.bmp", data)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.bmp").write_bytes(data)
    for source in ("a.zip", "in"):
        with open_inputs(str(tmp_path / source), most=16 * 16) as inputs:
            assert inputs.picture("a.bmp").size == (16, 16)
    with open_inputs(str(tmp_path / "a.zip"), most=16) as inputs:
        assert [one.reason for one in inputs.skipped] == [f"declares {len(data):,} bytes, the limit is 0 MiB"]


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_broken_zip(tmp_path: Path, damage: str, write_tree: Write) -> None:
    archive = zipped(write_tree({"a/1.png": smooth(), "b/1.png": smooth()}), tmp_path / "a.zip")
    archive.write_bytes(archive.read_bytes()[:-40] if damage == "cut" else b"I am no archive")
    with pytest.raises(UserError, match="not a readable zip archive"):
        load(str(archive))


def test_unreadable_file_is_skipped(write_tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tree({f"{n}.png": smooth(seed=n) for n in range(4)})
    real = Path.open

    def guarded(self: Path, *args: object, **options: object) -> object:
        if self.name == "2.png":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", guarded)
    split = load(str(folder), holdout=0)
    assert len(split.train) == 3
    assert [(s.name, s.reason) for s in split.train.skipped] == [("2.png", "cannot be read: Permission denied")]


def test_unreadable_folder_is_skipped(write_tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tree({"a/1.png": smooth(), "b/1.png": smooth(), "c/1.png": smooth()})
    real = os.scandir

    def guarded(path: str | Path) -> object:
        if Path(path).name == "b":  # without taking rights away, for root has them all
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("calotype.data.files.os.scandir", guarded)
    split = load(str(folder), holdout=0)
    assert split.train.skipped[0].name == "b/"


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"bad\xff.png"):
        (folder / os.fsdecode(name)).write_bytes(encode(smooth(), "PNG") if name.startswith(b"caf") else b"no")
    split = load(str(folder), holdout=0)
    assert len(split.train) == 1
    assert split.train.skipped[0].name.encode("utf-8")


def test_class_folders_become_labels(write_tree: Write) -> None:
    files: dict[str, Image.Image | bytes] = {f"{c}/{n}.png": Image.new("L", (8, 8), 10 * c + n) for c in (10, 2, 1) for n in range(10)}
    files["10/deep/er/x.png"] = Image.new("L", (8, 8), 200)
    split = load(str(write_tree(files)), holdout=0.2)
    assert split.train.classes == ("1", "2", "10")  # natural order
    assert split.train.labels is not None
    assert split.holdout.labels is not None
    assert np.bincount(split.holdout.labels).tolist() == [2, 2, 2]
    values = split.train.pixels[:, 0, 0, 0].astype(int)
    assert all(split.train.labels[np.flatnonzero(values == 200)] == 2)
    assert (split.train.labels[values < 20] == 0).all()


def test_one_level_has_no_labels(write_tree: Write) -> None:
    split = load(str(write_tree({f"{n}.png": smooth(seed=n) for n in range(20)})), holdout=0.25)
    assert split.train.labels is None
    assert split.train.classes == ()
    assert (len(split.train), len(split.holdout)) == (15, 5)


def test_train_and_test_folders_are_the_split(write_tree: Write) -> None:
    files: dict[str, Image.Image | bytes] = {f"set/train/{c}/{n}.png": Image.new("L", (8, 8), n) for c in "ab" for n in range(5)}
    files |= {f"set/test/{c}/{n}.png": Image.new("L", (8, 8), 100 + n) for c in "ab" for n in range(2)}
    split = load(str(write_tree(files)))
    assert split.train.classes == ("a", "b")
    assert split.train.pixels.max() < 100 <= split.holdout.pixels.min()
    assert (len(split.train), len(split.holdout)) == (10, 4)
    assert split.holdout.labels is not None
    assert sorted(split.holdout.labels) == [0, 0, 1, 1]


def test_arrange() -> None:
    assert arrange(["x/y/a/1.png", "x/y/b/1.png"]).classes == ("a", "b")  # shared folders say nothing
    assert arrange(["cats/1.png", "cats/2.png"]).labels is None  # one class is none
    stray = arrange(["a/1.png", "a/2.png", "b/1.png", "cover.png"])
    assert stray.names == ("a/1.png", "a/2.png", "b/1.png")
    assert stray.strays == ("cover.png",)
    mostly_loose = arrange([*(f"{n}.png" for n in range(9)), "a/1.png", "b/1.png"])
    assert mostly_loose.labels is None
    assert len(mostly_loose.names) == 11
    assert arrange(["train/1.png", "val/1.png"]).holdout is not None
    assert arrange(["train/1.png", "pain/1.png"]).holdout is None
    assert arrange(["10.png", "9.png"]).names == ("9.png", "10.png")


def test_size_and_channels_of_the_source(write_tree: Write) -> None:
    assert load(str(write_tree({f"{n}.png": smooth(24, 24, n).convert("L") for n in range(3)}))).train.spec.shape == (1, 24, 24)
    mixed = write_tree({"1.png": smooth(24, 24), "2.png": smooth(24, 24).convert("L")})
    assert load(str(mixed)).train.spec.shape == (3, 24, 24)
    assert load(str(mixed), channels=1).train.spec.shape == (1, 24, 24)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (
            {"1.png": smooth(80, 80), "2.png": smooth(70, 80)},
            "2 different sizes.*[12].png is [78]0x80.*`size=64`; of images that are not square",
        ),
        (
            {"1.png": smooth(40, 50), "2.png": smooth(40, 50)},
            "40x50, not square.*`size=32`; of images that are not square the middle square is kept, unless fit is pad or stretch",
        ),
        ({"1.png": smooth(5, 5)}, "5x5, a size out of range.*`size=8`"),
        ({}, "is empty"),
        ({"a.txt": b"hello"}, "holds no image: its one file is no picture"),
        ({"a.txt": b"hello", "b.txt": b"hello"}, "holds no image: none of its 2 files is a picture"),
        ({"a.png": b"hello"}, "no usable image: 1 file was skipped"),
        ({"a.png": b"hello", "b.jpg": b""}, "no usable image: 2 files were skipped"),
    ],
)
def test_sources_that_cannot_be_used(write_tree: Write, files: dict[str, Image.Image | bytes], line: str) -> None:
    folder = write_tree(files)
    folder.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=line):
        load(str(folder))


def test_usable_headers_but_no_usable_image(write_tree: Write) -> None:
    png = encode(smooth(), "PNG")
    with pytest.raises(UserError, match="no usable image"):
        load(str(write_tree({"a.png": png[:-20], "b.png": png[: len(png) // 2]})))


def test_unknown_sources(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(UserError, match="did you mean mnist5k"):
        load("mnist5")
    with pytest.raises(UserError, match=r"did you mean .*photos"):
        load(str(tmp_path / "photo"))
    with pytest.raises(
        UserError, match="accepted are mnist5k, clothing, photos, mnist, fashion-mnist, cifar10, ring, grid, stacked5k, a folder"
    ):
        load("zebra")
    with pytest.raises(UserError, match="no source"):
        load("")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="not a source of images"):
        load(str(tmp_path / "notes.txt"))
    with pytest.raises(UserError):
        load("x" * 5000)


def test_members_named_by_another_system(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("set\\cat\\1.png", "set\\dog\\1.png", "set/dog/2.png"):
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            out.writestr(info, encode(smooth(), "PNG"))
    assert Zip(archive).listing().images == ("set/cat/1.png", "set/dog/1.png", "set/dog/2.png")
    assert load(str(archive)).train.classes == ("cat", "dog")
