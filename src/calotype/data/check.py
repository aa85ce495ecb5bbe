"""``check``: look at every image of a source before it costs a night."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calotype.data.arrays import Arrays
from calotype.data.decode import Header, UnusableError, decode, read_header
from calotype.data.duplicates import NEAR, SEARCHED, exact_groups, miniature, near_pairs
from calotype.data.files import Files
from calotype.data.folder_layout import STRAY, Tree, arrange
from calotype.data.images import Pixels, Progress, Skipped, holdout_count, some
from calotype.data.load import as_arrays, find, namesake
from calotype.data.mirror import told_apart
from calotype.data.parallel import Room, ordered
from calotype.data.prepare import nothing_usable
from calotype.data.prepared import Prepared
from calotype.data.toy import PointSource
from calotype.errors import UserError

SHOWN = 10  # entries of a list that the text shows; the dictionary holds up to a hundred times as many


@dataclass(frozen=True)
class Sizes:
    """Widths and heights in pixels, upright."""

    smallest: tuple[int, int]  # by area, like the next two
    median: tuple[int, int]
    largest: tuple[int, int]
    widths: tuple[int, int]  # the smallest and the largest
    heights: tuple[int, int]
    common: tuple[tuple[str, int], ...]  # the most frequent sizes and their counts
    different: int
    oblong: int = 0  # images that are not square
    usual: tuple[int, int] | None = None  # the most frequent size that is not square
    wide: int = 0  # images that are wider than high
    lost: float = 0.0  # mean over the oblong ones: the share of the longer side that lies outside of the middle square
    most: float = 0.0  # the largest such share
    shorter: int = 0  # the median of the shorter sides


@dataclass(frozen=True)
class DataCheck:
    """What ``check`` found. Counts are of images unless they say otherwise."""

    source: str
    kind: str  # folder, zip, prepared, arrays
    images: int
    skipped: tuple[Skipped, ...]
    others: int  # files that are not meant to be images
    sizes: Sizes
    modes: dict[str, int]
    formats: dict[str, int]
    animated: int
    gray: int  # images without any color, however they are stored
    classes: dict[str, int]
    train: int
    holdout: int
    own_split: bool
    exact: tuple[tuple[str, ...], ...]  # groups of the same pixels
    exact_extra: int  # images that could go without losing any pixels
    near: tuple[tuple[str, str, float], ...]  # two names and their difference
    near_pairs: int
    across: int  # pairs of duplicates, exact or near, with one image in each part
    across_examples: tuple[tuple[str, str], ...]
    told: float  # the share of images that a linear judge tells from their mirror images (`calotype.data.mirror.told_apart`)
    notes: tuple[str, ...]

    @property
    def different(self) -> int:
        """Images without those that repeat another one."""
        return self.images - self.exact_extra

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class _Seen:
    """One image, looked at."""

    name: str
    format: str
    mode: str
    animated: bool
    width: int
    height: int
    gray: bool
    digest: bytes
    hash: int
    small: Pixels


def check(source: str, *, cache: Path | None = None, progress: Progress | None = None, compared: Progress | None = None) -> DataCheck:
    """Decode every image of a source and report on it; nothing is written.

    ``progress`` hears of images that were looked at, ``compared`` of those that were compared with all others.

    Raises:
        UserError: If the source is unknown or has no usable image.
    """
    found = find(source, cache, progress)
    if isinstance(found, Files):
        with contextlib.closing(found):
            return _check_files(source, found, progress, compared)
    if isinstance(found, PointSource):
        raise UserError(f"{found.about}: there are no images to look at")
    if isinstance(found, Prepared):
        return _check_arrays(source, "prepared", as_arrays(found), progress, compared)
    return _check_arrays(source, "arrays", found, progress, compared)


def _check_files(source: str, files: Files, progress: Progress | None, compared: Progress | None) -> DataCheck:
    room = Room()

    def look(name: str) -> tuple[_Seen | str, bool]:
        """The image, or why it cannot be used; and whether its header can be read."""
        readable = False
        try:
            data = files.read(name)
            header = read_header(io.BytesIO(data), name)
            readable = True
            with room.held(header.memory):
                return _look(files.title(name), decode(data, name), header), readable
        except UnusableError as error:
            return str(error), readable

    listing = files.listing()
    results = dict(zip(listing.images, ordered(look, listing.images, progress), strict=True))
    seen = {name: found for name, (found, _) in results.items() if isinstance(found, _Seen)}
    odd = {name: found for name, (found, _) in results.items() if isinstance(found, str)}
    tree = arrange([name for name, (_, readable) in results.items() if readable])  # as before a training, which reads headers first
    odd |= dict.fromkeys(tree.strays, STRAY)
    skipped = [*listing.skipped, *(Skipped(files.title(name), reason) for name, reason in odd.items())]
    good = np.array([name in seen for name in tree.names], bool)
    if not good.any():
        raise nothing_usable(files, tuple(skipped), listing.others)
    order, own = tree.order()
    kept = order[good[order]]
    held = holdout_count(len(kept), 0.1) if own is None else int(own[good[order]].sum())
    place = np.cumsum(good) - 1
    looked = [seen[name] for name in tree.names if name in seen]
    return _report(
        source, files.kind, looked, tree.take(np.flatnonzero(good)), set(place[kept[:held]].tolist()), skipped, listing.others, compared
    )


def _check_arrays(source: str, kind: str, arrays: Arrays, progress: Progress | None, compared: Progress | None) -> DataCheck:
    def look(index: int) -> _Seen:
        image = arrays.pixels[index]
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        header = Header("array", picture.mode, picture.width, picture.height, picture.mode == "L", False)
        return _look(f"image {index}", picture, header)

    seen = list(ordered(look, range(len(arrays.pixels)), progress))
    order, own = arrays.order()
    held = holdout_count(len(order), 0.1) if own is None else own
    tree = Tree(tuple(row.name for row in seen), arrays.labels, arrays.classes, arrays.holdout)
    return _report(source, kind, seen, tree, set(order[:held].tolist()), list(arrays.skipped), arrays.others, compared)


def _look(name: str, image: Image.Image, header: Header) -> _Seen:
    pixels = np.asarray(image)
    digest = hashlib.sha256(f"{image.mode}{image.size}".encode() + pixels.tobytes()).digest()
    gray = pixels.ndim == 2 or bool((pixels == pixels[:, :, :1]).all())
    mark, small = miniature(image)
    return _Seen(name, header.format, header.mode, header.animated, image.width, image.height, gray, digest, mark, small)


def _report(
    source: str, kind: str, seen: list[_Seen], tree: Tree, held: set[int], skipped: list[Skipped], others: int, compared: Progress | None
) -> DataCheck:
    if compared is not None:
        compared(0, len(seen))
    exact = exact_groups(np.frombuffer(b"".join(row.digest for row in seen), np.uint8).reshape(-1, 32))
    twin = {index for group in exact for index in group[1:]}
    unique = np.array([index for index in range(len(seen)) if index not in twin], np.int64)
    searched = unique[:SEARCHED]
    hashes = np.array([seen[i].hash for i in searched], np.uint64)
    near = near_pairs(hashes, np.stack([seen[i].small for i in searched]), progress=compared)
    close = [(int(searched[pair.first]), int(searched[pair.second]), pair.difference) for pair in near]
    across = [(a, b) for a, b in _pairs(exact, close) if (a in held) != (b in held)]
    gray = sum(row.gray for row in seen)
    sizes = _sizes(seen)
    labels: NDArray[np.int64] | None = tree.labels
    classes = {} if labels is None else dict(zip(tree.classes, np.bincount(labels, minlength=len(tree.classes)).tolist(), strict=True))
    return DataCheck(
        source=source,
        kind=kind,
        images=len(seen),
        skipped=tuple(skipped),
        others=others,
        sizes=sizes,
        modes=dict(Counter(row.mode for row in seen).most_common()),
        formats=dict(Counter(row.format for row in seen).most_common()),
        animated=sum(row.animated for row in seen),
        gray=gray,
        classes=classes,
        train=len(seen) - len(held),
        holdout=len(held),
        own_split=tree.holdout is not None,
        exact=tuple(tuple(seen[i].name for i in group) for group in exact[: 100 * SHOWN]),
        exact_extra=len(twin),
        near=tuple((seen[a].name, seen[b].name, round(difference, 4)) for a, b, difference in close[: 100 * SHOWN]),
        near_pairs=len(close),
        across=len(across),
        across_examples=tuple((seen[a].name, seen[b].name) for a, b in across[: 100 * SHOWN]),
        told=round(told_apart(np.stack([row.small for row in seen])), 4),
        notes=(*filter(None, (namesake(source),)), *_notes(seen, classes, len(unique), len(held), bool(close))),
    )


def _pairs(exact: list[list[int]], close: list[tuple[int, int, float]]) -> Iterable[tuple[int, int]]:
    for group in exact:
        yield from ((group[0], other) for other in group[1:])
    yield from ((a, b) for a, b, _ in close)


def _sizes(seen: list[_Seen]) -> Sizes:
    sizes = sorted(((row.width, row.height) for row in seen), key=lambda size: (size[0] * size[1], size))
    counts = Counter(sizes)
    common = tuple((f"{width}x{height}", count) for (width, height), count in counts.most_common(5))
    widths, heights = (tuple(sorted({size[axis] for size in sizes})) for axis in (0, 1))
    ends = (widths[0], widths[-1]), (heights[0], heights[-1])
    oblong = {size: count for size, count in counts.most_common() if size[0] != size[1]}
    lost = [1 - min(size) / max(size) for size, count in oblong.items() for _ in range(count)]
    wide = sum(count for size, count in oblong.items() if size[0] > size[1])
    shorter = sorted(min(size) for size in sizes)[len(sizes) // 2]
    found = Sizes(sizes[0], sizes[len(sizes) // 2], sizes[-1], *ends, common, len(counts), shorter=shorter)
    if not lost:
        return found
    return replace(found, oblong=len(lost), usual=next(iter(oblong)), wide=wide, lost=float(np.mean(lost)), most=max(lost))


def batch_for(train: int) -> int:
    """The size of a batch for so many training images: 64, or less where these do not make four such batches.

    >>> [batch_for(count) for count in (1, 3, 46, 255, 256)]
    [1, 2, 8, 32, 64]
    """
    batch = 64
    while batch > 1 and (4 * batch > train if batch > 4 else batch > train):
        batch //= 2
    return batch


def _notes(seen: list[_Seen], classes: dict[str, int], unique: int, held: int, near: bool) -> Iterable[str]:
    if (train := len(seen) - held) == 0:
        yield "there is nothing to train on: every usable image is held out"
    elif train < 500:
        few = some(train, "image", " to train on is", " to train on are")
        yield f"{few} few: a generator will soon repeat {'it' if train == 1 else 'them'}; a thousand or more are better"
    if not held:
        yield "nothing is held out, so that training and evaluation have no unseen image to compare with"
    if classes and max(classes.values()) > 10 * max(1, min(classes.values())):
        yield "the largest class is more than ten times the smallest: rare classes will be drawn badly"
    long = sum(max(row.width, row.height) > 4 * min(row.width, row.height) for row in seen)
    if long:
        are, them = some(long, "image", " is", " are"), "it" if long == 1 else "them"
        yield f"{are} more than four times as long as wide: cropping keeps little of {them}; consider calotype train `data.fit=pad`"
    coded = sum(row.gray and row.mode not in ("1", "L", "LA", "I", "F") and not row.mode.startswith("I;16") for row in seen)
    if coded and all(row.gray for row in seen):
        yield "all images are gray although some are stored in color: train with calotype train `data.channels=1`"
    if unique > SEARCHED:
        yield f"near duplicates were searched among {SEARCHED:,} of the images"
    if near:
        yield f"near duplicates: miniatures that differ by at most {NEAR:g} of their contrast"
