"""Folders and zip archives of image files, read without ever unpacking anything to disk."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from calotype.data.decode import MAX_BYTES, UnusableError
from calotype.data.images import Skipped
from calotype.data.kinds import HEAD, HEIF, looks_like_image, reads_heif, unread_kind
from calotype.data.reading import first_line
from calotype.errors import UserError, printable

_SUFFIXES = "png apng jpg jpeg jpe jfif mpo webp gif bmp dib tif tiff ppm pgm pbm pnm avif jp2 j2k ico qoi pcx sgi rgb tga"
EXTENSIONS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
VIDEOS = frozenset(f".{suffix}" for suffix in ["3gp", "avi", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "webm", "wmv"])
_NEVER = re.compile(r"(^|/)(\.[^/]+|__MACOSX|Thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """What a folder or an archive holds."""

    images: tuple[str, ...]  # files that are meant to be images and may be ones, by name or by their first bytes
    skipped: tuple[Skipped, ...]  # files that cannot be read at all: pictures of other kinds, and videos
    others: int  # files that are not meant to be images: notes, tables, hidden files


class Files(ABC):
    """A readable set of files under names with ``/`` between their parts. Reading is safe from several threads."""

    kind: str
    largest = MAX_BYTES  # bytes of a file

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

    def _sorted(self, names: Iterable[str], skipped: list[Skipped], others: int) -> Listing:
        """What there is, given the names of all files that can be read."""
        images = []
        for name in names:
            kind = self._kind(name)
            if kind is None:
                others += 1
            elif kind:
                skipped.append(Skipped(printable(name), kind))
            else:
                images.append(name)
        return Listing(tuple(images), tuple(skipped), others)

    def _kind(self, name: str) -> str | None:
        """ "" for an image, the reason why not for another picture or a video, None for everything else."""
        if _NEVER.search(name):
            return None
        suffix = os.path.splitext(name)[1].lower()
        if suffix in EXTENSIONS or (suffix in HEIF and reads_heif()):
            return ""
        try:
            start = self.read(name, HEAD)
        except UnusableError:
            return None
        if looks_like_image(start):
            return ""
        return unread_kind(start, suffix) or ("a video, which is not read: save pictures of it" if suffix in VIDEOS else None)


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
        return self._sorted((name for name, _, _ in self._found), list(self._skipped), self._others)

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
            if path.stat().st_size > self.largest:
                raise UnusableError(f"the file is larger than the limit of {self.largest // 2**20:,} MiB")
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
            if self._kind(name) == "":  # by its suffix: a link to nothing, mostly
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
        self._odd: list[Skipped] = []  # members that no name leads to
        self._archive: zipfile.ZipFile | None = None
        self._lock = Lock()

    def listing(self) -> Listing:
        """What the archive holds."""
        return self._sorted(self._open(), list(self._odd), 0)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The whole member, its checksum verified, or its first ``limit`` bytes."""
        info = self._open()[name]
        assert self._archive is not None
        if limit is not None and not info.file_size:
            return b""  # many archives hold hundreds of thousands of empty notes, which need not be opened
        try:
            with self._archive.open(info) as member:
                return member.read(limit if limit is not None else info.file_size + 1)
        except Exception as error:  # a damaged member raises BadZipFile, zlib.error, EOFError, NotImplementedError ...
            raise UnusableError(f"cannot be unpacked: {first_line(error)}") from error

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
                self._archive, self._members, self._odd = open_zip(self.path), {}, []
                for info in self._archive.infolist():
                    self._enter(info, self._members)
            return self._members

    def _kind(self, name: str) -> str | None:
        info = self._open()[name]
        if info.flag_bits & 1:
            return "encrypted: unpack it and give the folder"
        kind = super()._kind(name)
        too_large = kind == "" and info.file_size > self.largest
        return f"declares {info.file_size:,} bytes, the limit is {self.largest // 2**20:,} MiB" if too_large else kind

    def _enter(self, info: zipfile.ZipInfo, members: dict[str, zipfile.ZipInfo]) -> None:
        name = info.filename.replace("\\", "/")
        if name.endswith("/"):
            return
        if odd := _nameless(name, info):
            self._odd.append(Skipped(printable(name) or "(no name)", odd))
            return
        if name in members:
            self._odd.append(Skipped(printable(name), "another file of this name comes later in the archive"))
        members[name] = info


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip archive, its table of contents read. Raises ``UserError`` where it is none or damaged."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged table raises BadZipFile, struct.error, UnicodeDecodeError, NotImplementedError ...
        raise UserError(f"{path} is not a readable zip archive ({first_line(error)}): copy or download it again") from error


def _nameless(name: str, info: zipfile.ZipInfo) -> str:
    """Why a member's name is none that a file could have, in a few words; empty where it is."""
    parts = name.split("/")
    if parts[-1] in ("", "."):
        return "a member without a name"
    if ".." in parts:
        return "its name leads out of the archive"
    return "its name holds a NUL" if "\0" in info.orig_filename else ""
