import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from calotype.data import load
from calotype.data.idx_cifar import CIFAR10_CLASSES, read_folder
from calotype.errors import UserError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def digits(count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.zeros((count, 10, 10), np.uint8)
    pixels[:, 3, 3] = start + np.arange(count)
    return pixels, np.arange(count) % 4


def write_idx(folder: Path, part: str, count: int, start: int = 0, packed: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    for kind, array in zip(("images-idx3", "labels-idx1"), digits(count, start), strict=True):
        data = idx(array)
        (folder / f"{part}-{kind}-ubyte{'.gz' if packed else ''}").write_bytes(gzip.compress(data, mtime=0) if packed else data)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_with_its_own_split(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path / "set", "train", 30, packed=packed)
    write_idx(tmp_path / "set", "t10k", 8, 100, packed=packed)
    split = load(str(tmp_path / "set"))
    assert split.train.pixels[:, 3, 3, 0].tolist() == list(range(30))
    assert split.holdout.pixels[:, 3, 3, 0].tolist() == list(range(100, 108))
    assert split.train.labels is not None
    assert split.train.labels.tolist() == [n % 4 for n in range(30)]
    assert split.train.classes == tuple("0123")


def test_parts_in_memory_are_not_copied(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", "train", 30)
    write_idx(tmp_path / "set", "t10k", 8)
    split = load(str(tmp_path / "set"))
    assert split.train.pixels.base is split.holdout.pixels.base is not None
    assert load("mnist5k").train.pixels.flags.writeable  # as what is read from the package is not


def test_idx_with_one_part_is_carved(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", "t10k", 40)
    split = load(str(tmp_path / "set"), holdout=0.2)
    assert (len(split.train), len(split.holdout)) == (32, 8)
    assert split.holdout.labels is not None
    assert np.bincount(split.holdout.labels).tolist() == [2, 2, 2, 2]


def test_idx_without_labels(tmp_path: Path) -> None:
    write_idx(tmp_path / "set", "train", 30)
    (tmp_path / "set" / "train-labels-idx1-ubyte.gz").unlink()
    assert load(str(tmp_path / "set")).train.labels is None


def damage_idx(folder: Path, kind: str) -> None:
    images = folder / "train-images-idx3-ubyte"
    data = images.read_bytes()
    if kind == "cut":
        images.write_bytes(data[:-1])
    elif kind == "magic":
        images.write_bytes(b"\x01" + data[1:])
    elif kind == "gzip":
        images.write_bytes(gzip.compress(data, mtime=0)[:-30])
    elif kind == "labels":
        (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(7)))
    elif kind == "lonely":
        images.unlink()
    elif kind == "promise":  # a header of 4 billion images
        images.write_bytes(data[:4] + b"\xff" * 12 + data[16:])


@pytest.mark.parametrize("kind", ["cut", "magic", "gzip", "labels", "lonely", "promise"])
def test_damaged_idx(tmp_path: Path, kind: str) -> None:
    write_idx(tmp_path / "set", "train", 30, packed=False)
    damage_idx(tmp_path / "set", kind)
    with pytest.raises(UserError):
        load(str(tmp_path / "set"))


def batch(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.RandomState(seed)
    return rng.randint(0, 256, (count, 3072)).astype(np.uint8), rng.randint(0, 10, count).tolist()


def write_cifar(folder: Path, binary: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        rows, labels = batch(6, number)
        if binary:
            table = np.concatenate([np.array(labels, np.uint8)[:, None], rows], axis=1)
            (folder / f"{name}.bin").write_bytes(table.tobytes())
        else:
            content = {b"batch_label": b"one", b"labels": labels, b"data": rows, b"filenames": [b"a.png"] * 6}
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def expected_cifar() -> np.ndarray:
    return np.concatenate([batch(6, 0)[0], batch(6, 1)[0]]).reshape(12, 3, 32, 32).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("layout", ["python", "binary", "nested", "archive", "archive itself"])
def test_cifar(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "set"
    write_cifar(folder / "cifar-10-batches-py" if layout in ("nested", "archive", "archive itself") else folder, layout == "binary")
    source = folder
    if layout.startswith("archive"):
        source = tmp_path / "packed"
        source.mkdir()
        with tarfile.open(source / "cifar-10-python.tar.gz", "w:gz") as out:
            out.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
        source = source if layout == "archive" else source / "cifar-10-python.tar.gz"
    split = load(str(source))
    assert (split.train.pixels == expected_cifar()).all()
    assert split.train.labels is not None
    assert split.train.labels.tolist() == batch(6, 0)[1] + batch(6, 1)[1]
    assert split.holdout.labels is not None
    assert split.holdout.labels.tolist() == batch(6, 2)[1]
    assert split.train.classes == CIFAR10_CLASSES
    assert split.train.spec.shape == (3, 32, 32)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-here",)


def test_pickle_that_wants_to_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path / "set")
    (tmp_path / "set" / "data_batch_2").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}, protocol=2))
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.system"):
        load(str(tmp_path / "set"))
    assert not (tmp_path / "was-here").exists()


def test_pickle_of_an_old_interpreter(tmp_path: Path) -> None:
    """Python 2 wrote byte strings as such and knew numpy's modules by their old names."""
    write_cifar(tmp_path / "set")
    data = (tmp_path / "set" / "data_batch_1").read_bytes()
    assert b"numpy._core.multiarray" in data or b"numpy.core.multiarray" in data
    (tmp_path / "set" / "data_batch_1").write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert (load(str(tmp_path / "set")).train.pixels == expected_cifar()).all()


@pytest.mark.parametrize("kind", ["cut", "wrong", "labels", "binary"])
def test_damaged_cifar(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "set"
    write_cifar(folder, kind == "binary")
    file = folder / ("data_batch_1.bin" if kind == "binary" else "data_batch_1")
    rows, labels = batch(6, 0)
    if kind == "wrong":
        file.write_bytes(pickle.dumps({b"data": rows[:, :100], b"labels": labels}))
    elif kind == "labels":
        file.write_bytes(pickle.dumps({b"data": rows, b"labels": [11] * 6}, protocol=2))
    else:
        file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError):
        load(str(folder))


def test_broken_archive(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(gzip.compress(os.urandom(2000), mtime=0)[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        load(str(tmp_path / "cifar-10-python.tar.gz"))
    with tarfile.open(tmp_path / "other.tar", "w") as out:
        out.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    with pytest.raises(UserError, match="no CIFAR-10 batches"):
        load(str(tmp_path / "other.tar"))


def test_folder_of_neither(tmp_path: Path) -> None:
    (tmp_path / "data_batch_9").write_bytes(b"")
    assert read_folder(tmp_path, "x") is None
