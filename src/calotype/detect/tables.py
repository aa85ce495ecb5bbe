"""The images of all sets as tables: divided, made alike, turned into features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calotype.data.decode import UnusableError
from calotype.data.duplicates import miniature, near_pairs
from calotype.data.images import Pixels
from calotype.detect.equalize import Equalizer
from calotype.detect.perturb import VARIED, perturbed
from calotype.detect.sets import ImageSet
from calotype.engine.display import Say, progress
from calotype.metrics.confidence import Labels
from calotype.metrics.residuals import residual_features
from calotype.pictures import to_picture

Singles = NDArray[np.float32]
TRAIN, CALIBRATION, TEST = 0, 1, 2
SHARES = (0.6, 0.2, 0.2)  # of training, calibration and test


@dataclass(frozen=True)
class EqualImages:
    """The images of a set that could be used, made alike."""

    places: Labels  # (N,) in the set
    pixels: Pixels  # (N, S, S, C)
    hashes: NDArray[np.uint64]  # (N,) difference hashes
    miniatures: Pixels  # (N, 24, 24)
    digests: bytes  # the SHA-256 of each image as it was decoded

    def __len__(self) -> int:
        return len(self.places)


def equalized(images: ImageSet, equalizer: Equalizer, say: Say | None) -> EqualImages:
    """All images of a set made alike; those that are smaller than the size are left out."""
    said, rows, pixels, hashes, minis, digests = progress(say, f"equalizing {images.name}"), [], [], [], [], b""
    for row in range(len(images)):
        if images.sides[row] < equalizer.size:
            continue
        try:
            image = images.opened(row)
        except UnusableError:  # it was readable a moment ago
            continue
        rows.append(row)
        digests += hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).digest()
        pixels.append(equalizer(image, images.compressions[row]))
        mark, mini = miniature(to_picture(equalizer.plain(image, images.compressions[row])))
        hashes.append(mark)
        minis.append(mini)
        if said is not None:
            said(row + 1, len(images))
    return EqualImages(np.array(rows, np.int64), np.stack(pixels), np.array(hashes, np.uint64), np.stack(minis), digests)


def degraded(images: ImageSet, rows: Labels, equalizer: Equalizer, spec: str | None, seed: int) -> Pixels:
    """Images by their places in the set, each degraded by ``spec`` (one of those of training by lot where it is None), then made alike.

    What the file of an image lacks of the other side's compressions is added before the damage: behind it nobody knows what the file was.
    """
    made = []
    for row in rows.tolist():
        one = VARIED[int(np.random.default_rng([seed, row, 47]).integers(len(VARIED)))] if spec is None else spec
        whole = equalizer.completed(images.opened(row), images.compressions[row])
        made.append(equalizer(*perturbed(whole, one, seed, row)))
    return np.stack(made)


def divided(tables: Sequence[EqualImages], seed: int) -> list[Labels]:
    """The part of each image, `TRAIN`, `CALIBRATION` or `TEST`, (N,) for each table.

    Near duplicates (`calotype.data.duplicates`), of one set or of several, all go into one part: what is tested is not known from training.
    Parts are filled set by set in the order of a lottery, until each has its share.
    """
    ends = np.cumsum([0, *(len(table) for table in tables)])
    parent = np.arange(ends[-1])

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    pairs = near_pairs(np.concatenate([t.hashes for t in tables]), np.concatenate([t.miniatures for t in tables]))
    for pair in pairs:
        parent[root(pair.first)] = root(pair.second)
    groups = np.array([root(row) for row in range(len(parent))])
    order = np.random.default_rng([seed, 37]).permutation(len(parent))
    part = np.full(len(parent), -1)
    set_of = np.repeat(np.arange(len(tables)), np.diff(ends))
    filled = np.zeros((len(tables), 3))
    wanted = np.diff(ends)[:, None] * np.array(SHARES)
    members: dict[int, list[int]] = {}
    for row in range(len(parent)):
        members.setdefault(int(groups[row]), []).append(row)
    for row in order.tolist():
        if part[row] >= 0:
            continue
        there = members[int(groups[row])]
        counts = np.bincount(set_of[there], minlength=len(tables))
        lack = ((wanted - filled) / wanted)[counts > 0].min(0)  # where the fullest of its sets has most room
        chosen = int(np.argmax(lack))
        part[there] = chosen
        filled[:, chosen] += counts
    return [part[first:last] for first, last in pairwise(ends)]


def features_of(pixels: Pixels, groups: Sequence[str], say: Say | None, what: str) -> Singles:
    """Features (N, d) of equalized images, some at a time so that progress can be told."""
    said, found = progress(say, what), []
    for first in range(0, len(pixels), 250):
        found.append(residual_features(pixels[first : first + 250], groups))
        if said is not None:
            said(min(first + 250, len(pixels)), len(pixels))
    return np.concatenate(found)
