"""Features of real images, kept in the user's cache folder: computed once, whatever is judged against them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from calotype.data import Images, Progress
from calotype.errors import CalotypeError, UserError
from calotype.files import cache_folder, safe_name, write_atomic
from calotype.metrics.features_space import Extracted, FeatureSpace, Pixels

VERSION = 1  # of the preparation in front of the networks: raise it when that changes
_BLOCK = 256  # images hashed at a time


def cached(space: FeatureSpace, images: Images, folder: Path | None = None, progress: Progress | None = None) -> Extracted:
    """What ``space`` makes of real images, computed or read back.

    The key is the space, the fingerprint of the images and the SHA-256 of the very pixels, so that a changed data set never
    meets what was kept of another. A damaged file is computed anew, and a folder that cannot be written keeps nothing; neither
    is an error. ``folder`` is by default ``features`` in ``$CALOTYPE_CACHE``, else in ``~/.cache/calotype``; ``progress`` is that of
    computing.
    """
    key = _key(space, images)
    stem = safe_name(space.name, "features", limit=40)
    try:
        path = (folder or cache_folder() / "features") / f"{stem}-{space.hash}-{key[:24]}.safetensors"
    except UserError:  # no place to keep anything
        return space.of(images.pixels)
    kept = _read(path, key, space, len(images))
    if kept is not None:
        return kept
    found = space.of(images.pixels, progress)
    with contextlib.suppress(OSError, CalotypeError):  # a cache that cannot be kept is no reason to fail
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, key, found)
    return found


def _key(space: FeatureSpace, images: Images) -> str:
    """SHA-256 (hexadecimal) of everything that the features depend on."""
    facts = [VERSION, space.name, space.hash, space.layer, space.dimension, images.fingerprint, list(images.pixels.shape)]
    whole = hashlib.sha256(json.dumps(facts).encode())
    pixels: Pixels = images.pixels
    for first in range(0, len(pixels), _BLOCK):
        whole.update(np.ascontiguousarray(pixels[first : first + _BLOCK]).data)
    return whole.hexdigest()


def _write(path: Path, key: str, found: Extracted) -> None:
    tensors = {"features": np.ascontiguousarray(found.features)}
    if found.probabilities is not None:
        tensors["probabilities"] = np.ascontiguousarray(found.probabilities)
    raw = save(tensors)
    # safetensors has no checksum: the first 64 bytes are the key, the next 64 the SHA-256 of the rest, both in hexadecimal
    head = key + hashlib.sha256(raw).hexdigest()
    write_atomic(path, lambda stream: (stream.write(head.encode()), stream.write(raw)))


def _read(path: Path, key: str, space: FeatureSpace, count: int) -> Extracted | None:
    """What the file holds, or nothing where it is not there, damaged, or of something else."""
    try:
        raw = path.read_bytes()
        if raw[:64] != key.encode() or raw[64:128] != hashlib.sha256(raw[128:]).hexdigest().encode():
            return None
        tensors = load(raw[128:])
        found = Extracted(tensors["features"], tensors.get("probabilities"))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return found if found.features.shape == (count, space.dimension) else None
