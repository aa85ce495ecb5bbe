"""Writing files so that a kill, a crash or a full disk at any instant leaves either the old file or the new one."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

from calotype.errors import CalotypeError, DamagedError, UserError, printable

SPARE = 16 << 20  # bytes of free space that are left alone
JSON_BYTES = 16 << 20  # of the largest JSON file that is read
JSON_VALUES = 1 << 20  # of the lists and objects in it, each of which takes tens of times the memory of its two characters


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to another name, which takes the place of ``path`` in one operation, durably, when the block ends well.

    When it does not, nothing is left of it.
    Raises `CalotypeError` where the disk is full, and any other ``OSError`` in the name of
    ``path``.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        # a new file under a name that nobody can predict: no link is followed
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise disk_full(path) from None
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise
    sync_folder(path.parent)


@contextmanager
def creating(path: Path) -> Iterator[BinaryIO]:
    """A stream to a new file that only its owner can read, kept durably when the block ends well; else nothing is left of it.

    Raises ``FileExistsError`` where something has that name, be it since a moment ago: the system sees to it, not a look beforehand.
    Raises `CalotypeError` where the disk is full.
    """
    stream = open(path, "xb", opener=_private)  # noqa: SIM115 - what another made is not taken away below
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise disk_full(path) from None
        raise
    sync_folder(path.parent)


def _private(path: str, flags: int) -> int:
    """An ``opener`` of `open` for files that only their owner can read."""
    return os.open(path, flags, 0o600)


def not_linked(path: str, flags: int) -> int:
    """An ``opener`` of `open` for files that are added to or locked under a name that others can predict: no link there is followed.

    Raises ``OSError`` for a link and for what is no file, where the system tells.
    """
    try:
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)  # a pipe is not waited for
    except OSError:
        if os.path.islink(path):
            raise OSError(errno.ELOOP, f"{path} is a link, which is not followed: remove it", path) from None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, f"{path} is not a plain file: remove it", path)


def claim(path: Path, seconds: float = 0.0) -> int | None:
    """A handle that keeps other processes from claiming the same file until it is closed or its process ends, however it ends.

    The file is made where it is missing. None where another process has it, and still has it after ``seconds``. Where the system or the
    file system has no locks, nobody is kept away. Raises ``OSError`` where the file cannot be written.
    """
    handle = not_linked(str(path), os.O_RDWR | os.O_CREAT)
    if os.name == "nt":
        return handle
    import fcntl

    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # a file system without locks
                return handle
            if time.monotonic() >= until:
                os.close(handle)
                return None
        time.sleep(0.01)


def claimed(path: Path) -> bool:
    """Whether another process has claimed a file. Asked at the same instant, `claim` may have to wait for some milliseconds."""
    try:
        handle = not_linked(str(path), os.O_RDONLY)
    except OSError:
        return False
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    except ImportError:  # Windows
        return False
    finally:
        os.close(handle)
    return False


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file by ``write(stream)``, whole or not at all."""
    with replacing(path) as stream:
        write(stream)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically; what cannot be encoded, such as a byte of a file name that was none, becomes a question mark."""
    write_atomic(path, lambda stream: stream.write(text.encode(errors="replace")))


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, atomically."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """``value`` as `write_json` writes it, always in the same ASCII characters. Raises ``ValueError`` for what JSON cannot hold."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


# names that Windows keeps for itself
_DEVICE = re.compile(r"(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE)


def portable_name(text: str, otherwise: str = "images") -> str:
    """A part of a path from anywhere as every system can hold it, else as it is: no device, no stream, nothing that Windows cuts off.

    >>> portable_name("12:30 où.png"), portable_name("CON.png"), portable_name("dir. "), portable_name("Grün.png")
    ('12-30 où.png', 'images-CON.png', 'dir', 'Grün.png')
    """
    name = re.sub(r'[<>:"|?*\\/\x00-\x1f]+', "-", text).rstrip(". ")
    return f"{otherwise}-{name}" if _DEVICE.match(name) else name or otherwise


def safe_name(text: str, otherwise: str = "images", limit: int = 80) -> str:
    """Text from anywhere as the name of a file or folder, on every system: no path, nothing hidden, no control characters, not too long.

    >>> safe_name("../../etc/My Photos"), safe_name("..."), safe_name("NUL.txt"), safe_name("gan-mnist5k")
    ('etc-My-Photos', 'images', 'images-NUL.txt', 'gan-mnist5k')
    """
    name = re.sub(r"([^A-Za-z0-9._-]|\.\.)+", "-", text).strip("-.")[:limit].rstrip("-.")
    return f"{otherwise}-{name}" if _DEVICE.match(name) else name or otherwise


def unused(path: Path) -> Path:
    """``path``, or the first of ``name-2``, ``name-3`` ... where something is there: a name that nobody asked for replaces nothing."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def name_of(folder: Path) -> str:
    """What trained weights are called: by their run, also where its ``model/`` or ``best/`` is given."""
    folder = folder.resolve()
    if (folder / "checkpoints").is_dir():
        return folder.name
    if folder.name == "best" and (folder.parent / "checkpoints").is_dir():
        return f"{folder.parent.name}/best"
    return folder.parent.name if folder.name == "model" else folder.name


def absent(path: Path, wanted: str) -> str:
    """What to say of a run or other folder that is not there: the runs whose names are most like its own, else what is ``wanted``."""
    lost = path.parent if path.name in ("model", "best") else path
    beside = {str(place.parent): place.parent.name for root in (lost.parent, Path("runs")) for place in _configurations(root)}
    near = get_close_matches(lost.name, sorted(set(beside.values())), n=3, cutoff=0.7)
    places = [next(place for place, name in beside.items() if name == one) for one in near]
    hint = f"did you mean {' or '.join(places)}?" if places else f"give {wanted}"
    return printable(f"{path} does not exist: {hint}")


def _configurations(root: Path) -> list[Path]:
    """What lies in the folders inside of ``root`` that may be runs."""
    try:
        return sorted(root.glob("*/config.json"))
    except (OSError, ValueError):
        return []


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamagedError: for everything else that a file can be, missing included.
    """
    try:
        return parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error})") from None


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of ``most`` bytes at most.

    Raises:
        OSError: for a file that cannot be read, and for what is none: a device without end, a pipe that nobody writes to.
        ValueError: with a few words, for a larger file.
    """
    if not stat.S_ISREG((found := path.stat()).st_mode):
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is no ordinary file", str(path))
    with open(path, "rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return data


def parse_json(data: bytes | str) -> dict[str, Any]:
    """The JSON object in ``data``, with numbers that 64 bits hold and text that can be encoded.

    Raises:
        ValueError: with a few words, for everything else, whatever it does to a parser.
    """
    if len(data) > JSON_BYTES:
        raise ValueError(f"it has more than {JSON_BYTES >> 20} MiB")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        if text.count("[") + text.count("{") > JSON_VALUES:
            raise ValueError("it holds too many lists and objects")
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_number)
        if "\\u" in text or isinstance(data, str):  # half of a character can be written, but not encoded; a byte of a file name can
            json.dumps(value, ensure_ascii=False).encode(errors="surrogateescape")
    except UnicodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} is not valid JSON: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("it holds a number that is not finite")
    return value


def expanded(name: str | Path) -> Path:
    """The path that a user means by ``name``: a leading ``~`` is a home folder.

    Raises:
        UserError: for a home folder that there is not, and for a name that no file can have.
    """
    if "\0" in str(name):
        raise UserError(f"{str(name)!r} cannot be the name of a file: it holds a zero byte")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no such home folder; write the path in full") from None


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a loss of power."""
    if os.name == "nt":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder(cache: Path | None = None) -> Path:
    """Where downloads and prepared files are kept: what is given, else ``$CALOTYPE_CACHE``, else ``~/.cache/calotype``."""
    if cache is not None:
        return cache
    if named := os.environ.get("CALOTYPE_CACHE"):
        return expanded(named)
    try:
        return Path.home() / ".cache" / "calotype"
    except RuntimeError:
        raise UserError("there is no home folder to keep downloads and prepared images in: set CALOTYPE_CACHE to a folder") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def has_space(folder: Path, size: int) -> bool:
    """Whether the disk of ``folder``, which need not exist yet, has room for ``size`` bytes more.

    Where nothing can be written at all, or where the file system counts no space, this does not say no: the writer will say why.
    """
    there = _nearest(folder)
    usage = shutil.disk_usage(there)
    return usage.free >= size + SPARE or usage.total == 0 or not os.access(there, os.W_OK)


def obstacle(path: Path, *, folder: bool = False, make: bool = False) -> str | None:
    """Why a file (or a folder with files in it) cannot be written at ``path``, in a few words, or None where it can.

    It is tried out, since permissions alone do not tell; nothing is left behind. ``make`` says that folders that are missing around the
    file will be made, as those around a folder always are.
    """
    try:
        if folder and path.exists() and not path.is_dir():
            return "it is a file, not a folder"
        if not folder and path.is_dir():
            return "it is a folder"
        if not folder and path.exists() and not path.is_file():
            return "it is a device"
        if not folder and not make and not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        place = _nearest(path if folder else path.parent)
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    if not place.is_dir():
        return f"{place} is a file, not a folder"
    trial = place / f".{secrets.token_hex(8)}.tmp"
    try:
        open(trial, "xb").close()
        trial.unlink()
    except OSError as error:
        return f"the folder {place} cannot be written" + ("" if error.errno == errno.ENOENT else f" ({error.strerror})")
    return None


def _nearest(folder: Path) -> Path:
    """The first of ``folder`` and the folders around it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def disk_full(path: Path, size: int | None = None) -> CalotypeError:
    """The error for a disk with no room left."""
    amount = "" if size is None else f": {size / 1e6:.0f} MB are needed"
    return CalotypeError(f"no space left on the disk of {path}{amount}; free some and go on: nothing saved before is lost")
