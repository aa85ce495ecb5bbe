"""Where pictures to work on come from; `calotype.tasks.places` says where the results go."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np

from calotype.data.decode import MAX_BYTES, MAX_PIXELS, UnusableError, decode_fitted, read_header
from calotype.data.files import EXTENSIONS, Files, Folder
from calotype.data.fit import Fit, fit_array
from calotype.data.folder_layout import arrange, natural
from calotype.data.images import Images, Pixels, Skipped
from calotype.data.kinds import looks_like_image
from calotype.data.load import find, has_a_name, load, require_images
from calotype.data.opening import DENSE
from calotype.errors import UserError, printable
from calotype.files import expanded, read_bytes
from calotype.tasks.files import Picture, open_picture

LONGEST = 4000  # characters of a member's name in an archive: no file system takes more


class Inputs(ABC):
    """Pictures under names with ``/`` between their parts."""

    single = False  # whether one file was named by itself
    packed = False  # whether the names are those of an archive, which may be made for another system
    every: tuple[str, ...]  # all that there are: what a result is called does not depend on how many are asked for
    count: int | None = None  # of those that are asked for
    most = MAX_PIXELS  # pixels of a picture at most
    skipped: tuple[Skipped, ...] = ()  # what cannot be read at all

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are asked for."""
        return self.every[: self.count]

    @abstractmethod
    def picture(self, name: str) -> Picture:
        """One of them. Raises ``UnusableError``."""

    @abstractmethod
    def size(self, name: str) -> tuple[int, int] | None:
        """Its height and width, as the head of its file tells; None where that cannot be read."""

    @abstractmethod
    def fitted(self, name: str, size: int, channels: int, fit: Fit) -> Pixels:
        """One of them as training would see it, (size, size, channels) uint8. Raises ``UnusableError``."""

    def path(self, name: str) -> Path | None:
        """Its file, where it has one of its own."""
        return None

    def data(self, name: str) -> bytes | None:
        """The whole content of its file; None where it has none. Raises ``UnusableError``."""
        return None

    def _read(self, path: Path) -> bytes:
        """A whole file, which may hold as many pixels as it likes, up to `most`."""
        limit = _largest(self.most)
        try:
            return read_bytes(path, limit)
        except OSError as error:
            raise UnusableError(f"cannot be read: {error.strerror}") from error
        except ValueError:
            raise UnusableError(f"the file is larger than the limit of {limit // 2**20:,} MiB") from None


class One(Inputs):
    """A file."""

    single = True

    def __init__(self, path: Path) -> None:
        self._path, self.every = path, (path.name,)

    def picture(self, name: str) -> Picture:
        """What it holds."""
        return open_picture(self._read(self._path), name, self.most)

    def fitted(self, name: str, size: int, channels: int, fit: Fit) -> Pixels:
        """What it holds."""
        return decode_fitted(self._read(self._path), name, size, channels, fit)

    def size(self, name: str) -> tuple[int, int] | None:
        """Of what it holds."""
        return _size_of(lambda: self._path.open("rb"), name, self.most)

    def path(self, name: str) -> Path:
        """The file."""
        return self._path

    def data(self, name: str) -> bytes:
        """What the file holds."""
        return self._read(self._path)


class Many(Inputs):
    """A folder with everything under it, or a zip archive."""

    def __init__(self, files: Files, held_out: bool, out: Path | None) -> None:
        self._files = files
        self.packed = not isinstance(files, Folder)
        listing = files.listing()
        tree = arrange(listing.images) if held_out else None
        if tree is not None and tree.holdout is not None:
            names = [name for name, held in zip(tree.names, tree.holdout, strict=True) if held]
        else:
            names = sorted(listing.images, key=lambda name: (natural(name), name))
        reasons = {name: reason for name in names if (reason := _unfit(name))} if self.packed else {}
        self.skipped = (*listing.skipped, *(Skipped(printable(name), reason) for name, reason in reasons.items()))
        self.every = tuple(name for name in names if name not in reasons)
        if out is not None and isinstance(files, Folder) and out.resolve() != files.path.resolve():
            self.every = tuple(_outside(out.resolve(), files.path, self.every))

    def picture(self, name: str) -> Picture:
        """One of them."""
        return open_picture(self.data(name), name, self.most)

    def fitted(self, name: str, size: int, channels: int, fit: Fit) -> Pixels:
        """One of them."""
        return decode_fitted(self.data(name), name, size, channels, fit)

    def size(self, name: str) -> tuple[int, int] | None:
        """Of one of them."""
        own = self.path(name)
        return _size_of(lambda: self._files.open(name) if own is None else own.open("rb"), name, self.most)

    def path(self, name: str) -> Path | None:
        """Its file, in a folder."""
        return self._files.path / name if isinstance(self._files, Folder) else None

    def data(self, name: str) -> bytes:
        """What one of them holds."""
        own = self.path(name)
        return self._files.read(name) if own is None else self._read(own)


class Set(Inputs):
    """The images of a data set that has no files, numbered."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.every = tuple(f"{index:06d}.png" for index in range(len(images)))

    def picture(self, name: str) -> Picture:
        """One of them."""
        return Picture(np.array(self._images.pixels[int(name[:6])]))

    def fitted(self, name: str, size: int, channels: int, fit: Fit) -> Pixels:
        """One of them."""
        found: Pixels = fit_array(np.array(self._images.pixels[int(name[:6])][None]), size, channels, fit)[0]
        return found

    def size(self, name: str) -> tuple[int, int]:
        """That of all of them."""
        height, width = self._images.pixels.shape[1:3]
        return int(height), int(width)


@contextlib.contextmanager
def open_inputs(source: str, out: Path | None = None, count: int | None = None, most: int = MAX_PIXELS) -> Iterator[Inputs]:
    """The first ``count`` pictures of a file, a folder, a zip archive or a data set; of the embedded and public sets, those held out.

    Pictures of more than ``most`` pixels are refused when they are read. A file or folder here comes before a data set of the same name.
    What lies in the folder ``out`` is none of them. Raises `UserError` where there are none.
    """
    if not source:
        raise UserError("IN is empty: name a picture, a folder, a zip archive or a data set")
    path = expanded(source)
    if os.path.isfile(path) and _is_picture(path):
        one = One(path)
        one.most = most
        yield one
        return
    own = not os.path.exists(path) and has_a_name(source)
    if own:
        require_images(source)
    found = find(source if own else str(path.absolute() if os.path.exists(path) else path))
    if not isinstance(found, Files):
        split = load(source if own else str(path.absolute()), holdout=0.1 if own else 0)
        numbered = Set(split.holdout if own else split.train)
        numbered.count = count
        yield numbered
        return
    with contextlib.closing(found):
        found.largest = _largest(most)
        inputs = Many(found, own, out)
        if not inputs.names and not inputs.skipped:
            raise UserError(f"there are no pictures in {source}")
        inputs.count, inputs.most = count, most
        yield inputs


def _outside(results: Path, folder: Path, names: Iterable[str]) -> Iterator[str]:
    """The names of pictures in a folder that are not in another one, ``results``, which may lie within it or be linked there."""

    @cache
    def inside(place: Path) -> bool:
        real = place.resolve()
        return results == real or results in real.parents

    for name in names:
        path = folder / name
        if not inside(path.parent) and not (path.is_symlink() and inside(path.resolve().parent)):
            yield name


def _largest(most: int) -> int:
    """Bytes that the file of a picture of so many pixels may have."""
    return max(MAX_BYTES, DENSE * most)


def _size_of(opened: Callable[[], BinaryIO], name: str, most: int) -> tuple[int, int] | None:
    try:
        with opened() as file:
            header = read_header(file, name, most)
    except (UnusableError, OSError):
        return None
    return header.height, header.width


def _unfit(name: str) -> str:
    """Why a member of an archive gives no name to a file, in a few words; empty where it does."""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or PureWindowsPath(name).drive:
        return "its name leads out of the archive"
    return "its name is too long" if len(name) > LONGEST else ""


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in EXTENSIONS:
        return True
    with path.open("rb") as file:
        return looks_like_image(file.read(64))
