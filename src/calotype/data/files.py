"""Folders and zip archives of image files, read without ever unpacking anything to disk."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from calotype.data.decode import MAX_BYTES, UnusableError
from calotype.data.images import Skipped
from calotype.data.kinds import looks_like_image
from calotype.errors import UserError, printable

_SUFFIXES = "png apng jpg jpeg jpe jfif mpo webp gif bmp dib tif tiff ppm pgm pbm pnm avif jp2 j2k ico qoi pcx sgi rgb tga"
EXTENSIONS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
_NEVER = re.compile(r"(^|/)(\.[^/]+|__MACOSX|Thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """What a folder or an archive holds."""

    images: tuple[str, ...]  # files that are meant to be images, by name or by their first bytes
    skipped: tuple[Skipped, ...]  # files that cannot be read at all
    others: int  # files that are not meant to be images: notes, tables, hidden files


class Files(ABC):
    """A readable set of files under names with ``/`` between their parts. Reading is safe from several threads."""

    kind: str

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def listing(self) -> Listing:
        """What is there."""

    @abstractmethod
    def read(self, name: str, limit: int | None = None) -> bytes:
        """The whole file, or its first ``limit`` bytes. Raises ``UnusableError``."""

    @abstractmethod
    def state(self) -> str:
        """A digest (hexadecimal) of names, sizes and times: it changes when the contents do."""

    def close(self) -> None:
        """Let go of what is open."""
        return

    def open(self, name: str) -> BinaryIO:
        """The file, for reading a header. Raises ``UnusableError``."""
        return io.BytesIO(self.read(name))

    def title(self, name: str) -> str:
        """What a file is called where it really is, fit to be printed."""
        return printable(name)

    def _is_image(self, name: str) -> bool:
        if _NEVER.search(name):
            return False
        if os.path.splitext(name)[1].lower() in EXTENSIONS:
            return True
        try:
            return looks_like_image(self.read(name, 16))
        except UnusableError:
            return False


class Folder(Files):
    """A folder and everything under it, links followed, each folder visited once."""

    kind = "folder"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._found: list[tuple[str, int, int]] = []  # name, bytes, mtime_ns
        self._skipped: list[Skipped] = []
        self._others = 0
        self._walk()

    def listing(self) -> Listing:
        """What the folder holds."""
        names, others = [], self._others
        for name, _, _ in self._found:
            if self._is_image(name):
                names.append(name)
            else:
                others += 1
        return Listing(tuple(names), tuple(self._skipped), others)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The whole file, or its first ``limit`` bytes."""
        with self.open(name) as file:
            try:
                return file.read(limit) if limit is not None else file.read()
            except OSError as error:
                raise UnusableError(f"cannot be read: {error.strerror}") from error

    def open(self, name: str) -> BinaryIO:
        """The file itself."""
        path = self.path / name
        try:
            if path.stat().st_size > MAX_BYTES:
                raise UnusableError(f"the file is larger than the limit of {MAX_BYTES // 2**20} MiB")
            return path.open("rb")
        except OSError as error:
            raise UnusableError(f"cannot be read: {error.strerror}") from error

    def state(self) -> str:
        """Digest of each file's name, size and time."""
        whole = hashlib.sha256()
        for row in sorted(self._found):
            whole.update(repr(row).encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def _walk(self) -> None:
        visited: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            try:
                about = os.stat(self.path / prefix)
                if (about.st_dev, about.st_ino) in visited:
                    continue
                visited.add((about.st_dev, about.st_ino))
                with os.scandir(self.path / prefix) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                        self._take(f"{prefix}{entry.name}", entry, waiting)
            except OSError as error:
                if not prefix:
                    raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
                self._skipped.append(Skipped(printable(prefix), f"the folder cannot be read: {error.strerror}"))
        self._found.sort()

    def _take(self, name: str, entry: os.DirEntry[str], waiting: list[str]) -> None:
        try:
            about = entry.stat()
        except OSError as error:
            if self._is_image(name):  # by its suffix: a link to nothing, mostly
                reason = "a link to nothing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
                self._skipped.append(Skipped(printable(name), reason))
            else:
                self._others += 1
            return
        if stat.S_ISDIR(about.st_mode):
            if not _NEVER.search(name):
                waiting.append(f"{name}/")
        elif stat.S_ISREG(about.st_mode):
            self._found.append((name, about.st_size, about.st_mtime_ns))
        else:
            self._others += 1  # a pipe or a device: opening it could wait forever


class Zip(Files):
    """A zip archive; members are decompressed in memory, one at a time, and at most to the size they declare."""

    kind = "zip"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, zipfile.ZipInfo] | None = None
        self._archive: zipfile.ZipFile | None = None
        self._lock = Lock()

    def listing(self) -> Listing:
        """What the archive holds."""
        names, skipped, others = [], [], 0
        for name, info in self._open().items():
            if name.endswith("/"):
                continue
            if reason := _nameless(name, info):
                skipped.append(Skipped(printable(name) or "(no name)", reason))
            elif info.flag_bits & 1:
                skipped.append(Skipped(printable(name), "encrypted"))
            elif not self._is_image(name):
                others += 1
            elif info.file_size > MAX_BYTES:
                skipped.append(Skipped(printable(name), f"declares {info.file_size:,} bytes, the limit is {MAX_BYTES // 2**20} MiB"))
            else:
                names.append(name)
        return Listing(tuple(names), tuple(skipped), others)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The whole member, its checksum verified, or its first ``limit`` bytes."""
        info = self._open()[name]
        assert self._archive is not None
        try:
            with self._archive.open(info) as member:
                return member.read(limit if limit is not None else info.file_size + 1)
        except Exception as error:  # a damaged member raises BadZipFile, zlib.error, EOFError, NotImplementedError ...
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise UnusableError(f"cannot be unpacked: {reason}") from error

    def close(self) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()
        self._archive = self._members = None

    def state(self) -> str:
        """Digest of the archive's size and time."""
        about = self.path.stat()
        return hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode()).hexdigest()

    def _open(self) -> dict[str, zipfile.ZipInfo]:
        with self._lock:
            if self._members is None:
                try:
                    self._archive = zipfile.ZipFile(self.path)
                    self._members = {info.filename.replace("\\", "/"): info for info in self._archive.infolist()}
                except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
                    raise UserError(f"{self.path} is not a readable zip archive ({error}): copy or download it again") from error
            return self._members


def _nameless(name: str, info: zipfile.ZipInfo) -> str:
    """Why a member's name is none that a file could have, in a few words; empty where it is."""
    parts = name.split("/")
    if parts[-1] in ("", "."):
        return "a member without a name"
    if ".." in parts:
        return "its name leads out of the archive"
    return "its name holds a NUL" if "\0" in info.orig_filename else ""
