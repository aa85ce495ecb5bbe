"""Prepared files: one self-describing file of images of one shape that can be memory-mapped.

Layout, little-endian: 64 bytes of preamble (magic, offset and length of the header, its SHA-256); the pixels from byte
4,096 on, (N, H, W, C) uint8; the labels, (N,) int64, where there are any; the SHA-256 of each image, (N, 32); the names of
the files that they came from, where there were files, joined by zeros and compressed by zlib; the header, JSON, which ends
the file. The preamble is written last and the file is moved into place when it is whole, so that no reader ever sees half
of one. The held-out images come first, so that both parts of a split are slices.

Opening verifies length, header, labels and the table of digests; the pixels are verified against that table on request,
and always when the file is small enough to be read into memory at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from calotype.data.facts import BYTES, START, VERSION, PreparedHeader, kept, read_facts
from calotype.data.images import Images, Labels, Pixels, Skipped, Split, digests, fingerprint, holdout_count, make_images, some
from calotype.errors import DamagedError, UserError, printable
from calotype.files import has_space, obstacle, replacing

SUFFIX = ".calotype"
_MAGIC = b"CALOTYPE-IMAGES\x01"
_PREAMBLE = struct.Struct("<16sQQ32s")
_CHECKED_BYTES = 256 * 2**20  # pixels of files up to this size are verified whenever they are read
PreparedImage = tuple[Pixels, int] | tuple[Pixels, int, str]  # (H, W, C) uint8, its label, -1 without, and the file it came from, if any
_NAME = 512  # bytes of the name of a file, on average and at most: without longer ones a small file cannot unpack to a large table


@dataclass(frozen=True)
class Prepared:
    """An open prepared file: its images, held-out ones first."""

    pixels: Pixels
    labels: Labels | None
    digest: NDArray[np.uint8]  # (N, 32)
    facts: PreparedHeader
    files: tuple[str, ...] = ()  # that the images came from; () where there were none, and in a file written before these were kept

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be used when it was written."""
        return self.facts.skipped

    def images(self) -> Images:
        """Everything in it as one set."""
        return self._part(slice(0, len(self.pixels)), self.skipped)

    def split(self, share: float) -> Split:
        """The part that the source itself holds out, else the first ``share`` of the stratified order."""
        own, tiles = self.facts.holdout, self.facts.tiles
        cut = holdout_count(len(self.pixels), share) if own is None else own
        if own is None and tiles:  # no photograph may lie on both sides
            cut = min((0, *tiles[:-1]), key=lambda end: (abs(end - cut), end)) if share else 0
            cut = cut or (tiles[0] if share and len(tiles) > 1 else 0)
        return Split(self._part(slice(cut, len(self.pixels)), self.skipped), self._part(slice(0, cut), ()))

    def _part(self, rows: slice, skipped: tuple[Skipped, ...]) -> Images:
        labels = None if self.labels is None else self.labels[rows]
        classes, name = self.facts.shown, self.facts.title
        return make_images(self.pixels[rows], labels, classes, name, skipped, self.digest[rows], self.files[rows])


def prepared_path(path: Path) -> Path:
    """Where a prepared file goes: ``path`` with the suffix that it must have."""
    return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)


def is_prepared(path: Path) -> bool:
    """Whether a file begins like a prepared one."""
    try:
        with path.open("rb") as file:
            return file.read(15) == _MAGIC[:15]
    except OSError:
        return False


def write_prepared(
    out: Path,
    rows: Iterable[PreparedImage],
    shape: tuple[int, int, int],
    *,
    name: str,
    classes: tuple[str, ...],
    at_most: int,
    finish: dict[str, Any],
) -> None:
    """Write a prepared file.

    Args:
        out: Where to; replaced when the new file is whole.
        rows: The images in their order.
        shape: (H, W, C).
        name: A short name.
        classes: Names of the classes; () without labels.
        at_most: How many rows there can be, for the check of free space.
        finish: Further entries of the header, among them ``skipped`` and ``holdout``; read after the last row.

    Raises:
        UserError: If the folder cannot be written or its disk is full; nothing is left behind.
    """
    with _replacing(out, at_most * (int(np.prod(shape)) + 40) + 2**20) as file:
        file.write(b"\0" * START)
        labels, table, names = [], [], []
        for row in rows:
            data = row[0].tobytes()
            file.write(data)
            labels.append(row[1])
            names.append(row[2] if len(row) > 2 else "")
            table.append(hashlib.sha256(data).digest())
        count = len(labels)
        _pad(file)
        digest = np.frombuffer(b"".join(table), np.uint8).reshape(count, 32)
        known = np.array(labels, "<i8") if classes else None
        header: dict[str, Any] = {
            "version": VERSION,
            "name": name,
            "shape": [count, *shape],
            "classes": list(classes),
            "labels": file.tell() if known is not None else None,
        }
        if known is not None:
            file.write(known.tobytes())
        header["digests"] = file.tell()
        file.write(digest.tobytes())
        text = "\0".join(names).encode()
        if any(names) and len(text) <= _NAME * count:
            packed = zlib.compress(text)
            header["files"] = [file.tell(), len(packed)]
            file.write(packed)
        header["fingerprint"] = fingerprint(header["shape"], digest, known, classes)
        text = json.dumps(header | finish | {"skipped": kept(finish["skipped"])}).encode()
        place = file.tell()
        file.write(text)
        file.seek(0)
        file.write(_PREAMBLE.pack(_MAGIC, place, len(text), hashlib.sha256(text).digest()))


def read_prepared(path: Path, *, verify: bool = False, in_memory: int | None = None) -> Prepared:
    """Open a prepared file.

    Args:
        path: The file.
        verify: Whether to verify every image against its SHA-256.
        in_memory: Pixels of up to this many bytes are read into memory, larger ones memory-mapped; by default 2 GiB
            or a quarter of the machine's memory, whichever is less.

    Raises:
        DamagedError: If anything that was verified is wrong, a UserError that says how to repair it.
    """
    try:
        with path.open("rb") as file:
            facts = _read_header(file, path)
            count, *shape = facts.shape
            labels = None
            if facts.labels is not None:
                labels = _read_table(file, facts.labels, "<i8", (count,)).astype(np.int64, copy=False)
                if not 0 <= labels.min() <= labels.max() < len(facts.classes):
                    raise DamagedError("it has labels of classes that it does not have")
            digest = _read_table(file, facts.digests, "u1", (count, 32))
            files = _read_files(file, count, *(facts.files or (0, 0)))
            if fingerprint(facts.shape, digest, labels, facts.classes) != facts.fingerprint:
                raise DamagedError("its labels or digests do not match its fingerprint")
            size = math.prod(facts.shape)
            if size <= (memory_limit() if in_memory is None else in_memory):
                pixels = _read_table(file, START, "u1", (count, *shape))
            else:
                pixels = np.memmap(path, np.uint8, "r", START, (count, *shape))
        if verify or (size <= _CHECKED_BYTES and not isinstance(pixels, np.memmap)):
            wrong = int((digests(pixels) != digest).any(axis=1).sum())
            if wrong:
                raise DamagedError(f"{wrong:,} of its {some(count, 'image')} {'is' if wrong == 1 else 'are'} not what was written")
    except (OSError, DamagedError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DamagedError(f"{path} is damaged: {said}; write it again with 'calotype data prepare'") from error
    return Prepared(pixels, labels, digest, facts, files)


def _read_files(file: BinaryIO, count: int, place: int, size: int) -> tuple[str, ...]:
    """The file that each image came from; () where ``size`` is 0."""
    if not size:
        return ()
    packed = _read_table(file, place, "u1", (size,)).tobytes()
    try:
        names = zlib.decompressobj().decompress(packed, _NAME * count + 1).decode().split("\0", count)
    except (zlib.error, UnicodeDecodeError):
        names = []
    if len(names) != count:
        raise DamagedError("the names of its files are damaged")
    return tuple(printable(name) for name in names)


def memory_limit() -> int:
    """Bytes of pixels that are kept in memory: 2 GiB or a quarter of the machine's memory, whichever is less."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 4 * 2**30
    return min(2 * 2**30, memory // 4)


def _pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % 64))


def _read_header(file: BinaryIO, path: Path) -> PreparedHeader:
    length = path.stat().st_size
    preamble = file.read(_PREAMBLE.size)
    if len(preamble) < _PREAMBLE.size:
        raise DamagedError("it is cut off")
    magic, place, size, mark = _PREAMBLE.unpack(preamble)
    if magic[:15] != _MAGIC[:15]:
        raise DamagedError("it does not begin like a prepared file")
    if magic != _MAGIC:
        raise DamagedError(f"it was written by another version of calotype (format {magic[15]}, this is {VERSION})")
    if place + size != length or size > BYTES:
        raise DamagedError(f"it has {length:,} bytes where {place + size:,} were written")
    file.seek(place)
    text = file.read(size)
    if hashlib.sha256(text).digest() != mark:
        raise DamagedError("its header does not match its checksum")
    return read_facts(text, place)


def _read_table(file: BinaryIO, place: int, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    table = np.empty(shape, kind)
    file.seek(place)
    if file.readinto(table.reshape(-1).view(np.uint8).data) != table.nbytes:  # type: ignore[attr-defined]
        raise DamagedError("it is cut off")
    return table


@contextlib.contextmanager
def _replacing(out: Path, size: int) -> Iterator[BinaryIO]:
    """A temporary file beside ``out`` that takes its place, durably, when the block ends well, and vanishes when it does not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if reason := obstacle(out):
            raise UserError(f"cannot write {out}: {reason}; choose another place")
        if not has_space(out.parent, size):
            raise UserError(f"no space for {out}: {size / 1e6:,.0f} MB are needed; free some, or choose another disk")
        with replacing(out) as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; choose another place") from error
