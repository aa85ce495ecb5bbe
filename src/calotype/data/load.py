"""``load``, ``prepare`` and the finding of a source by its name or path."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from calotype.data import embedded, toy
from calotype.data.arrays import Arrays
from calotype.data.download import PUBLIC, fetch
from calotype.data.facts import VERSION
from calotype.data.files import Files, Folder, Zip
from calotype.data.fit import Fit, check_options
from calotype.data.idx_cifar import read_folder
from calotype.data.images import Images, Progress, Split
from calotype.data.kinds import reads_heif
from calotype.data.prepare import size_for, survey, write_arrays, write_files
from calotype.data.prepared import SUFFIX, Prepared, is_prepared, memory_limit, prepared_path, read_prepared
from calotype.data.toy import PointSource
from calotype.errors import DamagedError, UserError
from calotype.files import cache_folder, expanded, not_linked, obstacle, safe_name

NAMED = (*embedded.NAMES, *PUBLIC, *toy.NAMES)
"""Sources that go by a name: embedded, downloaded, made on the spot. All others are paths."""

ACCEPTED = f"{', '.join(NAMED)}, a folder, a zip archive, or a file written by 'calotype data prepare'"


def load(
    source: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    holdout: float = 0.1,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Split:
    """Images to train on and images held out, from any source, at one shape.

    Args:
        source: ``mnist5k``, ``clothing`` or ``photos`` (embedded), ``mnist``, ``fashion-mnist`` or ``cifar10`` (downloaded once),
            ``ring``, ``grid`` or ``stacked5k`` (testbeds, made on the spot; see `calotype.data.toy`), a folder
            or zip of images (class folders become labels), a folder with the original IDX or CIFAR files, or a prepared file.
        size: Height and width in pixels, 8 to 1024; the source's own where all images are squares of one size.
        channels: 1 or 3; by default 1 where all images are gray.
        fit: How an image that is not square becomes so: ``crop`` its middle, ``pad`` it with black, ``stretch`` it.
        holdout: The share of each class held out, at most 10,000 images; a split that the source itself has comes first.
        cache: Folder for downloads and decoded images; by default ``$CALOTYPE_CACHE``, else ``~/.cache/calotype``.
        progress: Called with (done, total) while files are downloaded or decoded.

    Raises:
        UserError: If the source is unknown, has no usable image, or cannot be brought to one shape.
    """
    check_options(size, channels, fit)
    if not 0 <= holdout < 1:
        raise UserError(f"a holdout of {holdout} is not possible: give a share from 0 to 0.5")
    found: Arrays | Files | Prepared | PointSource = find(source, cache, progress)
    if isinstance(found, PointSource):
        return found.split(size=size, channels=channels, fit=fit)
    if isinstance(found, Files):
        with contextlib.closing(found):
            found = cached(found, size, channels, fit, cache, progress)
    if isinstance(found, Prepared) and _differs(found, size, channels):
        found = _reshapable(found, source)
    split = found.split(holdout) if isinstance(found, Prepared) else found.split(size, channels, fit, holdout, give_up=True)
    if not len(split.train):
        why = f"; of the others {split.train.skipped[0].name}: {split.train.skipped[0].reason}" if split.train.skipped else ""
        raise UserError(f"{source} has no usable image to train on: all {len(split.holdout):,} are held out{why}")
    return split


def prepare(
    source: str,
    out: Path | str,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """Write a source as one prepared file, which ``load`` maps into memory, and return all its images.

    ``out`` is the file to write; a name without the suffix ``.calotype`` gets it. For the rest see ``load``.
    """
    check_options(size, channels, fit)
    target = prepared_path(Path(out))
    if reason := obstacle(target, make=True):
        raise UserError(f"cannot write {target}: {reason}; choose another place")
    found = find(source, cache, progress)
    if isinstance(found, PointSource):
        raise UserError(f"{source} holds points, which are made on the spot: there is nothing to prepare")
    if isinstance(found, Prepared):
        found = _reshapable(found, source)
    if isinstance(found, Files):
        with contextlib.closing(found):
            write_files(found, target, short_name(found.path), size, channels, fit, progress)
    else:
        write_arrays(found, target, size, channels, fit, progress)
    return _prepared(target).images()


def find(source: str, cache: Path | None = None, progress: Progress | None = None) -> Arrays | Files | Prepared | PointSource:
    """What a name or path stands for, downloaded where it must be. Raises ``UserError`` where it stands for nothing."""
    if not source.strip():
        raise UserError(f"no source of images is given: accepted are {ACCEPTED}")
    path = expanded(source)
    if source == embedded.DIGITS:
        return embedded.digits()
    if source in toy.POINTS:
        return PointSource(toy.POINTS[source])
    if source == toy.STACKED:
        return toy.stacked()
    if source in embedded.PHOTOGRAPHS:
        return Zip(embedded.photographs(source))
    if source in PUBLIC:
        public = PUBLIC[source]
        folder = fetch(source, public.files, cache_folder(cache), progress)
        found = read_folder(folder, source, public.classes)
        assert found is not None
        return found
    try:
        if path.is_dir():
            return read_folder(path, short_name(path)) or Folder(path)
        if path.is_file():
            return _find_file(path)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}") from error
    if path.exists():
        raise UserError(f"{source} is neither a file nor a folder: accepted are {ACCEPTED}")
    raise _unknown(source, path)


def has_a_name(source: str) -> bool:
    """Whether a source goes by a name, and not by its path; such sources hold out a part of themselves.

    >>> has_a_name("mnist5k"), has_a_name("stacked5k"), has_a_name("./mnist5k")
    (True, True, False)
    """
    return source in NAMED


def namesake(source: str) -> str | None:
    """What to say where a file or folder here is called as the data set that a name stands for; None where nothing is."""
    if not has_a_name(source) or not expanded(source).exists():
        return None
    return f"{source} is the data set of that name; for what lies here under the same name give ./{source}"


def require_images(source: str) -> None:
    """Raise `UserError` for the name of a testbed of points, where images are wanted."""
    if source in toy.POINTS:
        raise UserError(f"{source} holds points and no images: name pictures, a folder, a zip archive or another data set")


def suggested_size(source: str, cache: Path | None = None, progress: Progress | None = None) -> int | None:
    """The size that the pictures of a folder or archive are brought to where nobody says one; None for images that have one of their own.

    Raises:
        UserError: as `find`, and where nothing is usable.
    """
    found = find(source, cache, progress)
    if not isinstance(found, Files):
        return None
    with contextlib.closing(found):
        seen = survey(found, None if progress is None else lambda done, total: progress(0, total))
    return size_for(seen.shorter(), square=seen.square is not None)


def short_name(path: Path) -> str:
    """A name for a source at a path, fit for the name of a folder: lower case letters, digits and dashes."""
    stem = path.resolve().name
    stem = stem[: -len(path.suffix)] if path.suffix and path.is_file() else stem
    return safe_name(re.sub(r"[^a-z0-9]+", "-", stem.lower()), limit=40)


def cached(files: Files, size: int | None, channels: int | None, fit: Fit, cache: Path | None, progress: Progress | None) -> Prepared:
    """A folder or archive as the prepared file that the cache keeps of it; written anew when the source changed or the file is damaged."""
    folder = cache_folder(cache) / "prepared"
    name = short_name(files.path)
    place = hashlib.sha256(os.fsencode(files.path.resolve()) + f" {size} {channels} {fit}".encode()).hexdigest()[:12]
    state = hashlib.sha256(f"{files.state()} {VERSION} named{' heif' * reads_heif()}".encode()).hexdigest()[:16]
    target = folder / f"{name}-{place}-{state}{SUFFIX}"
    with _alone(folder, f"{name}-{place}.lock"):
        if target.exists():
            with contextlib.suppress(DamagedError):
                return read_prepared(target)
        write_files(files, target, name, size, channels, fit, progress)
        for old in folder.glob(f"{name}-{place}-*{SUFFIX}"):
            if old != target:
                with contextlib.suppress(OSError):
                    old.unlink()
        return read_prepared(target)


def _prepared(path: Path) -> Prepared:
    """A prepared file under its own name, which is the one that its user knows, and not that of what it was made from."""
    found = read_prepared(path)
    return replace(found, facts=found.facts.model_copy(update={"name": short_name(path)}))


def _find_file(path: Path) -> Arrays | Files | Prepared:
    if is_prepared(path):
        return _prepared(path)
    if path.suffix == SUFFIX:
        raise UserError(f"{path} is not a prepared file, or a damaged one: write it again with 'calotype data prepare'")
    if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        return Zip(path)
    found = read_folder(path, "cifar10")
    if found is None:
        raise UserError(f"{path} is not a source of images: accepted are {ACCEPTED}")
    return found


def _differs(found: Prepared, size: int | None, channels: int | None) -> bool:
    _, _, width, depth = found.pixels.shape
    return size not in (None, width) or channels not in (None, depth)


def as_arrays(found: Prepared) -> Arrays:
    """A prepared file as arrays."""
    facts = found.facts
    held = None if facts.holdout is None else np.arange(len(found.pixels)) < facts.holdout
    return Arrays(facts.title, found.pixels, found.labels, facts.shown, held, facts.skipped, facts.others, arranged=True, files=found.files)


def _reshapable(found: Prepared, source: str) -> Arrays:
    """A prepared file as arrays, to be brought to another shape. Raises ``UserError`` where memory does not hold them."""
    if found.pixels.nbytes > memory_limit():
        raise UserError(f"{source} is too large to be brought to another shape: prepare it again from its source")
    return as_arrays(found)


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """One process at a time, so that the ranks of a training decode a source once; where locks do not exist, each decodes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / name, "a", opener=not_linked)  # noqa: SIM115
    except OSError as error:
        raise UserError(f"the cache folder {folder} cannot be written ({error.strerror}): set CALOTYPE_CACHE to one that can") from error
    with lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _may_be_source(entry: Path) -> bool:
    """Whether there may be images in what lies somewhere: not in an empty folder, and not in a single picture."""
    return any(entry.iterdir()) if entry.is_dir() else entry.suffix.lower() in (".zip", SUFFIX)


def _unknown(source: str, path: Path) -> UserError:
    near = get_close_matches(source, NAMED, n=3, cutoff=0.6)
    with contextlib.suppress(OSError):
        there = {entry.name: entry for entry in path.parent.iterdir() if _may_be_source(entry)}
        near += [str(there[name]) for name in get_close_matches(path.name, list(there), n=3, cutoff=0.7)]
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return UserError(f"no data set or path {source!r}{hint}: accepted are {ACCEPTED}")
