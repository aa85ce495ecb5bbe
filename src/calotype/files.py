"""Writing files so that a kill, a crash or a full disk at any instant leaves either the old file or the new one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from calotype.errors import TrainingError

SPARE = 16 << 20  # bytes of free space that are left alone


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by ``write(stream)`` under another name, flush it to the disk, then put it in its place in one operation."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise disk_full(path) from None
        raise
    sync_folder(path.parent)


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


def require_space(folder: Path, size: int) -> None:
    """Raise `TrainingError` where ``folder`` has no room for ``size`` bytes more."""
    if shutil.disk_usage(folder).free < size + SPARE:
        raise disk_full(folder, size)


def disk_full(path: Path, size: int | None = None) -> TrainingError:
    """The error for a disk with no room left."""
    amount = "" if size is None else f": {size / 1e6:.0f} MB are needed"
    return TrainingError(f"no space left on the disk of {path}{amount}; free some, then resume: nothing saved before is lost")
