"""Where pictures to work on come from, and where the results go."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from calotype.data.decode import MAX_BYTES, UnusableError
from calotype.data.download import PUBLIC
from calotype.data.embedded import NAMES
from calotype.data.files import EXTENSIONS, Files, Folder
from calotype.data.images import Images, Skipped
from calotype.data.kinds import looks_like_image
from calotype.data.load import find, load
from calotype.data.tree import arrange, natural
from calotype.errors import UserError, printable
from calotype.files import expanded, obstacle
from calotype.tasks.files import FORMATS, SUFFIXES, Picture, format_of, open_picture


class Inputs(ABC):
    """Pictures under names with ``/`` between their parts."""

    single = False  # whether one file was named by itself
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()  # what cannot be read at all

    @abstractmethod
    def picture(self, name: str) -> Picture:
        """One of them. Raises ``UnusableError``."""

    def path(self, name: str) -> Path | None:
        """Its file, where it has one of its own."""
        return None


class One(Inputs):
    """A file."""

    single = True

    def __init__(self, path: Path) -> None:
        self._path, self.names = path, (path.name,)

    def picture(self, name: str) -> Picture:
        """What it holds."""
        if self._path.stat().st_size > MAX_BYTES:
            raise UnusableError(f"the file is larger than the limit of {MAX_BYTES // 2**20} MiB")
        return open_picture(self._path.read_bytes(), name)

    def path(self, name: str) -> Path:
        """The file."""
        return self._path


class Many(Inputs):
    """A folder with everything under it, or a zip archive."""

    def __init__(self, files: Files, held_out: bool, out: Path | None) -> None:
        self._files = files
        listing = files.listing()
        tree = arrange(listing.images) if held_out else None
        if tree is not None and tree.holdout is not None:
            names = [name for name, held in zip(tree.names, tree.holdout, strict=True) if held]
        else:
            names = sorted(listing.images, key=lambda name: (natural(name), name))
        astray = [name for name in names if _leaves(name)]
        self.skipped = (*listing.skipped, *(Skipped(printable(name), "its name leads out of the archive") for name in astray))
        inner = out is not None and isinstance(files, Folder) and out.resolve() != files.path.resolve()
        results = out.resolve() if out is not None and inner else None
        self.names = tuple(n for n in names if n not in astray and (results is None or results not in (files.path / n).resolve().parents))

    def picture(self, name: str) -> Picture:
        """One of them."""
        return open_picture(self._files.read(name), name)

    def path(self, name: str) -> Path | None:
        """Its file, in a folder."""
        return self._files.path / name if isinstance(self._files, Folder) else None


class Set(Inputs):
    """The images of a data set that has no files, numbered."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.names = tuple(f"{index:06d}.png" for index in range(len(images)))

    def picture(self, name: str) -> Picture:
        """One of them."""
        return Picture(np.array(self._images.pixels[int(name[:6])]))


@contextlib.contextmanager
def open_inputs(source: str, out: Path | None = None, count: int | None = None) -> Iterator[Inputs]:
    """The first ``count`` pictures of a file, a folder, a zip archive or a data set; of the embedded and public sets, those held out.

    A file or folder here comes before a data set of the same name. What lies in the folder ``out`` is none of them. Raises `UserError`
    where there are none.
    """
    if not source:
        raise UserError("IN is empty: name a picture, a folder, a zip archive or a data set")
    path = expanded(source)
    if path.is_file() and _is_picture(path):
        yield One(path)
        return
    own = not path.exists() and (source in NAMES or source in PUBLIC)
    found = find(source if own else str(path.absolute() if path.exists() else path))
    if not isinstance(found, Files):
        split = load(source if own else str(path.absolute()), holdout=0.1 if own else 0)
        numbered = Set(split.holdout if own else split.train)
        numbered.names = numbered.names[:count]
        yield numbered
        return
    with contextlib.closing(found):
        inputs = Many(found, own, out)
        if not inputs.names and not inputs.skipped:
            raise UserError(f"there are no pictures in {source}")
        inputs.names = inputs.names[:count]
        yield inputs


def targets(inputs: Inputs, out: str | Path, overwrite: bool) -> dict[str, Path]:
    """The file to write for each picture: ``out`` itself for one file, else the same names in the folder ``out``.

    A name that ends in a slash is that of a folder. Formats that are not written become PNG; where two pictures would then meet in one
    file, the second keeps its whole name in front.

    Raises:
        UserError: where ``out`` cannot be written, holds a result already, or is where the pictures come from.
    """
    if not str(out):
        raise UserError("OUT is empty: name the picture to write, or a folder")
    slash, out = str(out).endswith(("/", os.sep)), Path(out)
    folder = not inputs.single or out.is_dir() or slash
    if folder and not out.is_dir() and (out.exists() or (not inputs.single and out.suffix.lower() in SUFFIXES)):
        raise UserError(f"{out} must be a folder, for there are several pictures: give another OUT")
    if not folder and not out.suffix:
        out = out.with_name(out.name + _suffix(inputs.names[0]))
    if not folder:
        format_of(out)
    if reason := obstacle(out if folder else out.parent, folder=True):
        raise UserError(f"cannot write into {out if folder else out.parent}: {reason}; give another OUT")
    places: dict[str, Path] = {}
    taken = {str(folder).casefold() for name in inputs.names for folder in PurePosixPath(name).parents}
    for name in sorted(inputs.names, key=lambda name: _suffix(name) != PurePosixPath(name).suffix.lower()):  # those that keep theirs first
        plain = PurePosixPath(name)
        target = str(plain if plain.suffix.lower() in SUFFIXES else plain.with_suffix(".png"))
        while target.casefold() in taken:
            target = f"{name}.png" if target != f"{name}.png" else f"{target}.png"
        taken.add(target.casefold())
        places[name] = out / target if folder else out
    require_free(inputs, places.values(), overwrite)
    return {name: places[name] for name in inputs.names}


def require_free(inputs: Inputs, places: Collection[Path], overwrite: bool, option: str = "OUT") -> None:
    """Raise `UserError` where one of the files to write, named by ``option``, is a picture of ``inputs``, or a result that exists."""
    sources = [path for name in inputs.names if (path := inputs.path(name)) is not None]
    own = {_identity(path) for path in sources if path.exists()}
    for place in places:
        if not place.exists():
            continue
        if place.is_dir():
            raise UserError(f"{place} is a folder: give another {option}")
        if _identity(place) in own:
            raise UserError(f"{place} is one of the pictures to work on, which are never overwritten: give another {option}")
        if not overwrite:
            raise UserError(f"{place} exists: give another {option}, or --overwrite to replace it")


def _identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino


def _suffix(name: str) -> str:
    """The suffix of the file that a picture goes to."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in SUFFIXES else FORMATS["PNG"].suffixes[0]


def _leaves(name: str) -> bool:
    plain = PurePosixPath(name)
    return plain.is_absolute() or ".." in plain.parts or ":" in plain.parts[0]


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in EXTENSIONS:
        return True
    with path.open("rb") as file:
        return looks_like_image(file.read(64))
