"""Where results go: a file of its own for every picture, whatever the pictures are called, and nothing of the user's overwritten."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Literal

from calotype.errors import UserError
from calotype.files import obstacle, portable_name
from calotype.tasks.files import FORMATS, SUFFIXES, format_of
from calotype.tasks.inputs import Inputs

Existing = Literal["refuse", "replace", "keep"]
"""What to do where a result is there already: say so and stop, make it anew, or leave it and go on with the others."""

NAME = 255  # bytes of a file's name at most, on nearly every file system
DIGITS = 12  # hexadecimal ones that tell apart names which are cut, or would be taken


def existing_of(overwrite: bool, skip: bool) -> Existing:
    """What to do about results that exist. Raises `UserError` for options that contradict each other."""
    if overwrite and skip:
        raise UserError("`overwrite` replaces results that exist, and `skip_existing` leaves them: give one of them")
    return "replace" if overwrite else "keep" if skip else "refuse"


def targets(inputs: Inputs, out: str | Path, existing: Existing = "refuse") -> dict[str, Path]:
    """The file to write for each picture: ``out`` itself for one file, else a file in the folder ``out``, as `result_names` says.

    A name that ends in a slash is that of a folder.

    Raises:
        UserError: where ``out`` cannot be written, holds a result that may not be there, or is where the pictures come from.
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
    named = result_names(inputs.every, inputs.packed)
    places = {name: out / named[name] if folder else out for name in inputs.names}
    require_free(inputs, places.values(), existing)
    return places


def result_names(names: Sequence[str], packed: bool = False) -> dict[str, str]:
    """The name of the result of each picture, no two of them alike, and none that of a folder of another.

    A picture keeps its name where its format is written; else ``.png`` takes the place of its suffix. Where that name is taken, or
    differs from one by what some file systems do not tell apart (case, the way accents are written), ``.png`` comes behind the whole
    name; where that is taken as well, a digest of the name comes before it. Parts too long for a file system are cut and end in one. Names
    that come ``packed``, in an archive, are made such that every system takes them; files of one's own keep theirs.

    >>> result_names(["a.gif", "a.png", "a.gif.png", "b.gif"])
    {'a.gif': 'a-3858ccbe8587.png', 'a.png': 'a.png', 'a.gif.png': 'a.gif.png', 'b.gif': 'b.png'}
    """
    fitted = partial(_fitted, packed=packed)
    taken = {_key(folder) for name in names for folder in fitted(PurePosixPath(name)).parents}
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: not _kept(name)):  # those that keep theirs first
        found = next(place for place in map(fitted, _wanted(name)) if _key(place) not in taken)
        taken.add(_key(found))
        chosen[name] = str(found)
    return {name: chosen[name] for name in names}


def require_free(inputs: Inputs, places: Collection[Path], existing: Existing = "refuse", option: str = "OUT") -> None:
    """Raise `UserError` where one of the files to write, named by ``option``, is a picture of ``inputs``, or is there and may not be."""
    there = [place for place in places if os.path.exists(place)]
    own = {_identity(path) for name in inputs.every if (path := inputs.path(name)) is not None and os.path.exists(path)} if there else set()
    for place in there:
        if place.is_dir():
            raise UserError(f"{place} is a folder: give another {option}")
        if _identity(place) in own:
            raise UserError(f"{place} is one of the pictures to work on, which are never overwritten: give another {option}")
        if existing == "refuse":
            ways = [f"give another {option}", "`overwrite` to replace it"]
            ways += ["`skip_existing` to go on with the others"] if option == "OUT" and not inputs.single else []
            raise UserError(f"{place} exists: {', '.join(ways[:-1])}, or {ways[-1]}")


def _wanted(name: str) -> Iterator[PurePosixPath]:
    """Names for the result of a picture, the best one first, without end."""
    plain = PurePosixPath(name)
    yield plain if _kept(name) else plain.with_suffix(".png")
    yield plain.with_name(f"{plain.name}.png")
    for attempt in count():
        yield plain.with_name(f"{plain.stem}-{_digest(name, attempt)}.png")


def _fitted(place: PurePosixPath, packed: bool) -> PurePosixPath:
    """A name of which no part is longer than `NAME` bytes, nor, where it came ``packed``, one that only some systems take."""
    if packed:
        place = PurePosixPath(*map(portable_name, place.parts))
    if len(os.fsencode(str(place))) <= NAME:
        return place
    return PurePosixPath(*(part if len(os.fsencode(part)) <= NAME else _cut(part) for part in place.parts))


def _cut(part: str) -> str:
    suffix = PurePosixPath(part).suffix
    end = f"-{_digest(part)}" + (suffix if suffix.lower() in SUFFIXES else "")
    start = part[: NAME - len(end)]
    while len(os.fsencode(start)) > NAME - len(end):
        start = start[:-1]
    return start + end


def _digest(name: str, attempt: int = 0) -> str:
    return hashlib.sha256(os.fsencode(name) + bytes(attempt)).hexdigest()[:DIGITS]


def _key(place: PurePosixPath) -> str:
    """What two names share that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", str(place)).casefold())


def _kept(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _suffix(name: str) -> str:
    """The suffix of the file that a picture goes to."""
    return PurePosixPath(name).suffix.lower() if _kept(name) else FORMATS["PNG"].suffixes[0]


def _identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino
