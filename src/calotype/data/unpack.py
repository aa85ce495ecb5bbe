"""Files and archives of one source unpacked as a stream, within a budget, so that a small file cannot fill the memory."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from calotype.data.reading import first_line
from calotype.errors import CalotypeError, UserError

LIMIT = 2 * 2**30  # bytes that all files of one source may unpack to
IMAGE = 512  # bytes that an image takes besides its pixels
RATIO = 1032  # the most that deflate can save
_MEMBERS = 10_000  # of an archive that is read from its beginning
_BLOCK = 2**20


class Budget:
    """The bytes that a source may still unpack to."""

    def __init__(self, place: Path, limit: int = LIMIT) -> None:
        self.place, self.limit, self.left = place, limit, limit

    def require(self, count: int) -> None:
        """Raise ``UserError`` unless ``count`` bytes are left."""
        if count > self.left:
            raise UserError(
                f"{self.place} unpacks to more than {self.limit >> 20:,} MiB, the limit of such files: it is damaged or something else; "
                "images are better packed as a zip archive"
            )

    def spend(self, count: int) -> None:
        """Take ``count`` bytes before they are unpacked. Raises ``UserError`` where they are not there."""
        self.require(count)
        self.left -= count


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Whatever goes wrong within becomes a ``UserError`` that says of the file that it cannot be read."""
    try:
        yield
    except CalotypeError:
        raise
    except Exception as error:  # damaged compressed data raise nearly every exception there is
        raise UserError(f"{path} cannot be read ({first_line(error)}): copy or download it again") from error


def is_gzip(path: Path) -> bool:
    """Whether a file begins like one that gzip compressed."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_unpacked(path: Path) -> BinaryIO:
    """A file as a stream of what it holds, compressed by gzip or not."""
    return cast("BinaryIO", gzip.open(path)) if is_gzip(path) else path.open("rb")


class _Counted:
    """A stream that is read forward alone and within a budget, as a tar archive is."""

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._stream, self._budget, self._place = stream, budget, 0

    def read(self, count: int) -> bytes:
        if count > 4 * _BLOCK:
            raise tarfile.ReadError(f"a header of {count:,} bytes")
        self._budget.spend(count)
        data = self._stream.read(count)
        self._place += len(data)
        return data

    def seek(self, place: int) -> None:
        if place < self._place:
            raise tarfile.ReadError("members that overlap")
        while place > self._place and self.read(min(place - self._place, _BLOCK)):
            pass

    def tell(self) -> int:
        return self._place


def tar_members(path: Path, budget: Budget) -> Iterator[tuple[str, BinaryIO]]:
    """The name of each plain file of a tar archive, compressed by gzip or not, and a stream of what it holds, to be read at once.

    Raises:
        UserError: Where the archive is damaged, or beyond the budget.
    """
    with guarded(path), open_unpacked(path) as stream:
        counted = cast("BinaryIO", _Counted(stream, budget))
        with tarfile.open(fileobj=counted, mode="r:") as archive:
            for _ in range(_MEMBERS):
                member = archive.next()
                archive.members.clear()  # type: ignore[attr-defined]  # or all that were seen stay in memory
                if member is None:
                    return
                budget.require(member.size)
                if member.isreg() and not member.issparse() and (inner := archive.extractfile(member)) is not None:
                    yield member.name, cast("BinaryIO", inner)
    raise UserError(f"{path} holds more than {_MEMBERS:,} files: unpack it, or pack its images as a zip archive")


def read_all(stream: BinaryIO) -> bytearray:
    """The rest of a stream, a block at a time: memory follows what is there, not what a header promises."""
    data = bytearray()
    while block := stream.read(_BLOCK):
        data += block
    return data


def read_into(stream: BinaryIO, out: memoryview) -> bool:
    """Fill ``out`` from a stream; whether there was neither too little nor more."""
    place = 0
    while place < len(out):
        block = stream.read(min(len(out) - place, _BLOCK))
        if not block:
            return False
        out[place : place + len(block)] = block
        place += len(block)
    return not stream.read(1)
