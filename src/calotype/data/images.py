"""A set of images of one shape, and the split of a source into what is trained on and what is held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calotype.errors import printable
from calotype.modes import DigitModes, PointModes
from calotype.types import ImageSpec, Target

Progress = Callable[[int, int], None]  # (done, total)
Pixels = NDArray[np.uint8]
Coordinates = NDArray[np.float32]
Labels = NDArray[np.int64]
Targets = Mapping[Target, NDArray[np.float32]]  # (N, K) each
RowIndex = NDArray[np.int64] | NDArray[np.bool_] | slice

HOLDOUT_CAP = 10_000  # more held-out images than this make no score more certain
_ORDER_SEED = 1841  # constant forever: it decides which images of a source are held out


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used, and why."""

    name: str
    reason: str


class ImageSource(Protocol):
    """Images of one shape that a `Loader` reads by their places, wherever they lie: all that a training asks of its data."""

    @property
    def name(self) -> str:
        """Short, fit for the name of a folder."""
        ...

    @property
    def spec(self) -> ImageSpec:
        """What a model needs to know of these images."""
        ...

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits, equal for equal contents in equal order."""
        ...

    @property
    def partner(self) -> ImageSource | None:
        """Images that these are to be made from, where a source of its own has them."""
        ...

    @property
    def waits(self) -> bool:
        """Whether reading waits for a disk, so that it is worth being done ahead."""
        ...

    def __len__(self) -> int: ...

    def pixels_at(self, rows: NDArray[np.int64]) -> Pixels | Coordinates:
        """Copies of some images, (n, H, W, C): uint8, or float32 in [-1, 1] of points."""
        ...

    def labels_at(self, rows: NDArray[np.int64]) -> Labels | None:
        """Their labels, (n,) int64; None where there are none."""
        ...

    def targets_at(self, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
        """What else is known of them, (n, K) by the name of each of ``spec.targets``."""
        ...

    def square_at(self, row: int, top: int, left: int, side: int) -> Pixels:
        """A square of one image, (side, side, C) uint8."""
        ...


@dataclass(frozen=True)
class Images:
    """Images of one shape, in memory or memory-mapped: an `ImageSource`.

    ``fingerprint`` is the SHA-256 of shape, class names, labels, targets and the SHA-256 of each image: equal fingerprints mean
    equal contents in equal order, wherever the images came from.
    """

    pixels: Pixels  # (N, H, W, C) uint8
    labels: Labels | None  # (N,) int64
    classes: tuple[str, ...]  # class names in the order of their labels; () without labels
    name: str  # short, fit for the name of a folder
    fingerprint: str  # 64 hexadecimal digits
    skipped: tuple[Skipped, ...] = ()
    partner: Images | None = None  # images that these are to be made from, where a source of its own has them
    files: tuple[str, ...] = ()  # the one that each came from, fit to be printed; () where the source has none
    targets: Targets = field(default_factory=dict)  # what is known beside the label
    modes: PointModes | DigitModes | None = None  # that they were drawn from, where they are a testbed
    coordinates: Coordinates | None = None  # (N, 1, 1, 2) in [-1, 1] of points, for which the 256 levels of ``pixels`` are too coarse

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def name_of(self, row: int) -> str:
        """What an image is called: by its file, else by its place, counted from 0."""
        return self.files[row] if self.files else f"{self.name} {row}"

    def take(self, rows: RowIndex) -> Images:
        """Some of them, without partners, under the fingerprint of all."""
        files = tuple(self.files[row] for row in np.arange(len(self))[rows]) if self.files else ()
        labels = None if self.labels is None else self.labels[rows]
        targets = {target: numbers[rows] for target, numbers in self.targets.items()}
        points = None if self.coordinates is None else self.coordinates[rows]
        return replace(self, pixels=self.pixels[rows], labels=labels, partner=None, files=files, targets=targets, coordinates=points)

    def pixels_at(self, rows: NDArray[np.int64]) -> Pixels | Coordinates:
        """As `ImageSource` has it."""
        if self.coordinates is not None:
            return np.take(self.coordinates, rows, axis=0)
        table = self.pixels.reshape(len(self), -1)  # rows are copied faster than blocks
        return np.take(table, rows, axis=0).reshape(len(rows), *self.pixels.shape[1:])

    def labels_at(self, rows: NDArray[np.int64]) -> Labels | None:
        """As `ImageSource` has it."""
        return None if self.labels is None else self.labels[rows]

    def targets_at(self, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
        """As `ImageSource` has it."""
        return {target.name: numbers[rows] for target, numbers in self.targets.items()}

    def square_at(self, row: int, top: int, left: int, side: int) -> Pixels:
        """As `ImageSource` has it."""
        return np.asarray(self.pixels[row, top : top + side, left : left + side])

    @property
    def waits(self) -> bool:
        """Whether they, or those of the partner, lie in a memory-mapped file."""
        return _is_mapped(self.pixels) or (self.partner is not None and self.partner.waits)

    @property
    def spec(self) -> ImageSpec:
        """What a model needs to know of these images."""
        return ImageSpec(int(self.pixels.shape[1]), int(self.pixels.shape[3]), self.classes, targets=tuple(self.targets), modes=self.modes)


@dataclass(frozen=True)
class Split:
    """A source in two parts without overlap. ``holdout`` may be empty."""

    train: Images
    holdout: Images

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of both parts: what a run records of its data."""
        parts = [self.train, self.holdout, *filter(None, (self.train.partner, self.holdout.partner))]
        return hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest()


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names from outside as they can be printed, all different: where two would look the same, the later one gets a number.

    >>> distinct(["cat\\x1b", "cat\\x07", "dog"])
    ('cat\ufffd', 'cat\ufffd (2)', 'dog')
    """
    wanted = tuple(names)
    taken = {name for name in wanted if name == printable(name)}  # these keep theirs
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    shown: list[str] = []
    for name in wanted:
        now = plain = printable(name)
        if name != plain or name in seen:
            number = numbers.get(plain, 1)
            while now in taken:
                number += 1
                now = f"{plain} ({number})"
            numbers[plain] = number
            taken.add(now)
        seen.add(name)
        shown.append(now)
    return tuple(shown)


def told(skipped: Sequence[Skipped], singly: int) -> list[str]:
    """Files and their reasons in lines. Where more than ``singly`` share a reason it is given once.

    >>> told([Skipped("a", "cut off"), *(Skipped(str(n), "HEIC") for n in range(9))], 2)
    ['a: cut off', '0, 1, 2 and 6 more: HEIC']
    """
    groups: dict[str, list[str]] = {}
    for entry in skipped:
        groups.setdefault(entry.reason, []).append(entry.name)
    lines = []
    for reason, names in groups.items():
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        lines += [f"{name}: {reason}" for name in names] if len(names) <= singly else [f"{', '.join(names[:3])}{more}: {reason}"]
    return lines


def part(whole: Progress | None, place: int, parts: int) -> Progress | None:
    """The progress of one of several equal ``parts`` of a work, the first of which has ``place`` 0."""
    return None if whole is None else lambda done, total: whole(place * total + done, parts * total)


def digests(pixels: Pixels) -> NDArray[np.uint8]:
    """SHA-256 of each image of (N, H, W, C) uint8, (N, 32) uint8."""
    table = np.empty((len(pixels), 32), np.uint8)
    for row, image in zip(table, pixels, strict=True):
        row[:] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(image).data).digest(), np.uint8)
    return table


def fingerprint(
    shape: Sequence[int], digest: NDArray[np.uint8], labels: Labels | None, classes: Iterable[str], targets: Targets | None = None
) -> str:
    """SHA-256 (hexadecimal) of an image set given ``digest`` (N, 32), the SHA-256 of each image."""
    head = json.dumps({"shape": [int(n) for n in shape], "classes": list(classes), "labels": labels is not None})
    whole = hashlib.sha256(head.encode())
    whole.update(np.ascontiguousarray(digest).data)
    if labels is not None:
        whole.update(np.ascontiguousarray(labels, "<i8").data)
    for target, numbers in (targets or {}).items():
        whole.update(json.dumps([target.name, *target.entries]).encode() + np.ascontiguousarray(numbers, "<f4").tobytes())
    return whole.hexdigest()


def make_images(
    pixels: Pixels,
    labels: Labels | None,
    classes: Iterable[str],
    name: str,
    skipped: tuple[Skipped, ...] = (),
    digest: NDArray[np.uint8] | None = None,
    files: tuple[str, ...] = (),
    targets: Targets | None = None,
    modes: PointModes | DigitModes | None = None,
) -> Images:
    """An ``Images`` with its fingerprint; ``digest`` (N, 32) spares the hashing where it is known. The rest: see `Images`."""
    names = tuple(classes) if labels is not None else ()
    mark = fingerprint(pixels.shape, digests(pixels) if digest is None else digest, labels, names, targets)
    return Images(pixels, labels, names, name, mark, skipped, files=files, targets=targets or {}, modes=modes)


def holdout_order(count: int, labels: Labels | None) -> NDArray[np.int64]:
    """A fixed order of ``count`` images in which every prefix holds each class in its share, (count,) int64.

    The first images of this order are the holdout, so that a larger share contains the smaller one.
    """
    rng = np.random.RandomState(_ORDER_SEED)  # its streams are frozen across releases of numpy
    order = rng.permutation(count)
    if labels is None:
        return order.astype(np.int64)
    place = np.empty(count)
    shuffled = np.asarray(labels)[order]
    for label in np.unique(shuffled):
        (mine,) = np.nonzero(shuffled == label)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return order[np.argsort(place, kind="stable")].astype(np.int64)


def holdout_count(count: int, share: float) -> int:
    """How many of ``count`` images a share holds out: at most ``HOLDOUT_CAP``, and always leaving one to train on."""
    return max(0, min(HOLDOUT_CAP, round(count * share), count - 1))


def some(count: int, noun: str, one: str = "", many: str = "") -> str:
    """A number of things in words; ``one`` and ``many`` follow a single thing and several.

    >>> some(1, "image"), some(1200, "image", " is", " are")
    ('1 image', '1,200 images are')
    """
    return f"{count:,} {noun}{one}" if count == 1 else f"{count:,} {noun}s{many}"


def _is_mapped(array: np.ndarray | None) -> bool:
    """Whether an array, or what it is a view of, lies in a memory-mapped file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False
