"""Checkpoints that survive anything: safetensors and JSON in a folder, a SHA-256 manifest written last, two generations.

A folder becomes visible by a rename after all that it holds has reached the disk, and no other is touched before that. A checkpoint
that is not in every byte what was written is never loaded: the one before it is.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from calotype import earlier
from calotype.errors import DamagedError, printable
from calotype.files import disk_full, has_space, json_text, read_json, sha256, sync_folder, write_atomic, write_json

GENERATIONS = 2
FILES = ("state.safetensors", "state.json")
# A second folder of the same step has a number behind its name, the newer the higher: it was written after going back, or where a
# damaged one lay, and takes the plain name when that has gone.
_NAME = re.compile(r"step-([0-9]{9,18})(?:\.([0-9]{1,9}))?")


@dataclass(frozen=True)
class Checkpoint:
    """One saved state."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # plain JSON: counters, settings that were resolved
    path: Path
    damaged: tuple[str, ...] = ()  # newer checkpoints that could not be used, each with the reason

    @property
    def step(self) -> int:
        """The step that it was saved as."""
        return _order(self.path)[0]


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write the checkpoint of ``step`` into ``folder`` and drop all but the newest whole generations.

    Raises `CalotypeError` where the disk is full; the checkpoints that were there are untouched then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    # safetensors stores contiguous memory; the layout of a tensor comes back from the module that loads it
    payload = pack_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    if not has_space(folder, len(payload)):
        raise disk_full(folder, len(payload))
    target = folder / f"step-{step:09d}"
    temporary = folder / f".{target.name}.{secrets.token_hex(8)}.tmp"
    temporary.mkdir()
    try:
        write_atomic(temporary / FILES[0], lambda stream: stream.write(payload))
        write_json(temporary / FILES[1], facts)
        write_json(temporary / "manifest.json", {name: sha256(temporary / name) for name in FILES})
        written = _free(target)
        os.replace(temporary, written)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _drop(folder, written)
    if written != target:
        with suppress(OSError):  # it is found under the other name as well
            os.replace(written, target)
            written = target
    return written


def load_newest(folder: Path, check: Callable[[Checkpoint], object] | None = None) -> Checkpoint | None:
    """The newest checkpoint that is whole, or none where there never was one.

    Args:
        folder: of all checkpoints.
        check: raises `DamagedError` for a checkpoint that is whole but holds something else than it should.

    Raises:
        DamagedError: where there are checkpoints and none of them can be used.
    """
    damaged: list[str] = []
    for path in _generations(folder):
        try:
            require_whole(path)
            found = Checkpoint(_tensors(path / FILES[0]), read_json(path / FILES[1]), path, tuple(damaged))
            if check is not None:
                check(found)
            return found
        except DamagedError as error:
            damaged.append(f"{path.name}: {error}".replace(f"{path}{os.sep}", ""))
    if damaged:
        raise DamagedError(
            f"every checkpoint in {folder} is damaged ({'; '.join(damaged)}): restore the folder from a copy; or remove it, and the run "
            "begins again at step 0 when it is resumed"
        )
    return None


def facts_of_newest(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint says of itself (`Checkpoint.facts`), without its tensors and unverified; empty where there is none."""
    for path in _generations(folder):
        with suppress(DamagedError):
            return read_json(path / FILES[1])
    return {}


def require_whole(path: Path) -> None:
    """Raise `DamagedError` unless the folder of a checkpoint holds its files as they were written, to the last bit."""
    try:
        manifest = read_json(path / "manifest.json")
        if set(manifest) != set(FILES) or not all(isinstance(digest, str) for digest in manifest.values()):
            raise DamagedError("its manifest does not list what a checkpoint holds")
        if json_text(manifest).encode() != (path / "manifest.json").read_bytes():
            raise DamagedError("its manifest changed after it was written")
        if wrong := [name for name in FILES if sha256(path / name) != manifest[name]]:
            raise DamagedError(f"{' and '.join(wrong)} changed after it was written")
    except OSError as error:
        raise DamagedError(f"{Path(error.filename or path).name} cannot be read ({error.strerror or error})") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return {earlier.parameter(name): tensor for name, tensor in parse_tensors(path.read_bytes()).items()}
    except Exception as error:  # whatever a library may say of such a file
        raise DamagedError(f"{path.name} holds no tensors ({printable(str(error) or type(error).__name__)})") from None


def _generations(folder: Path) -> list[Path]:
    """The folders of checkpoints, the newest first; nothing else that lies there."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted((p for p in there if _NAME.fullmatch(p.name) and p.is_dir()), key=_order, reverse=True)


def _order(path: Path) -> tuple[int, int]:
    """The step of a checkpoint, and which of that step it is."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1]), int(found[2] or 0)


def _free(target: Path) -> Path:
    """``target``, or the same name with a number that is newer than all there are."""
    there = [_order(path)[1] for path in _generations(target.parent) if _order(path)[0] == _order(target)[0]]
    return target.with_name(f"{target.name}.{max(there, default=0) + 1}") if there or target.exists() else target


def _drop(folder: Path, newest: Path) -> None:
    """Remove all generations but the newest and the whole ones before it."""
    kept = 1
    for path in _generations(folder):
        # a later step was damaged, or belongs to a future that was abandoned by going back
        if kept < GENERATIONS and _order(path)[0] < _order(newest)[0] and _is_whole(path):
            kept += 1
        elif path != newest:
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        require_whole(path)
    except DamagedError:
        return False
    return True


def _sweep(folder: Path) -> None:
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
