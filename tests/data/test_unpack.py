"""One budget for all that a source unpacks to: a small file cannot fill the memory."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import weakref
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from calotype.data import idx_cifar, load
from calotype.data.idx_cifar import read_folder
from calotype.data.unpack import Budget, tar_members
from calotype.errors import UserError
from tests.fuzz import attempt

MIB = 2**20


def header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def zeros(count: int) -> bytes:
    """Zeros, compressed by gzip, of which the file has members enough."""
    return gzip.compress(bytes(MIB), 9, mtime=0) * (count // MIB)


def refused(source: Path, line: str) -> None:
    def opened() -> None:
        with pytest.raises(UserError, match=line):
            load(str(source))

    attempt(opened)


@pytest.mark.parametrize(
    ("shape", "data", "line"),
    [
        ((4_000_000, 28, 28), zeros(700 * MIB), "unpacks to more than 2,048 MiB"),
        ((2_000_000_000, 1, 1), zeros(700 * MIB), "unpacks to more than"),  # what an image takes besides its pixels counts too
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), b"", "unpacks to more than"),
        ((1_000_000, 28, 28), b"", "is cut off: its header says 784,000,000 bytes"),
        ((20, 28, 28), zeros(700 * MIB), "does not hold the 15,680 bytes"),
        ((20, 0, 28), b"", "holds no images"),
        ((0, 28, 28), b"", "holds no images"),
        ((20, 784), gzip.compress(bytes(20 * 784), mtime=0), "holds no images: its shape is 20 x 784"),
        ((2, 4, 4), gzip.compress(bytes(32), mtime=0) + b"trash", "cannot be read"),
    ],
)
def test_idx_files(tmp_path: Path, shape: tuple[int, ...], data: bytes, line: str) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header(*shape), mtime=0) + data)
    refused(tmp_path, line)
    (tmp_path / "train-images-idx3-ubyte.gz").rename(tmp_path / "t10k-images-idx3-ubyte")  # the contents tell, not the name
    refused(tmp_path, line)


def test_idx_files_share_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header(1000, 10, 10) + bytes(100_000))
    assert len(load(str(tmp_path)).train) == 1000
    monkeypatch.setattr(Budget.__init__, "__defaults__", (1_000_000,))
    refused(tmp_path, "unpacks to more than 0 MiB")


def packed(path: Path, members: dict[str, int | bytes]) -> Path:
    """A tar archive of files, or of so many zeros."""
    with tarfile.open(path, "w:gz", compresslevel=1) if path.suffix == ".gz" else tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = content if isinstance(content, int) else len(content)
            archive.addfile(member, io.BytesIO(bytes(content)))
    return path


def batch(count: int = 3) -> bytes:
    return np.zeros((count, 3073), np.uint8).tobytes()


def test_members_of_an_archive_share_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members: dict[str, int | bytes] = {f"c/data_batch_{n}.bin": 3073 * 20_000 for n in range(1, 6)}
    monkeypatch.setattr("calotype.data.idx_cifar._CIFAR", 200 * MIB)
    refused(packed(tmp_path / "cifar-10-binary.tar.gz", members), "unpacks to more than 200 MiB")
    refused(packed(tmp_path / "c.tar.gz", {"readme": 210 * MIB, "c/data_batch_1.bin": batch()}), "unpacks to more than 200 MiB")
    whole = packed(tmp_path / "d.tar.gz", {"readme": 60 * MIB, "c/data_batch_1.bin": batch(), "c/test_batch.bin": batch(2)})
    assert len(load(str(whole)).train) == 3


@pytest.mark.parametrize("size", [None, 8])
def test_images_are_not_copied_to_be_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    pixels, labels = np.random.RandomState(0).randint(0, 256, (300, 16, 16)).astype(np.uint8), np.arange(300) % 10
    (tmp_path / "train-images-idx3-ubyte").write_bytes(header(300, 16, 16) + pixels.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(header(300) + labels.astype(np.uint8).tobytes())
    found = load(str(tmp_path), size=size)
    assert found.train.pixels.base is found.holdout.pixels.base is not None
    source = read_folder(tmp_path, "x")
    assert source is not None
    copied = source.split(size, None, "crop", 0.1)
    assert source.pixels[..., 0].tolist() == pixels.tolist()  # which was not given up
    assert found.fingerprint == copied.fingerprint
    assert [len(found.train), len(found.holdout)] == [270, 30]
    of = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    assert found.train.labels is not None
    if size is None:
        assert [of[image.tobytes()] for image in found.train.pixels] == found.train.labels.tolist()


def test_batches_are_let_go_of_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Batch(bytearray):
        pass

    alive: list[int] = []
    known: list[weakref.ref[Batch]] = []
    decoded = idx_cifar._binary

    def unpacked(stream: BinaryIO) -> Batch:
        data = Batch(stream.read())
        known.append(weakref.ref(data))
        return data

    def counted(data: bytes, place: Path) -> object:
        alive.append(sum(one() is not None for one in known))
        return decoded(data, place)

    monkeypatch.setattr(idx_cifar, "read_all", unpacked)
    monkeypatch.setattr(idx_cifar, "_binary", counted)
    path = packed(tmp_path / "cifar-10-binary.tar.gz", {f"c/data_batch_{n}.bin": batch() for n in range(1, 6)})
    assert len(load(str(path), holdout=0).train) == 15
    assert alive == [5, 4, 3, 2, 1]


def test_an_archive_of_many_members_ends(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("x").tobuf() * 2000
    with gzip.open(tmp_path / "many.tar.gz", "wb") as out:
        for _ in range(20):
            out.write(entry)
    refused(tmp_path / "many.tar.gz", "holds more than 10,000 files")


def odd_headers() -> dict[str, bytes]:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 300 * MIB
    chained = tarfile.TarInfo("././@LongLink")
    chained.type, chained.size = tarfile.GNUTYPE_LONGNAME, 1
    chain = chained.tobuf() + b"x".ljust(512, b"\0")
    extended = tarfile.TarInfo("x")
    extended.type, extended.size = tarfile.XHDTYPE, 300 * MIB
    holes = tarfile.TarInfo("data_batch_1.bin")
    holes.type = tarfile.GNUTYPE_SPARSE
    sparse = bytearray(holes.tobuf())
    sparse[483:495] = b"77777777777\0"  # the size that the holes make up
    negative = bytearray(tarfile.TarInfo("data_batch_1.bin").tobuf())
    negative[124:136] = b"\xff" * 12
    for damaged in (sparse, negative):
        damaged[148:156] = b"%06o\0 " % (256 + sum(damaged[:148]) + sum(damaged[156:512]))
    return {
        "a name of 300 MB": long.tobuf(),
        "names of names": chain * 5000,
        "an extended header of 300 MB": extended.tobuf(),
        "holes": bytes(sparse),
        "a size below zero": bytes(negative),
    }


@pytest.mark.parametrize("what", odd_headers())
def test_odd_headers_of_an_archive(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(odd_headers()[what], mtime=0) + zeros(310 * MIB))
    refused(tmp_path / "a.tar.gz", "cannot be read|holds no CIFAR|is not a whole|unpacks to more")


def test_a_batch_in_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    (tmp_path / "cifar-10-batches-py").mkdir()
    os.mkfifo(tmp_path / "cifar-10-batches-py" / "data_batch_1")
    refused(tmp_path, "holds no image|is empty")


def test_members_are_streamed_in_their_order(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", {"a/1": b"one", "b/2": b"two", "3": b""})
    assert [(name, stream.read()) for name, stream in tar_members(path, Budget(path))] == [("a/1", b"one"), ("b/2", b"two"), ("3", b"")]
