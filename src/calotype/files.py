"""Writing files so that a kill, a crash or a full disk at any instant leaves either the old file or the new one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from calotype.errors import CalotypeError

SPARE = 16 << 20  # bytes of free space that are left alone


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to another name, which takes the place of ``path`` in one operation, durably, when the block ends well.

    When it does not, nothing is left of it. Raises `CalotypeError` where the disk is full.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise disk_full(path) from None
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by ``write(stream)``, whole or not at all."""
    with replacing(path) as stream:
        write(stream)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, atomically."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()))


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a loss of power."""
    if os.name == "nt":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def has_space(folder: Path, size: int) -> bool:
    """Whether the disk of ``folder``, which need not exist yet, has room for ``size`` bytes more."""
    there = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    return shutil.disk_usage(there).free >= size + SPARE


def disk_full(path: Path, size: int | None = None) -> CalotypeError:
    """The error for a disk with no room left."""
    amount = "" if size is None else f": {size / 1e6:.0f} MB are needed"
    return CalotypeError(f"no space left on the disk of {path}{amount}; free some and go on: nothing saved before is lost")
