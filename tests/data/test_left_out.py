"""Whatever cannot be used is left out by name and with its reason, the same by every command; nothing is left out without a word."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import encode, smooth
from PIL import Image

from calotype.cli import main
from calotype.cli.check_text import describe
from calotype.data import check, load, prepare
from calotype.data.decode import decode_tiles
from calotype.data.files import Zip
from calotype.data.images import Skipped, told
from calotype.data.parallel import workers
from calotype.data.partner import LoadOptions, load_sides
from calotype.errors import UserError
from calotype.recipes.choice import of_check
from tests.fuzz import attempt

Write = Callable[[dict[str, Image.Image | bytes]], Path]
GOOD = {f"{n}.png": encode(smooth(16, 16, n), "PNG") for n in range(20)}
HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(900)
UNREAD = {
    "a.jxl": (b"\xff\x0a" + bytes(60), "JPEG XL"),
    "named.jpg.psd": (b"8BPS" + bytes(60), "PSD"),
    "no suffix": (b"v/1\x01" + bytes(60), "OpenEXR"),
    "b.CR2": (b"?" * 60, "raw picture"),
    "c.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "d.kra": (b"PK", "Krita"),
    "e.mov": (bytes(60), "a video"),
    "f.MP4": (b"", "a video"),
}


def everywhere(source: Path) -> list[dict[str, str]]:
    """What checking, training and preparing leave out, by name."""
    prepare(str(source), source.with_suffix(".calotype"), size=16)
    found = check(str(source)).skipped, load(str(source), size=16).train.skipped, load(str(source.with_suffix(".calotype"))).train.skipped
    return [{one.name: one.reason for one in skipped} for skipped in found]


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_of_other_kinds_and_videos(write_tree: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr("calotype.data.kinds.reads_heif", lambda: False)
    monkeypatch.setattr("calotype.data.files.reads_heif", lambda: False)
    files = {**GOOD, "IMG_1.HEIC": HEIC, "note.txt": b"x", "._IMG_1.HEIC": HEIC, **{name: data for name, (data, _) in UNREAD.items()}}
    source = write_tree(files)  # type: ignore[arg-type]
    if packed:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
            for name, content in files.items():
                out.writestr(name, content)
        source = tmp_path / "a.zip"
    for left_out in everywhere(source):
        assert left_out.keys() == {*UNREAD, "IMG_1.HEIC"}
        assert left_out["IMG_1.HEIC"] == "HEIC, which needs pip install pillow-heif"
        assert all(kind in left_out[name] for name, (_, kind) in UNREAD.items())
    assert check(str(source)).others == 2


def test_a_folder_of_nothing_else_says_so_in_one_line(write_tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.data.kinds.reads_heif", lambda: False)
    source = str(write_tree({f"{n}.heic": HEIC for n in range(30)}))
    for read in (check, load):
        with pytest.raises(UserError, match=r"no usable image: 30 files were skipped, the first \(0.heic\): HEIC, which needs pip install"):
            read(source)


def test_the_other_side_does_not_lose_them_either(write_tree: Write) -> None:
    sides = {f"train{side}/{name}": data for side in "AB" for name, data in GOOD.items()}
    sides |= {"trainA/x.psd": b"8BPS", "trainB/y.mov": b""}
    whole = {**GOOD, "x.psd": b"8BPS", "y.mov": b""}
    for paired in (True, False):
        split = load_sides(str(write_tree(sides)), "auto", paired, LoadOptions())  # type: ignore[arg-type]
        assert sorted(one.name for one in split.train.skipped) == ["trainA/x.psd", "trainB/y.mov"]
        split = load_sides(str(write_tree(whole)), "halves", paired, LoadOptions(size=8))  # type: ignore[arg-type]
        assert [one.name for one in split.train.skipped] == ["x.psd", "y.mov"]


KINDS = ["GIF", "PNG", "BMP", "PCX", "TIFF", "WEBP", "JPEG", "TGA", "SGI", "ICO", "PPM", "JPEG2000"]
WITHOUT_PALETTE = {"JPEG", "SGI", "PPM", "JPEG2000"}


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind in KINDS for mode in ("P", "L", "RGB") if mode != "P" or kind not in WITHOUT_PALETTE]
)
def test_one_file_cut_in_half_is_named_everywhere(write_tree: Write, capsys: pytest.CaptureFixture[str], kind: str, mode: str) -> None:
    picture = smooth(64, 64).quantize(64) if mode == "P" else smooth(64, 64).convert(mode)
    data = encode(picture, kind)
    suffix = {"JPEG2000": "jp2"}.get(kind, kind.lower())
    source = write_tree({**GOOD, f"half.{suffix}": data[: len(data) // 2]})  # type: ignore[dict-item]
    one, two, three = everywhere(source)
    assert one == two == three
    assert set(one) <= {f"half.{suffix}"}
    assert one or kind == "JPEG2000"  # which is decoded from the half that is there
    pairs = write_tree({f"train{side}/{name}": data for side in "AB" for name, data in GOOD.items()})  # type: ignore[misc]
    (pairs / f"trainA/half.{suffix}").write_bytes(data[: len(data) // 2])
    encoded = encode(smooth(64, 64), "PNG")
    (pairs / "trainB/half.png").write_bytes(encoded)
    split = load_sides(str(pairs), "auto", True, LoadOptions(size=16))
    assert {entry.name for entry in split.train.skipped} <= {f"trainA/half.{suffix}"}
    assert main(["data", "check", str(source)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def members(path: Path, *names: str, change: Callable[[bytes], bytes] = lambda data: data) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for index, name in enumerate(names):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, encode(smooth(16, 16, index), "PNG"))
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_under_every_name(tmp_path: Path) -> None:
    names = (
        "",
        ".",
        "..",
        "../a.png",
        "b/../../c.png",
        "/d.png",
        "e\\f.png",
        "./g.png",
        "h.png",
        "h.png",
        "i/",
        "j\\",
        "k.png\0.txt",
        "~.png",
    )
    left_out = everywhere(members(tmp_path / "a.zip", *names))
    assert left_out[0] == left_out[1] == left_out[2]
    assert left_out[0].keys() == {"(no name)", ".", "..", "../a.png", "b/../../c.png", "h.png", "k.png"}
    assert check(str(tmp_path / "a.zip")).images == 5
    assert [path.name for path in tmp_path.parent.glob("*.png")] == []


def test_members_that_cannot_be_unpacked(tmp_path: Path) -> None:
    def method(data: bytes) -> bytes:
        place = data.index(b"PK\x01\x02")
        return data[: place + 10] + struct.pack("<H", 97) + data[place + 12 :]  # a way of compression that nobody knows

    left_out = everywhere(members(tmp_path / "a.zip", "a.png", "b.png", "c.png", change=method))
    assert left_out[0] == left_out[1]
    assert "cannot be unpacked" in left_out[0]["a.png"]
    commented = members(tmp_path / "b.zip", "a.png", "b.png")
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"x" * 65_000
    assert len(load(str(commented), holdout=0).train) == 2


def test_a_member_does_not_unpack_to_more_than_it_declares(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(700 << 20))
        archive.writestr("a.png", GOOD["0.png"])
        archive.writestr("b.png", GOOD["1.png"])
    declared = data.getvalue().replace(struct.pack("<I", 700 << 20), struct.pack("<I", 100))
    for number, content in enumerate((data.getvalue(), declared)):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        attempt(lambda path=path: load(str(path), holdout=0))  # type: ignore[misc]
        assert [one.name for one in check(str(path)).skipped] == ["bomb.png"]


def test_check_and_training_hold_out_the_same_where_a_part_cannot_be_decoded(write_tree: Write) -> None:
    files: dict[str, Image.Image | bytes] = {f"{part}/{name}": data for part in ("train", "test") for name, data in GOOD.items()}
    for name in ("3.png", "7.png"):
        files[f"train/{name}"] = GOOD[name][:-20]
        files[f"test/{name}"] = b"no"
    source = str(write_tree(files))
    found, split = check(source), load(source)
    assert (found.train, found.holdout, found.own_split) == (len(split.train), len(split.holdout), True) == (18, 18, True)
    loose = str(write_tree({**GOOD, **{f"x{n}.png": GOOD["3.png"][:-20] for n in range(20)}}))  # type: ignore[dict-item]
    found, split = check(loose), load(loose)
    assert (found.train, found.holdout) == (len(split.train), len(split.holdout)) == (18, 2)


def test_nothing_to_train_on_is_said(write_tree: Write) -> None:
    files: dict[str, Image.Image | bytes] = {f"test/{name}": data for name, data in GOOD.items()}
    source = str(write_tree(files | {"train/a.png": GOOD["0.png"][:-20]}))
    with pytest.raises(UserError, match=r"no usable image to train on: all 20 are held out; of the others train/a.png: cut off"):
        load(source)
    assert "nothing to train on" in "\n".join(describe(check(source), of_check(check(source))))
    only_strays: dict[str, Image.Image | bytes] = {f"{name}/{n}.png": GOOD["0.png"][:-20] for name in "ab" for n in range(3)}
    source = str(write_tree(only_strays | {"stray.png": GOOD["0.png"]}))
    for read in (check, load):
        with pytest.raises(UserError, match="no usable image: 7 files were skipped"):
            read(source)


def test_tiny_sets(write_tree: Write) -> None:
    alone = {f"{n}/a.png": smooth(16, 16, n) for n in range(30)}
    for files, train, held in ((dict(list(alone.items())[:1]), 1, 0), (dict(list(alone.items())[:2]), 2, 0), (alone, 27, 3)):
        source = str(write_tree(dict(files)))
        assert (check(source).train, check(source).holdout) == (train, held)
        split = load(source)
        assert (len(split.train), len(split.holdout)) == (train, held)
    many = check(str(write_tree({f"{n}.png": smooth(16, 16, n % 3) for n in range(300)})))
    assert (many.exact_extra, many.near_pairs) == (297, 0)


def test_names_with_controls_are_printable_and_classes_stay_apart(write_tree: Write, capsys: pytest.CaptureFixture[str]) -> None:
    files: dict[str, Image.Image | bytes] = {}
    for folder in ("\x1b[31mred", "\x07[31mred", "plain\nline", "x" * 200):
        files |= {f"{folder}/\x1b[2K{name}": data for name, data in list(GOOD.items())[:5]}
        files[f"{folder}/bad\x1b.png"] = b"no"
    files["stray\r.png"] = GOOD["0.png"]
    source = write_tree(files)
    split = load(str(source))
    assert len(set(split.train.classes)) == 4
    assert split.train.classes == tuple(check(str(source)).classes)
    text = "".join((*split.train.classes, *(f"{one.name}{one.reason}" for one in split.train.skipped), *split.train.files))
    assert main(["data", "check", str(source)]) == 0
    said = capsys.readouterr()
    for character in "\x1b\x07\r":
        assert character not in text + said.out
    assert "\n" not in text
    assert sorted(np.bincount(split.train.labels).tolist() if split.train.labels is not None else []) == [4, 4, 5, 5]


def test_reasons_that_many_share_are_told_once() -> None:
    many = [Skipped(f"{n}.heic", "HEIC") for n in range(1200)]
    assert told([Skipped("a.png", "cut off"), *many], 10) == ["a.png: cut off", "0.heic, 1.heic, 2.heic and 1,197 more: HEIC"]
    assert told(many[:2], 1) == ["0.heic, 1.heic: HEIC"]
    assert told(many[:2], 2) == ["0.heic: HEIC", "1.heic: HEIC"]


def test_photographs_cut_into_tiles_wait_for_the_disk_one_by_one(write_tree: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    handed: list[Future[Any]] = []
    cut = decode_tiles

    class Pool(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            handed.append(super().submit(*args, **kwargs))
            return handed[-1]

    def counted(data: bytes, name: str, size: int, channels: int) -> list[np.ndarray]:
        begun.append(name)
        return cut(data, name, size, channels)

    def slow(out: Path, rows: Iterator[object], *_: object, **__: object) -> None:
        next(rows)
        wait(handed)  # all that may be begun before the next row is asked for
        raise UserError(f"{len(begun)} of them were in memory")

    module = import_module("calotype.data.prepare")
    monkeypatch.setattr(module, "decode_tiles", counted)
    monkeypatch.setattr(module, "write_prepared", slow)
    monkeypatch.setattr("calotype.data.parallel.ThreadPoolExecutor", Pool)
    source = write_tree({f"{n}.png": smooth(16, 16, n) for n in range(400)})
    with pytest.raises(UserError, match="in memory"):
        load(str(source), fit="tile")
    assert 1 <= len(begun) <= 4 * workers()


def test_an_archive_that_changed_under_way_is_no_traceback(tmp_path: Path) -> None:
    path = members(tmp_path / "a.zip", "a.png", "b.png", "c")
    opened = Zip(path)
    assert len(opened.listing().images) == 3
    path.write_bytes(b"")
    with pytest.raises(Exception, match="cannot be unpacked"):
        opened.read("a.png")
