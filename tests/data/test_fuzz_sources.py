"""Damaged copies of every kind of source: each is read, or refused in one line, in bounded time and memory."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_samples import encode, smooth

from calotype.data import check, load
from calotype.data.partner import LoadOptions, has_sides, load_sides
from calotype.errors import UserError
from tests.fuzz import attempt, mutations

RNG = np.random.RandomState(0)
PLAIN = struct.pack(">HBBIII", 0, 8, 3, 12, 9, 9) + RNG.randint(0, 256, 12 * 81).astype(np.uint8).tobytes()
MARKS = struct.pack(">HBBI", 0, 8, 1, 12) + bytes(range(12))
ROWS = RNG.randint(0, 256, (2, 3073)).astype(np.uint8)
ROWS[:, 0] = 3, 7
Same = Callable[[bytes], bytes]


def pickled(protocol: int) -> bytes:
    return pickle.dumps({b"data": ROWS[:, 1:], b"labels": [3, 7]}, protocol)


def packed(*batches: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in batches:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.pax_headers = {"comment": "ä" * 20}
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zipped(method: int, *folders: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for folder in folders:
            for number in range(4):
                archive.writestr(f"{folder}/{number}.png", encode(smooth(8, 8, number), "PNG"))
        archive.writestr("note.txt", b"x" * 100)
    return stream.getvalue()


def squeezed(data: bytes) -> bytes:
    """A gzip file whose checksum is right, so that damage gets beyond it."""
    return gzip.compress(data, 1, mtime=0)


def as_it_is(data: bytes) -> bytes:
    return data


SOURCES: dict[str, tuple[str, bytes, Same]] = {  # the file, what it holds, and what is done to it after it is damaged
    "idx": ("train-images-idx3-ubyte", PLAIN, as_it_is),
    "idx in gzip": ("train-images-idx3-ubyte.gz", squeezed(PLAIN), as_it_is),
    "damaged idx in gzip": ("train-images-idx3-ubyte.gz", PLAIN, squeezed),
    "idx labels": ("train-labels-idx1-ubyte", MARKS, as_it_is),
    "binary cifar": ("data_batch_1.bin", ROWS.tobytes(), as_it_is),
    "pickled cifar": ("data_batch_1", pickled(2), as_it_is),
    "newer pickled cifar": ("data_batch_1", pickled(5), as_it_is),
    "tar": ("a.tar", packed(("c/data_batch_1.bin", ROWS.tobytes()), ("c/test_batch.bin", ROWS.tobytes())), as_it_is),
    "tar in gzip": ("a.tar.gz", squeezed(packed(("c/data_batch_1", pickled(2)))), as_it_is),
    "damaged tar in gzip": ("a.tar.gz", packed(("c/data_batch_1", pickled(4)), ("x", b"y" * 700)), squeezed),
    "zip": ("a.zip", zipped(zipfile.ZIP_STORED, "cat", "dog"), as_it_is),
    "compressed zip": ("a.zip", zipped(zipfile.ZIP_DEFLATED, "train/a", "train/b", "test/a"), as_it_is),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_fuzz_sources(kind: str, tmp_path: Path, fuzz: int) -> None:
    file, whole, finish = SOURCES[kind]
    folder = tmp_path / "set"
    folder.mkdir()
    if "idx" in kind:
        (folder / "train-images-idx3-ubyte").write_bytes(PLAIN)
        (folder / "train-labels-idx1-ubyte").write_bytes(MARKS)
    if file.endswith(".gz") and "idx" in kind:
        (folder / "train-images-idx3-ubyte").unlink()
    source = str(folder / file if Path(file).suffix in (".tar", ".zip") or file.endswith(".tar.gz") else folder)
    read: list[int] = []

    def use() -> None:
        split = load(source)
        assert 0 < len(split.train) <= 1000
        assert split.train.labels is None or 0 <= split.train.labels.min() <= split.train.labels.max() < len(split.train.classes)
        read.append(len(split.train))
        check(source)

    (folder / file).write_bytes(finish(whole))
    use()
    for data in mutations(whole, fuzz, zlib.crc32(kind.encode())):
        (folder / file).write_bytes(finish(data))
        attempt(use, UserError)
    assert len(read) < fuzz  # some damage is found


def test_fuzz_two_sides(tmp_path: Path, fuzz: int) -> None:
    whole = zipped(zipfile.ZIP_STORED, "trainA", "trainB")
    source = tmp_path / "a.zip"

    def use() -> None:
        assert has_sides(str(source)) in (True, False)
        for paired in (True, False):
            load_sides(str(source), "auto", paired, LoadOptions(size=8))

    source.write_bytes(whole)
    use()
    for data in mutations(whole, fuzz, 0):
        source.write_bytes(data)
        attempt(use, UserError)
