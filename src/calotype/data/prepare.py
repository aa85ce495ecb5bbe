"""Folders and archives to prepared files: look at every header, decide on a shape, decode in parallel, write in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calotype.data.arrays import Arrays
from calotype.data.decode import Header, UnusableError, decode_fitted, decode_tiles, read_header
from calotype.data.files import Files
from calotype.data.fit import KEPT, SIZES, Fit, fit_array
from calotype.data.folder_layout import STRAY, Tree, arrange
from calotype.data.images import Pixels, Progress, Skipped, some
from calotype.data.parallel import CHUNK, Room, ordered
from calotype.data.prepared import PreparedImage, write_prepared
from calotype.errors import UserError, printable

LARGEST = 64  # pixels a side that a training is advised to begin with: twice as many take four times as long
TILE = 180  # pixels a side of the squares that photographs are cut into


@dataclass(frozen=True)
class Survey:
    """What the headers of all files say."""

    tree: Tree  # of the files whose headers could be read
    headers: dict[str, Header]
    odd: dict[str, str]  # files that cannot be used, and why
    skipped: tuple[Skipped, ...]  # the same and those that were never meant to be, as they can be printed
    others: int  # files that are not meant to be images

    @property
    def square(self) -> int | None:
        """The side of the images where all are equal squares."""
        sides = {side for header in self.headers.values() for side in (header.width, header.height)}
        return next(iter(sides)) if len(sides) == 1 else None

    def shorter(self, share: float = 0.5) -> int:
        """The shorter side that ``share`` of the images fall short of: the median."""
        sides = sorted(min(header.width, header.height) for header in self.headers.values())
        return sides[int(share * len(sides))]


def survey(files: Files, progress: Progress | None = None) -> Survey:
    """Read every header. Raises ``UserError`` where nothing is usable."""

    def look(name: str) -> Header | str:
        try:
            with files.open(name) as file:
                return read_header(file, name)
        except UnusableError as error:
            return str(error)

    listing = files.listing()
    headers: dict[str, Header] = {}
    odd: dict[str, str] = {}
    for name, found in zip(listing.images, ordered(look, listing.images, progress), strict=True):
        if isinstance(found, Header):
            headers[name] = found
        else:
            odd[name] = found
    tree = arrange(tuple(headers))
    odd |= dict.fromkeys(tree.strays, STRAY)
    skipped = (*listing.skipped, *(Skipped(files.title(name), reason) for name, reason in odd.items()))
    if not headers:
        raise nothing_usable(files, skipped, listing.others)
    return Survey(tree, headers, odd, skipped, listing.others)


def choose_size(seen: Survey, title: Callable[[str], str] = printable) -> int:
    """The one size of all images. Raises ``UserError`` with a recommendation where there is none; ``title`` is what a file is called."""
    sizes = Counter((header.width, header.height) for header in seen.headers.values())
    (width, height), most = sizes.most_common(1)[0]
    if seen.square and 8 <= seen.square <= 1024:
        return seen.square
    advice = recommended_size(seen.shorter())
    if len(sizes) > 1:
        name, other = next((n, h) for n, h in seen.headers.items() if (h.width, h.height) != (width, height))
        often = f"most often {width}x{height}, {most:,} of {len(seen.headers):,}; {title(name)} is {other.size}"
        found = f"images have {len(sizes):,} different sizes ({often})"
    else:
        found = f"images are {width}x{height}, " + ("not square" if width != height else "a size out of range")
    oblong = any(width != height for width, height in sizes)
    cut = f"; of images that are not square {KEPT['crop'].replace('of each ', '')}, unless fit is pad or stretch" if oblong else ""
    raise UserError(f"{found}: say to which size they are to be brought, for example `size={advice}`{cut}")


def choose_tile(seen: Survey) -> int:
    """The side of tiles: that of the images where all are equal squares, else 180 pixels, or less where over a quarter are smaller."""
    return seen.square or max(SIZES[0], min(TILE, seen.shorter(0.25)))


def recommended_size(short_side: int) -> int:
    """The largest of 64, 32, 16 and 8 that images with this short side fill."""
    return next((size for size in (LARGEST, 32, 16) if size <= short_side), 8)


def size_for(short_side: int, square: bool) -> int | None:
    """The size to train at: that of the images (None) where all are equal small squares, else one that most of them fill."""
    return None if square and SIZES[0] <= short_side <= LARGEST else recommended_size(short_side)


def choose_channels(seen: Survey) -> int:
    """1 where every file says that it is gray, else 3."""
    return 1 if all(header.gray for header in seen.headers.values()) else 3


def write_files(files: Files, out: Path, name: str, size: int | None, channels: int | None, fit: Fit, progress: Progress | None) -> None:
    """Decode a folder or an archive into a prepared file. Raises ``UserError``."""
    seen = survey(files, None if progress is None else lambda done, total: progress(0, total))  # nothing is decoded yet
    side = size or (choose_tile(seen) if fit == "tile" else choose_size(seen, files.title))
    depth = choose_channels(seen) if channels is None else channels
    tree = seen.tree
    order, own = tree.order()
    names = [tree.names[i] for i in order]
    finish: dict[str, Any] = {"source": str(files.path), "fit": fit, "others": seen.others, "holdout": None if own is None else 0}
    skipped = list(seen.skipped)
    ends: list[int] = []  # of the tiles of each file
    room = Room()

    def work(filename: str) -> list[Pixels] | Skipped:
        try:
            header = seen.headers[filename]
            with room.held(header.memory if fit == "tile" else header.memory_at(side)):
                if fit == "tile":
                    return decode_tiles(files.read(filename), filename, side, depth)
                return [decode_fitted(files.read(filename), filename, side, depth, fit)]
        except UnusableError as error:
            return Skipped(files.title(filename), str(error))

    def rows() -> Iterator[PreparedImage]:
        ahead = ordered(work, names, progress, 1 if fit == "tile" else CHUNK)  # all tiles of a photograph are as large as it is
        for index, (filename, found) in enumerate(zip(names, ahead, strict=True)):
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            if own is not None:
                finish["holdout"] += int(own[index]) * len(found)
            label = int(tree.labels[order[index]]) if tree.labels is not None else -1
            name = files.title(filename)
            yield from ((part, label, name if len(found) == 1 else f"{name}, tile {tile}") for tile, part in enumerate(found, 1))
            ends.append(len(found) + (ends[-1] if ends else 0))
        if len(skipped) - len(seen.skipped) == len(names):
            raise nothing_usable(files, tuple(skipped), seen.others)
        finish["skipped"] = skipped
        if fit == "tile":
            finish["tiles"] = ends

    most = len(names)
    if fit == "tile":
        most = sum(-(-h.width // side) * -(-h.height // side) for h in seen.headers.values())
    write_prepared(out, rows(), (side, side, depth), name=name, classes=tree.classes, at_most=most, finish=finish)


def write_arrays(source: Arrays, out: Path, size: int | None, channels: int | None, fit: Fit, progress: Progress | None) -> None:
    """Write a source that is in memory as a prepared file. Raises ``UserError``."""
    order, own = source.order()
    count, step = len(order), 1024
    shape = fit_array(source.pixels[:1], size, channels, fit).shape[1:]

    def rows() -> Iterator[PreparedImage]:
        for start in range(0, count, step):
            chosen = order[start : start + step]
            labels = np.full(len(chosen), -1) if source.labels is None else source.labels[chosen]
            files = [source.files[i] for i in chosen] if source.files else [""] * len(chosen)
            for pixels, label, file in zip(fit_array(source.pixels[chosen], size, channels, fit), labels, files, strict=True):
                yield pixels, int(label), file
            if progress is not None:
                progress(min(count, start + step), count)

    finish = {"source": source.name, "fit": fit, "others": source.others, "holdout": own, "skipped": source.skipped}
    classes = source.classes if source.labels is not None else ()
    write_prepared(out, rows(), shape, name=source.name, classes=classes, at_most=count, finish=finish)


def nothing_usable(files: Files, skipped: tuple[Skipped, ...], others: int) -> UserError:
    """Why a folder or an archive gives no image at all."""
    if skipped:
        return UserError(
            f"{files.path} holds no usable image: {some(len(skipped), 'file', ' was', ' were')} skipped, "
            f"the first ({skipped[0].name}): {skipped[0].reason}"
        )
    if others:
        which = "its one file is no" if others == 1 else f"none of its {others:,} files is a"
        return UserError(f"{files.path} holds no image: {which} picture in a known format")
    return UserError(f"{files.path} is empty: give a {files.kind} with images in it")
