"""The original files of MNIST and Fashion-MNIST (IDX) and of CIFAR-10 (pickled or binary batches), in a folder or archive."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.data.arrays import Arrays
from calotype.data.images import Labels, Pixels
from calotype.errors import UserError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IDX = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?$")
_BATCH = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?$")
_LIMIT = 2**31  # bytes of one file once it is decompressed
_ROW = 3 * 32 * 32
Read = Callable[[], bytes]


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
        batches = {entry.name: entry.read_bytes for entry in folder.iterdir() if _BATCH.match(entry.name)} if folder.is_dir() else {}
        if batches:
            return _read_cifar(batches, name, str(folder))
    archives = [entry for entry in entries.values() if re.match(r"cifar-10-(python|binary)\.(tar\.gz|tgz|tar)$", entry.name)]
    return _read_tar(archives[0], name) if archives else None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file of bytes, gzip-compressed or not. Raises ``UserError`` where it is damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(_LIMIT)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): copy or download it again") from error
    if len(data) < 8 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 3 or len(data) < 4 + 4 * data[3]:
        raise UserError(f"{path} is not an IDX file of bytes: copy or download it again")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    start, count = 4 + 4 * len(shape), int(np.prod(shape, dtype=object))
    if len(data) != start + count:
        raise UserError(f"{path} holds {len(data) - start:,} bytes where its header says {count:,}: copy or download it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_idx_set(found: Mapping[tuple[str | Any, ...], Path], name: str, classes: tuple[str, ...]) -> Arrays:
    parts: list[tuple[str, Pixels, Labels | None]] = []
    place = next(iter(found.values())).parent
    for part in ("train", "t10k"):
        if (part, "images") not in found:
            continue
        pixels = read_idx(found[part, "images"])
        if pixels.ndim != 3:
            raise UserError(f"{found[part, 'images']} holds no images: it has {pixels.ndim} dimensions, not 3")
        marks = read_idx(found[part, "labels"]) if (part, "labels") in found else None
        if marks is not None and marks.shape != pixels.shape[:1]:
            raise UserError(f"{place} has {marks.size} {part} labels for {len(pixels)} images: the files belong to different sets")
        parts.append((part, pixels[..., None], None if marks is None else marks.astype(np.int64)))
    if not parts:
        raise UserError(f"{place} holds IDX labels without images: put the matching *-images-idx3-ubyte file beside them")
    if len({pixels.shape[1:] for _, pixels, _ in parts}) > 1:
        raise UserError(f"{place} holds train and t10k images of different sizes: keep the files of one set in a folder")
    labels = _joined([labels for _, _, labels in parts])
    top = int(labels.max()) + 1 if labels is not None and len(labels) else 0
    names = () if labels is None else classes if len(classes) >= top else tuple(str(n) for n in range(top))
    holdout = np.concatenate([np.full(len(pixels), part == "t10k") for part, pixels, _ in parts]) if len(parts) == 2 else None
    return Arrays(name, np.concatenate([pixels for _, pixels, _ in parts]), labels if names else None, names, holdout)


def _joined(parts: list[Labels | None]) -> Labels | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _read_tar(path: Path, name: str) -> Arrays:
    try:
        with tarfile.open(path) as archive:
            batches: dict[str, Read] = {}
            for member in archive:
                base = member.name.rsplit("/", 1)[-1]
                if member.isreg() and member.size < _LIMIT and _BATCH.match(base):
                    data = archive.extractfile(member)
                    assert data is not None
                    batches[base] = io.BytesIO(data.read()).getvalue
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}): copy or download it again") from error
    if not batches:
        raise UserError(f"{path} holds no CIFAR-10 batches; unpack other archives, or pack their images as a zip")
    return _read_cifar(batches, name, str(path))


def _read_cifar(batches: dict[str, Read], name: str, place: str) -> Arrays:
    held, pixels, labels = [], [], []
    for batch in sorted(batches):
        rows, marks = (_binary if batch.endswith(".bin") else _pickled)(batches[batch], f"{place}/{batch}")
        pixels.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(marks)
        held.append(np.full(len(rows), batch.startswith("test")))
    own = np.concatenate(held)
    return Arrays(name, np.concatenate(pixels), np.concatenate(labels), CIFAR10_CLASSES, None if own.all() or not own.any() else own)


def _binary(read: Read, place: str) -> tuple[Pixels, Labels]:
    data = np.frombuffer(read(), np.uint8)
    if len(data) == 0 or len(data) % (_ROW + 1):
        raise UserError(f"{place} is not a whole CIFAR-10 batch: copy or download it again")
    table = data.reshape(-1, _ROW + 1)
    return table[:, 1:], _checked(table[:, 0].astype(np.int64), place)


def _pickled(read: Read, place: str) -> tuple[Pixels, Labels]:
    try:
        batch = _Unpickler(io.BytesIO(read()), encoding="bytes").load()
        rows = np.asarray(batch[b"data"] if b"data" in batch else batch["data"])
        labels = np.asarray(batch[b"labels"] if b"labels" in batch else batch["labels"])
        if (
            rows.dtype != np.uint8
            or rows.ndim != 2
            or rows.shape[1] != _ROW
            or labels.shape != rows.shape[:1]
            or labels.dtype.kind not in "iu"
        ):
            raise ValueError("it holds something else")
    except Exception as error:  # a damaged pickle raises nearly every exception there is
        raise UserError(
            f"{place} is not a CIFAR-10 batch ({(str(error).splitlines() or ['?'])[0][:100]}): copy or download it again"
        ) from error
    return rows, _checked(labels.astype(np.int64), place)


def _checked(labels: Labels, place: str) -> Labels:
    if len(labels) and not 0 <= labels.min() <= labels.max() < 10:
        raise UserError(f"{place} has labels outside 0..9: it is not CIFAR-10")
    return labels


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """What old pickles of byte strings ask of ``_codecs.encode``."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding} is not admitted")
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, strings and arrays; a pickle that names anything else is refused before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct = np.empty(0).__reduce__()[0]
        admitted = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data set needs")
        return admitted[module, name]
