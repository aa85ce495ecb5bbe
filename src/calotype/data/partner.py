"""Sources of two kinds of pictures: two sides in one folder, halves of one picture, parallel folders, two classes of one source."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from calotype.data.audit import check_alignment, check_sizes, leaked
from calotype.data.decode import UnusableError, decode
from calotype.data.files import Files, Listing, open_zip
from calotype.data.fit import Fit, check_options
from calotype.data.folder_layout import natural
from calotype.data.images import Images, Progress, Skipped, Split, make_images, some
from calotype.data.load import cached, find, load, short_name
from calotype.data.prepare import nothing_usable, survey
from calotype.data.prepared import Prepared
from calotype.errors import UserError
from calotype.files import expanded

AUTO, HALVES, RIGHT, CLASSES = "auto", "halves", "halves:right", "classes:"
_SIDE = re.compile(r"(^|.*/)(train|test|val)([AB])/", re.IGNORECASE)
_LETTER = re.compile(r"[-_ .][ab]$", re.IGNORECASE)
Half = Literal["left", "right"]


@dataclass(frozen=True)
class LoadOptions:
    """How pictures are brought to one shape, and where that is kept; see `calotype.data.load`."""

    size: int | None = None
    channels: int | None = None
    fit: Fit = "crop"
    holdout: float = 0.1
    cache: Path | None = None
    progress: Progress | None = None


class View(Files):
    """Some files of a folder or an archive under other names, whole or one half of each."""

    def __init__(self, files: Files, what: str, names: dict[str, str], half: Half | None = None, skipped: tuple[Skipped, ...] = ()) -> None:
        super().__init__(files.path / what)
        self.kind = files.kind
        self.names = names  # its own names to those of the files beneath
        self.skipped = skipped  # files that would be here too, if they could be read
        self._files, self._half = files, half

    def listing(self) -> Listing:
        """The chosen files."""
        return Listing(tuple(self.names), self.skipped, 0)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The whole file, or its half as an uncompressed picture."""
        data = self._files.read(self.names[name], limit if self._half is None else None)
        if self._half is None:
            return data
        picture = decode(data, name)
        if picture.width < 2:
            raise UnusableError(f"{picture.width}x{picture.height} has no two halves")
        half = picture.width // 2
        left = 0 if self._half == "left" else picture.width - half
        stream = io.BytesIO()
        picture.crop((left, 0, left + half, picture.height)).save(stream, "PPM")
        return stream.getvalue()[:limit]

    def open(self, name: str) -> BinaryIO:
        """The file, for reading a header."""
        return self._files.open(self.names[name]) if self._half is None else io.BytesIO(self.read(name))

    def title(self, name: str) -> str:
        """The name beneath."""
        return self._files.title(self.names[name])

    def state(self) -> str:
        """Digest of the files beneath and of which of them are meant."""
        chosen = hashlib.sha256(repr((self._files.state(), self._half, list(self.names.items()))).encode("utf-8", "surrogateescape"))
        return chosen.hexdigest()


def load_sides(source: str, partner: str, paired: bool, shape: LoadOptions) -> Split:
    """Images with their ``partner``: what they are to be made from, in train and holdout alike.

    Args:
        source: Any source that `calotype.data.load` takes; its pictures are the images, but for what ``partner`` says.
        partner: ``auto``: the source has folders ``trainA`` (partner) and ``trainB`` (image), and maybe ``testA`` and ``testB``, which are
            held out. ``halves``: each picture holds both, the partner on the left (``halves:right``: on the right). ``classes:cat,dog``:
            pictures of class cat are the partners of those of class dog. Anything else is a source by itself.
        paired: Whether partner i shows what image i shows. Then pictures of two folders are joined by their names, without ending (and
            without a last _A and _B), pictures without a partner are skipped, and sizes, alignment and the holdout are audited.
        shape: How they are brought to one shape: both sides to the same size.

    Raises:
        UserError: where a side has no usable picture, and where the pairs cannot be ones.
    """
    check_options(shape.size, shape.channels, shape.fit)
    if partner.startswith(CLASSES):
        return _classes(source, partner, paired, shape)
    with contextlib.ExitStack() as stack:
        if partner == AUTO or partner in (HALVES, RIGHT):
            files = _files(source, stack)
            sides: Sequence[View | Split] = _sides(files, source) if partner == AUTO else _halves(files, partner)
        else:
            sides = [_open_partner(partner, shape, stack), _open(source, shape, stack)]
        if not paired:
            source_side, image_side = (_alone(side, shape) for side in sides)
            return _joined(source_side, image_side, source)
        a, b = sides
        if isinstance(a, Split) or isinstance(b, Split):
            raise UserError("pairs are found by name: give two folders or zip archives of pictures, or `data.paired=False`")
        return _audited(a, b, source, shape)


def has_sides(source: str) -> bool:
    """Whether a folder or zip archive holds ``trainA`` and ``trainB``; cheap enough to be asked often.

    Raises `UserError` where it holds only one of the two.
    """
    path = expanded(source)
    names: list[str] = []
    with contextlib.suppress(OSError):
        if path.is_dir():
            inner = [entry for entry in path.iterdir() if entry.is_dir()]
            names = [f"{e.name}/" for e in inner] + [f"{e.name}/" for e in (inner[0].iterdir() if len(inner) == 1 else ()) if e.is_dir()]
        elif path.is_file() and zipfile.is_zipfile(path):
            with open_zip(path) as archive:
                names = archive.namelist()
    found = {match[2].lower() + match[3].upper() for name in names if (match := _SIDE.match(name.replace("\\", "/")))}
    sides = sorted(found & {"trainA", "trainB"})
    if len(sides) == 1:
        other = {"trainA": "trainB", "trainB": "trainA"}[sides[0]]
        raise UserError(f"{source} has a folder {sides[0]} but no {other}: add it, or name the sides as `data.source` and `data.partner`")
    return len(sides) == 2


def _files(source: str, stack: contextlib.ExitStack) -> Files:
    found = find(source)
    if not isinstance(found, Files):
        raise UserError(
            f"{source} is no folder or zip archive of pictures, so that it has no two sides: name the other one as `data.partner`"
        )
    return stack.enter_context(contextlib.closing(found))


def _open(source: str, shape: LoadOptions, stack: contextlib.ExitStack) -> View | Split:
    """A folder or archive as it is, anything else loaded."""
    found = find(source, shape.cache, shape.progress)
    if isinstance(found, Files):
        files = stack.enter_context(contextlib.closing(found))
        listing = files.listing()
        return View(files, ".", {name: name for name in listing.images}, skipped=listing.skipped)
    return load(source, size=shape.size, channels=shape.channels, fit=shape.fit, holdout=shape.holdout, cache=shape.cache)


def _open_partner(name: str, shape: LoadOptions, stack: contextlib.ExitStack) -> View | Split:
    try:
        return _open(name, shape, stack)
    except UserError as error:
        if expanded(name).exists():
            raise
        raise UserError(f"{error}; or for `data.partner`: auto, halves, classes:cat,dog, gray, edges, invert, season") from None


def _alone(side: View | Split, shape: LoadOptions) -> Split:
    """One side for itself."""
    if isinstance(side, Split):
        return side
    return _held_out([cached(side, *_to(shape))], str(side.path), shape)[0]


def _halves(files: Files, partner: str) -> tuple[View, View]:
    listing = files.listing()
    names = {name: name for name in listing.images}
    if not names:
        raise nothing_usable(files, listing.skipped, listing.others)
    halves: tuple[Half, Half] = ("left", "right") if partner == HALVES else ("right", "left")
    return View(files, halves[0], names, halves[0], listing.skipped), View(files, halves[1], names, halves[1])


def _sides(files: Files, source: str) -> tuple[View, View]:
    sides: dict[str, dict[str, str]] = {"A": {}, "B": {}}
    listing = files.listing()
    for name in listing.images:
        if match := _SIDE.match(name):
            part = "train" if match[2].lower() == "train" else "test"
            sides[match[3].upper()][f"{part}/{name[match.end() :]}"] = name
    for side, names in sides.items():
        if not any(name.startswith("train/") for name in names):
            unread = next((f"; {one.name}: {one.reason}" for one in listing.skipped if f"train{side}/" in one.name), "")
            raise UserError(
                f"{source} has no pictures in a folder train{side}{unread}: put them there, or name the other side with `data.partner`"
            )
    return View(files, "A", sides["A"], skipped=listing.skipped), View(files, "B", sides["B"])


def _classes(source: str, partner: str, paired: bool, shape: LoadOptions) -> Split:
    if paired:
        raise UserError("pictures of two classes are no pairs: give `data.paired=False`")
    names = [name.strip() for name in partner.removeprefix(CLASSES).split(",")]
    whole = load(
        source, size=shape.size, channels=shape.channels, fit=shape.fit, holdout=shape.holdout, cache=shape.cache, progress=shape.progress
    )
    known = whole.train.classes
    if len(names) != 2 or names[0] == names[1] or not set(names) <= set(known):
        there = f"{source} has {', '.join(known)}" if known else f"{source} has no classes"
        raise UserError(f"`data.partner={partner}` does not name two classes, as in classes:cat,dog: {there}")
    a, b = (Split(*(_only(part, known.index(name)) for part in (whole.train, whole.holdout))) for name in names)
    return _joined(a, b, f"{short_name(Path(source))}-{names[0]}-{names[1]}")


def _only(images: Images, label: int) -> Images:
    assert images.labels is not None
    return _rows(replace(images, labels=None, classes=()), images.labels == label)


def _audited(a: View, b: View, source: str, shape: LoadOptions) -> Split:
    """Pairs by name, all of them usable on both sides, of one size, aligned, and none of the held-out ones among the training ones."""
    pairs, alone = _matched(a, b)
    skipped = [*a.skipped, *b.skipped, *alone]
    seen = survey(a), survey(b)
    odd = [one.odd for one in seen]
    while True:
        for side, reasons in zip((a, b), odd, strict=True):
            skipped += [Skipped(side.title(name), reason) for name, reason in reasons.items()]
        pairs = [pair for pair in pairs if not any(name in reasons for name, reasons in zip(pair, odd, strict=True))]
        if not pairs:
            raise UserError(f"{source} and its partner have no pair of usable pictures, the first: {skipped[0].name} {skipped[0].reason}")
        check_sizes(seen[0].headers, seen[1].headers, pairs, shape.size, shape.fit)
        chosen = [[pair[i] for pair in pairs] for i in (0, 1)]
        made = [cached(_numbered(side, names), *_to(shape)) for side, names in zip((a, b), chosen, strict=True)]
        # what only decoding finds to be damaged must go on both sides, or all pairs after it would be wrong
        odd = [_odd(side, names, one.skipped) for side, names, one in zip((a, b), chosen, made, strict=True)]
        if not any(odd):
            break
    splits = _held_out(made, source, shape)
    split = _joined(splits[0], splits[1], source)
    if len(split.train) != len(split.train.partner or ()):
        raise UserError("the two sides of the pairs are cut into different numbers of tiles: give `data.fit=crop`")
    check_alignment(splits[0].train, splits[1].train)
    return Split(replace(split.train, skipped=_once(skipped, split.train.skipped)), split.holdout)


def _matched(a: View, b: View) -> tuple[list[tuple[str, str]], list[Skipped]]:
    """Names of both sides that belong together, in natural order, and those that are alone."""
    keyed = [{name: name.rsplit(".", 1)[0].lower() for name in side.names} for side in (a, b)]
    if not set(keyed[0].values()) & set(keyed[1].values()):
        keyed = [{name: _LETTER.sub("", key) for name, key in side.items()} for side in keyed]
    tables: list[dict[str, str]] = []
    for side in keyed:
        tables.append({})
        for name, key in side.items():
            if key in tables[-1]:
                raise UserError(f"{tables[-1][key]} and {name} have one name, so that neither has one partner: rename one of them")
            tables[-1][key] = name
    both = sorted(tables[0].keys() & tables[1].keys(), key=lambda key: (natural(key), key))
    alone = []
    for view, own, other in ((a, tables[0], tables[1]), (b, tables[1], tables[0])):
        alone += [Skipped(view.title(name), "has no partner of that name") for key, name in own.items() if key not in other]
    if 2 * len(both) < min(len(tables[0]), len(tables[1])):
        first = next((one.name for one in alone), "")
        raise UserError(
            f"only {some(len(both), 'picture')} of {len(tables[1]):,} have a partner of their name ({first} has none): "
            "pairs are found by name; rename them, or learn without pairs: `data.paired=False`"
        )
    return [(tables[0][key], tables[1][key]) for key in both], alone


def _numbered(side: View, names: Sequence[str]) -> View:
    """The view of these names alone, in this order whatever they are, their folders kept."""
    table = {}
    for index, name in enumerate(names):
        folder, _, base = name.rpartition("/")
        table[f"{folder}/{index:08d} {base}".lstrip("/")] = side.names[name]
    return View(side._files, side.path.name, table, side._half)


def _odd(side: View, names: Sequence[str], skipped: Sequence[Skipped]) -> dict[str, str]:
    """Which of these names cannot be used, and why, given what can only be printed."""
    reasons = {one.name: one.reason for one in skipped}
    return {name: reasons[title] for name in names if (title := side.title(name)) in reasons}


def _held_out(sides: Sequence[Prepared], name: str, shape: LoadOptions) -> list[Split]:
    """Each side in two parts, without held-out pictures (of pairs: those that are the same on both sides) that are trained on as well."""
    splits = [side.split(shape.holdout) for side in sides]
    cut = len(splits[0].holdout)
    digest = np.concatenate([side.digest for side in sides], 1)
    twice = leaked(digest[cut:], digest[:cut])
    if not twice.any():
        return splits
    if twice.all():
        raise UserError(f"every held-out picture of {name} is among the training pictures as well: hold out others")
    told = Skipped(f"{some(int(twice.sum()), 'held-out picture')} of {name}", "trained on as well")
    first = replace(splits[0].train, skipped=(*splits[0].train.skipped, told))
    trains = [first, *(split.train for split in splits[1:])]
    return [Split(train, _rows(split.holdout, ~twice)) for train, split in zip(trains, splits, strict=True)]


def _rows(images: Images, chosen: NDArray[np.bool_]) -> Images:
    some = images.take(chosen)
    return make_images(some.pixels, some.labels, some.classes, some.name, files=some.files)


def _joined(a: Split, b: Split, source: str) -> Split:
    """The images of ``b`` with those of ``a`` as their partners; nothing is held out unless both sides hold something out."""
    sizes = [side.train.spec.size for side in (a, b)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"the pictures of the two sides are {sizes[0]} and {sizes[1]} pixels a side: bring them to one, as by `data.size={min(sizes)}`"
        )
    name = short_name(Path(source))
    held, partner = b.holdout, a.holdout
    if not len(held) or not len(partner):
        held, partner = (make_images(side.pixels[:0], None, (), name) for side in (held, partner))
    train = replace(b.train, name=name, partner=a.train, skipped=_once(a.train.skipped, b.train.skipped))
    return Split(train, replace(held, name=name, partner=partner))


def _once(*skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """All of them, those of both sides once: of one file there may be two halves."""
    return tuple(dict.fromkeys(one for some in skipped for one in some))


def _to(shape: LoadOptions) -> tuple[int | None, int | None, Fit, Path | None, Progress | None]:
    return shape.size, shape.channels, shape.fit, shape.cache, shape.progress
