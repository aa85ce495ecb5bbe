import errno
import os
import shutil
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_samples import encode, smooth
from PIL import Image

from calotype.data import load, prepare
from calotype.data.fit import fit_array
from calotype.data.prepared import read_prepared
from calotype.errors import CalotypeError, DamagedError, UserError
from calotype.files import has_space, obstacle, write_json


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "My Photos.zip"
    with zipfile.ZipFile(path, "w") as out:
        for n in range(30):
            out.writestr(f"{'cat' if n % 3 else 'dog'}/{n}.png", encode(smooth(20, 20, n), "PNG"))
        out.writestr("cat/broken.png", b"no")
    return path


def written(cache: Path) -> list[Path]:
    return sorted((cache / "prepared").glob("*.calotype"))


def test_round_trip(archive: Path, tmp_path: Path) -> None:
    images = prepare(str(archive), tmp_path / "photos", size=16)
    direct = load(str(archive), size=16)
    back = load(str(tmp_path / "photos.calotype"))
    assert back.fingerprint == direct.fingerprint
    assert (back.train.pixels == direct.train.pixels).all()
    assert back.train.skipped == direct.train.skipped == images.skipped
    assert [s.name for s in images.skipped] == ["cat/broken.png"]
    assert back.train.classes == images.classes == ("cat", "dog")
    assert len(images) == 30
    assert images.name == back.train.name == "photos"
    assert load(str(tmp_path / "photos.calotype"), holdout=0).train.fingerprint == images.fingerprint


def test_embedded_set_keeps_its_split(tmp_path: Path) -> None:
    prepare("mnist5k", tmp_path / "digits.calotype")
    assert load(str(tmp_path / "digits.calotype"), holdout=0.4).fingerprint == load("mnist5k").fingerprint


def test_other_shape_of_a_prepared_file(archive: Path, tmp_path: Path) -> None:
    prepare(str(archive), tmp_path / "a")
    whole, small = load(str(tmp_path / "a.calotype")), load(str(tmp_path / "a.calotype"), size=8, channels=1)
    assert (small.holdout.pixels == fit_array(whole.holdout.pixels, 8, 1, "crop")).all()
    assert small.train.labels is not None
    assert whole.train.labels is not None
    assert (small.train.labels == whole.train.labels).all()
    again = prepare(str(tmp_path / "a.calotype"), tmp_path / "b", size=8, channels=1)
    assert load(str(tmp_path / "b.calotype")).fingerprint == small.fingerprint
    assert len(again) == 30


def test_share_is_stratified_and_nested(archive: Path) -> None:
    half, third = load(str(archive), holdout=0.5), load(str(archive), holdout=0.3)
    assert half.holdout.labels is not None
    assert np.bincount(half.holdout.labels).tolist() == [10, 5]
    assert (half.holdout.pixels[: len(third.holdout)] == third.holdout.pixels).all()
    assert len(half.train) + len(half.holdout) == 30
    rows = {image.tobytes() for part in (half.train, half.holdout) for image in part.pixels}
    assert len(rows) == 30


def test_cache_is_used_until_the_source_changes(archive: Path, cache: Path) -> None:
    first = load(str(archive))
    (file,) = written(cache)
    stamp = file.stat().st_mtime_ns
    assert load(str(archive)).fingerprint == first.fingerprint
    assert written(cache) == [file]
    assert file.stat().st_mtime_ns == stamp
    load(str(archive), size=8)
    assert len(written(cache)) == 2
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr("dog/more.png", encode(smooth(20, 20, 99), "PNG"))
    assert len(load(str(archive), holdout=0).train) == 31
    assert len(written(cache)) == 2  # the one that went stale is gone
    assert file not in written(cache)


def test_cache_of_a_folder_sees_a_changed_file(write_tree: object, cache: Path) -> None:
    folder = write_tree({f"{n}.png": smooth(seed=n) for n in range(4)})  # type: ignore[operator]
    first = load(str(folder))
    path = folder / "2.png"
    about = path.stat()
    Image.new("RGB", (40, 40), "red").save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert load(str(folder)).fingerprint != first.fingerprint
    assert len(written(cache)) == 1


DAMAGES = {
    "cut": lambda data, place: data[:-1],
    "longer": lambda data, place: data + b"\0",
    "empty": lambda data, place: b"",
    "magic": lambda data, place: b"X" + data[1:],
    "version": lambda data, place: data[:15] + b"\x09" + data[16:],
    "preamble": lambda data, place: data[:20] + b"\xff" + data[21:],
    "header": lambda data, place: data[:-5] + b"?" + data[-4:],
    "pixel": lambda data, place: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "label": lambda data, place: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],
    "digest": lambda data, place: data[: place + 500] + bytes([data[place + 500] ^ 1]) + data[place + 501 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_rebuilt(archive: Path, cache: Path, damage: str) -> None:
    whole = load(str(archive))
    (file,) = written(cache)
    data = file.read_bytes()
    place = read_prepared(file).facts.labels
    file.write_bytes(DAMAGES[damage](data, place))
    with pytest.raises(DamagedError):
        read_prepared(file)
    again = load(str(archive))
    assert again.fingerprint == whole.fingerprint
    assert (again.train.pixels == whole.train.pixels).all()
    assert file.read_bytes() == data


def test_damaged_prepared_file_is_the_users_to_mend(archive: Path, tmp_path: Path) -> None:
    prepare(str(archive), tmp_path / "a")
    file = tmp_path / "a.calotype"
    data = file.read_bytes()
    file.write_bytes(data[:-7])
    with pytest.raises(UserError, match=r"is damaged.*write it again"):
        load(str(file))
    file.write_bytes(b"")
    with pytest.raises(UserError, match="not a prepared file"):
        load(str(file))


def test_pixels_of_a_mapped_file_are_verified_on_request(archive: Path, tmp_path: Path) -> None:
    prepare(str(archive), tmp_path / "a")
    file = tmp_path / "a.calotype"
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(bytes(data))
    read_prepared(file, in_memory=0)
    with pytest.raises(DamagedError, match="1 of its 30 images"):
        read_prepared(file, in_memory=0, verify=True)


def test_full_disk_is_said_before_anything_is_written(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no space"):
        prepare(str(archive), out / "a")
    assert list(out.iterdir()) == []


def test_disk_that_fills_up_leaves_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.calotype").write_bytes(b"old")
    with pytest.raises(CalotypeError, match="no space left"):
        prepare(str(archive), out / "a")
    assert [(p.name, p.read_bytes()) for p in out.iterdir()] == [("a.calotype", b"old")]


def test_any_other_failure_names_the_file_and_not_its_temporary(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    for name, problem in (("replace", PermissionError), ("fsync", OSError)):
        with pytest.MonkeyPatch.context() as patch:
            number = errno.EACCES if problem is PermissionError else errno.EIO

            def fail(*places: object, number: int = number) -> None:
                raise OSError(number, "?", *(str(place) for place in places if isinstance(place, Path)))

            patch.setattr(os, name, fail)
            with pytest.raises(problem) as caught:
                write_json(out, {})
        assert caught.value.filename == str(out)
        assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == []
    write_json(out, {})
    assert [place.name for place in tmp_path.iterdir()] == ["out.json"]


def test_file_system_that_counts_no_space_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 0))
    assert has_space(tmp_path / "new", 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
    assert not has_space(tmp_path / "new", 10**9)


def test_obstacles_are_found_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert obstacle(tmp_path / "new") is None
    assert obstacle(tmp_path / "file") is None  # a file is replaced
    assert obstacle(tmp_path / "a" / "b", folder=True) is None
    assert obstacle(tmp_path) == "it is a folder"
    assert obstacle(tmp_path / "a" / "b") == f"there is no folder {tmp_path / 'a'}"
    assert obstacle(tmp_path / "file", folder=True) == "it is a file, not a folder"
    assert obstacle(tmp_path / "file" / "a" / "b", folder=True) == f"{tmp_path / 'file'} is a file, not a folder"
    assert [place.name for place in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_interruption_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(str(archive), out / "a", progress=stop)
    assert list(out.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_any_picture_is_looked_at(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.calotype").mkdir()
    seen: list[int] = []
    for out, why in (("file/deep/a", "is a file, not a folder"), ("folder", "it is a folder")):
        with pytest.raises(UserError, match=why):
            prepare(str(archive), tmp_path / out, progress=lambda done, total: seen.append(done))
    assert seen == []
    prepare(str(archive), tmp_path / "new" / "folders" / "a", progress=lambda done, total: seen.append(done))
    assert seen[0] == 0  # while headers are read
    assert seen[-1] == 30


def test_cache_that_cannot_be_written(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="CALOTYPE_CACHE"):
        load(str(archive), cache=tmp_path / "file" / "cache")


def test_progress_counts_up_to_all(archive: Path) -> None:
    calls: list[tuple[int, int]] = []
    load(str(archive), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (30, 30)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_large_sets_are_mapped(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = load(str(archive))
    monkeypatch.setattr("calotype.data.prepared.memory_limit", lambda: 100)
    mapped = load(str(archive))
    assert mapped.fingerprint == held.fingerprint
    assert isinstance(mapped.train.pixels, np.memmap)
    assert (mapped.train.pixels == held.train.pixels).all()


def test_a_prepared_file_is_called_by_its_own_name(write_tree: Callable[[dict[str, Image.Image | bytes]], Path], tmp_path: Path) -> None:
    folder = write_tree({f"{n}.png": smooth(16, 16, n) for n in range(12)})
    before = prepare(str(folder), tmp_path / "Clothing, small.calotype")
    split = load(str(tmp_path / "Clothing, small.calotype"))
    assert split.train.name == split.holdout.name == "clothing-small"
    assert before.fingerprint == prepare(str(folder), tmp_path / "other.calotype").fingerprint  # whatever it is called
