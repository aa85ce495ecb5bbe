"""The original files of MNIST and Fashion-MNIST (IDX) and of CIFAR-10 (pickled or binary batches), in a folder or archive."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.data.arrays import Arrays
from calotype.data.images import Labels, Pixels
from calotype.data.pickled import integers, read_pickle
from calotype.data.reading import first_line
from calotype.data.unpack import IMAGE, RATIO, Budget, guarded, open_unpacked, read_all, read_into, tar_members
from calotype.errors import UserError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IDX = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?$")
_BATCH = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?$")
_CIFAR = 512 * 2**20  # bytes of all batches, which have 180 MB
_ROW = 3 * 32 * 32


def read_folder(path: Path, name: str, classes: tuple[str, ...] = ()) -> Arrays | None:
    """The data set whose original files lie in a folder or in a CIFAR archive; ``None`` where there are none.

    Args:
        path: A folder, or ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``.
        name: What to call the data set.
        classes: Names of the classes of IDX files, which do not say them; by default their numbers.

    Raises:
        UserError: If files are damaged or belong to different sets.
    """
    if path.is_file():
        return _read_tar(path, name) if path.name.lower().endswith((".tar.gz", ".tgz", ".tar")) else None
    entries = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    found = {match.group(1, 2): entry for entry in entries.values() if (match := _IDX.match(entry.name))}
    if found:
        return _read_idx_set({key: found[key] for key in found}, name, classes)
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
        inner = folder.iterdir() if folder.is_dir() else ()
        batches: dict[str, Path | bytearray] = {entry.name: entry for entry in inner if _BATCH.match(entry.name) and entry.is_file()}
        if batches:
            return _read_cifar(batches, name, folder)
    archives = [entry for entry in entries.values() if re.match(r"cifar-10-(python|binary)\.(tar\.gz|tgz|tar)$", entry.name)]
    return _read_tar(archives[0], name) if archives else None


@dataclass(frozen=True)
class _Idx:
    """An IDX file of bytes, gzip-compressed or not, of which the header is read."""

    path: Path
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self, out: NDArray[np.uint8]) -> None:
        """Fill ``out``, whose shape is that of the file. Raises ``UserError`` where the file holds less or more."""
        with guarded(self.path), open_unpacked(self.path) as stream:
            stream.read(4 + 4 * len(self.shape))
            if not read_into(stream, out.data.cast("B")):
                raise UserError(f"{self.path} does not hold the {self.size:,} bytes that its header says: copy or download it again")


def _open_idx(path: Path, budget: Budget) -> _Idx:
    """The header of an IDX file. Raises ``UserError`` where it is none, and where it says more than there can be."""
    with guarded(path), open_unpacked(path) as stream:
        start = stream.read(4)
        dimensions = start[3] if len(start) == 4 and start[:3] == b"\0\0\x08" else 0
        sides = stream.read(4 * dimensions)
        if not 1 <= dimensions <= 3 or len(sides) < 4 * dimensions:
            raise UserError(f"{path} is not an IDX file of bytes: copy or download it again")
        found = _Idx(path, struct.unpack(f">{dimensions}I", sides))
        budget.spend(found.size + IMAGE * found.shape[0])
        if found.size > path.stat().st_size * RATIO:
            raise UserError(f"{path} is cut off: its header says {found.size:,} bytes; copy or download it again")
    return found


def _read_idx_set(found: Mapping[tuple[str | Any, ...], Path], name: str, classes: tuple[str, ...]) -> Arrays:
    place = next(iter(found.values())).parent
    budget = Budget(place)
    opened = {key: _open_idx(path, budget) for key, path in sorted(found.items())}
    parts = [part for part in ("train", "t10k") if (part, "images") in opened]
    images = [opened[part, "images"] for part in parts]
    marks = [opened.get((part, "labels")) for part in parts]
    if not images:
        raise UserError(f"{place} holds IDX labels without images: put the matching *-images-idx3-ubyte file beside them")
    for part, image, mark in zip(parts, images, marks, strict=True):
        if len(image.shape) != 3 or image.size == 0:
            raise UserError(f"{image.path} holds no images: its shape is {' x '.join(map(str, image.shape))}")
        if mark is not None and mark.shape != image.shape[:1]:
            raise UserError(f"{place} has {mark.size:,} {part} labels for {image.shape[0]:,} images: the files belong to different sets")
    if len({image.shape[1:] for image in images}) > 1:
        raise UserError(f"{place} holds train and t10k images of different sizes: keep the files of one set in a folder")
    counts = [image.shape[0] for image in images]
    pixels = np.empty((sum(counts), *images[0].shape[1:], 1), np.uint8)
    labels = np.empty(len(pixels), np.uint8)
    starts = np.cumsum([0, *counts])
    known = [mark for mark in marks if mark is not None]
    for image, start in zip(images, starts, strict=False):
        image.read(pixels[start : start + image.shape[0]])
    for mark, start in zip(known, starts, strict=False) if len(known) == len(images) else ():
        mark.read(labels[start : start + mark.size])
    top = int(labels.max()) + 1 if len(known) == len(images) else 0
    names = () if not top else classes if len(classes) >= top else tuple(str(n) for n in range(top))
    holdout = np.arange(len(pixels)) >= counts[0] if len(parts) == 2 else None
    return Arrays(name, pixels, labels.astype(np.int64) if names else None, names, holdout)


def _read_tar(path: Path, name: str) -> Arrays:
    batches: dict[str, Path | bytearray] = {}
    with guarded(path):
        for member, stream in tar_members(path, Budget(path, _CIFAR)):
            base = member.rsplit("/", 1)[-1]
            if _BATCH.match(base):
                batches[base] = read_all(stream)
    if not batches:
        raise UserError(f"{path} holds no CIFAR-10 batches; unpack other archives, or pack their images as a zip")
    return _read_cifar(batches, name, path)


def _read_cifar(batches: MutableMapping[str, Path | bytearray], name: str, place: Path) -> Arrays:
    """The images of all batches, each of which is taken out of ``batches`` and let go of before the next one is read."""
    budget = Budget(place, _CIFAR)
    sizes = [batch.stat().st_size if isinstance(batch, Path) else len(batch) for batch in batches.values()]
    budget.spend(sum(sizes))
    pixels = np.empty((sum(sizes) // _ROW, 32, 32, 3), np.uint8)  # no fewer than there are; untouched memory costs nothing
    held, labels, count = [], [], 0
    for batch in sorted(batches):
        with guarded(place / batch):
            found = batches.pop(batch)
            data = found.read_bytes() if isinstance(found, Path) else found
        rows, marks = (_binary if batch.endswith(".bin") else _pickled)(data, place / batch)
        pixels[count : count + len(rows)] = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        count += len(rows)
        labels.append(marks)
        held.append(np.full(len(rows), batch.startswith("test")))
        del found, data, rows  # which would stay until the next ones are there
    if not count:
        raise UserError(f"{place} holds CIFAR-10 batches without images: copy or download it again")
    own = np.concatenate(held)
    return Arrays(name, pixels[:count], np.concatenate(labels), CIFAR10_CLASSES, None if own.all() or not own.any() else own)


def _binary(data: bytes | bytearray, place: Path) -> tuple[Pixels, Labels]:
    if len(data) == 0 or len(data) % (_ROW + 1):
        raise UserError(f"{place} is not a whole CIFAR-10 batch: copy or download it again")
    table = np.frombuffer(data, np.uint8).reshape(-1, _ROW + 1)
    return table[:, 1:], _checked(table[:, 0].astype(np.int64), place)


def _pickled(data: bytes | bytearray, place: Path) -> tuple[Pixels, Labels]:
    try:
        batch = read_pickle(data)
        rows, labels = (integers(batch.get(key)) for key in ("data", "labels"))
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != _ROW or labels.shape != rows.shape[:1]:
            raise ValueError("it holds something else")
    except (ValueError, OverflowError) as error:
        raise UserError(f"{place} is not a CIFAR-10 batch ({first_line(error)}): copy or download it again") from error
    return rows.view(np.uint8), _checked(labels, place)


def _checked(labels: NDArray[np.integer], place: Path) -> Labels:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < 10:
        raise UserError(f"{place} has labels outside 0..9: it is not CIFAR-10")
    return labels.astype(np.int64)
