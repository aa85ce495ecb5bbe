"""Checkpoints that survive anything: safetensors and JSON in a folder, a SHA-256 manifest written last, two generations.

A folder becomes visible by a rename after all that it holds has reached the disk. A checkpoint whose manifest is missing or does
not match is never loaded: the one before it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from calotype.errors import DamagedError, UserError
from calotype.files import disk_full, has_space, read_json, sha256, sync_folder, write_atomic, write_json

GENERATIONS = 2


@dataclass(frozen=True)
class Checkpoint:
    """One saved state."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # plain JSON: counters, settings that were resolved
    path: Path
    damaged: tuple[str, ...] = ()  # newer checkpoints that could not be used, each with the reason


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write the checkpoint of ``step`` into ``folder`` and drop all but the newest generations.

    Raises `CalotypeError` where the disk is full; the checkpoints that were there are untouched then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    # safetensors stores contiguous memory; the layout of a tensor comes back from the module that loads it
    payload = pack_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    if not has_space(folder, len(payload)):
        raise disk_full(folder, len(payload))
    target = folder / f"step-{step:09d}"
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        write_atomic(temporary / "state.safetensors", lambda stream: stream.write(payload))
        write_json(temporary / "state.json", facts)
        files = ("state.safetensors", "state.json")
        write_json(temporary / "manifest.json", {name: sha256(temporary / name) for name in files})
        if target.exists():  # the same step again, after a retreat to the checkpoint before it
            shutil.rmtree(target)
        os.replace(temporary, target)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    # a later step than this one was damaged, or belongs to a future that was abandoned by going back
    later = [path for path in _generations(folder) if path.name > target.name]
    for old in later + _generations(folder)[len(later) + GENERATIONS :]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or none where there never was one.

    Raises `UserError` where there are checkpoints and all of them are damaged.
    """
    damaged: list[str] = []
    for path in _generations(folder):
        reason = _damage(path)
        if reason is None:
            tensors = parse_tensors((path / "state.safetensors").read_bytes())
            return Checkpoint(tensors, read_json(path / "state.json"), path, tuple(damaged))
        damaged.append(f"{path.name}: {reason}")
    if damaged:
        raise UserError(f"every checkpoint in {folder} is damaged ({'; '.join(damaged)}): train anew, or restore the folder from a copy")
    return None


def _generations(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _sweep(folder: Path) -> None:
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _damage(path: Path) -> str | None:
    try:
        manifest = read_json(path / "manifest.json")
        wrong = [name for name, digest in manifest.items() if sha256(path / name) != digest]
    except (OSError, DamagedError, TypeError) as error:
        return f"unreadable ({error})"
    if not {"state.safetensors", "state.json"} <= set(manifest):
        return "its manifest is incomplete"
    return f"{', '.join(wrong)} changed after it was written" if wrong else None
