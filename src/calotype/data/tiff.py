"""TIFF files of more than 8 bits, or odd ones, of which Pillow reads few and fewer in full: it unpacks their bytes, made samples here.

To Pillow such a file is shown as a gray picture of 8 bits, a pixel for each byte, by changing entries of its directory (TIFF 6.0,
section 2; BigTIFF has longer ones); a large one as several, of some strips or rows of tiles each. What strips, tiles and lossless
compressions do to bytes is then Pillow's work; predictors (section 14), byte order, packed samples and separate planes are undone here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from calotype.data.reading import UnusableError

ReadRows = Callable[[int, int], NDArray[Any]]
"""Samples (rows, W, S) from a first row to a last one, exclusive."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _LIGHT, _FILL, _ORIENTATION, _SAMPLES = 256, 257, 258, 259, 262, 266, 274, 277
_OFFSETS, _COUNTS, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 284, 317, 322, 323, 324, 325
_EXTRA, _FORMAT, _XMP, _INKS, _ROWS = 338, 339, 700, 332, 278
RAW = 50706  # the tag of a camera's raw picture (DNG), whose first image is a small one
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of the entries that are looked at
_MOST_PACKED = {1: 1, 5: 2800, 8: 1032, 32773: 64, 32946: 1032, 50000: 2**14}  # bytes that one byte can stand for, by lossless compression
_KINDS = {1: "u", 2: "i", 3: "f"}  # by sample format
_MOST = 2**16  # entries or values that are believed
_STRIPS = 2**20  # strips or tiles: of 8 x 8 pixels in the largest picture
_AT_ONCE = 64 * 2**20  # bytes that are unpacked at a time, where strips or tiles are not larger


@dataclass(frozen=True)
class Layout:
    """How the samples lie in a file."""

    order: str  # < or >
    size: tuple[int, int]  # width and height as stored
    samples: int  # of each pixel
    colors: int  # of them: 1 or 3, the first
    alpha: int  # 0: none, 1: premultiplied, 2: not
    bits: int
    kind: str  # u, i, f: unsigned, signed, floating point
    inverted: bool  # 0 is white
    orientation: int
    planar: bool
    packing: int  # of _MOST_PACKED
    predictor: int
    tile: int  # width of the tiles; 0 in strips
    tall: int  # rows of a strip or of the tiles beside one another
    pages: bool  # whether more than this one

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.size[::-1] if self.orientation in (5, 6, 7, 8) else self.size

    @property
    def gray(self) -> bool:
        """Whether there is one color."""
        return self.colors == 1

    @property
    def mode(self) -> str:
        """The nearest of Pillow's modes."""
        gray = "F" if self.kind == "f" else "I" if self.bits > 8 else "L"
        return (gray if self.alpha == 0 else "LA") if self.gray else "RGB" if self.alpha == 0 else "RGBA"

    @property
    def memory(self) -> int:
        """Bytes of all samples as they are unpacked, those beyond the edges among them."""
        return self._part * self._across * self._planes * (self._down * self.tall if self.tile else self.size[1])

    @property
    def _planes(self) -> int:
        return self.samples if self.planar else 1

    @property
    def _down(self) -> int:
        """Strips, or tiles one below the other."""
        return -(-self.size[1] // self.tall)

    @property
    def _together(self) -> int:
        """Samples that lie one beside the other."""
        return 1 if self.planar else self.samples

    @property
    def _across(self) -> int:
        """Parts of a row."""
        return -(-self.size[0] // self.tile) if self.tile else 1

    @property
    def _part(self) -> int:
        """Bytes of a part."""
        return -(-(self.tile or self.size[0]) * self._together * self.bits // 8)


def layout(file: BinaryIO) -> Layout | None:
    """How the samples of a deep or odd TIFF file lie; None for what is left to Pillow, broken files among it."""
    try:
        tags = _tags(file)
        found = _layout(tags) if tags else None
    except (struct.error, ValueError, KeyError, OverflowError, IndexError):
        return None
    return found


def describe(file: BinaryIO) -> str:
    """What a TIFF file holds, in words; empty where that cannot be told."""
    try:
        tags = _tags(file)
        if tags is None:
            return ""
        bits, kind = tags.values(_BITS, (1,)), tags.values(_FORMAT, (1,))[0]
        count, light, packed = tags.value(_SAMPLES, 1), tags.value(_LIGHT, -1), tags.value(_COMPRESSION, 1)
        tags.value(_WIDTH), tags.value(_HEIGHT)
    except (struct.error, ValueError, KeyError, OverflowError, IndexError):
        return ""
    known = packed in TiffImagePlugin.COMPRESSION_INFO
    words = [f"{count} channel{'s' if count > 1 else ''} of {bits[0]} bits"]
    words += ["BigTIFF in big-endian order, unsupported"] if tags.foreign else []
    words += ["floating point"] if kind == 3 else ["complex"] if kind in (5, 6) else []
    words += [f"color space {light}"] if light not in (0, 1, 2, 3, 5, 6, 8) else []
    return ", ".join(words + ([] if known else [f"compression {packed}"]))


def rows(data: bytes, found: Layout) -> tuple[TiffImagePlugin.TiffImageFile, ReadRows]:
    """The image as Pillow opens it, for what it says besides its pixels, and its samples in the machine's byte order.

    Raises ``UnusableError`` for a file that is too short for them, before any memory is taken; and whatever Pillow does.
    """
    if len(data) * _MOST_PACKED[found.packing] < found._part * found._across * found.size[1] * found._planes:
        raise UnusableError("cut off: there are fewer samples than its size says")
    unpacked = _Unpacked(data, found)
    return unpacked.image, unpacked.rows


def packet(data: bytes) -> bytes:
    """The XMP packet of a file, which Pillow is not shown; empty where it has none."""
    tags = _tags(io.BytesIO(data))
    if tags is None or _XMP not in tags.entries:
        return b""
    _, kind, count, field = tags.entries[_XMP]
    place = field if count <= tags.inline else int(tags._unpack(field, "Q" if tags.long else "I")[0])
    return data[place : place + count] if kind in (1, 7) else b""  # bytes, or bytes of any meaning


def parted(image: Any) -> bool:
    """Whether the channels of an image that Pillow has opened lie in separate planes that it would misread."""
    return bool(image.tag_v2.get(_PLANES, 1) == 2 and max(image.tag_v2.get(_BITS, (1,))) > 8)


def make_room(image: Any) -> None:
    """Memory for an image that is open, which Pillow would not give to a large one; the limit has been seen to."""
    image.im = Image.new(image.mode, image._tile_size).im


def upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W, ...) turned as an orientation (TIFF 6.0, section 8) says."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


class _Tags:
    """The first directory of a file."""

    def __init__(self, file: BinaryIO, order: str, long: bool, place: int) -> None:
        self.file, self.order, self.long = file, order, long
        self.entries: dict[int, tuple[int, int, int, int]] = {}  # tag: place of the entry, type, count, place of the value field
        head, self.entry, self.inline = ("Q", 20, 8) if long else ("H", 12, 4)
        (count,) = self._unpack(place, head)
        if count > _MOST:
            raise UnusableError(f"its directory lists {count:,} entries, as no picture needs: save it anew")
        start = place + struct.calcsize(head)
        for at in range(start, start + self.entry * count, self.entry):
            tag, kind, number = self._unpack(at, "HHQ" if long else "HHI")
            self.entries[tag] = (at, kind, number, at + self.entry - self.inline)
        if any(self.entries[tag][2] > _STRIPS for tag in (_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS) if tag in self.entries):
            raise UnusableError(f"more than {_STRIPS:,} strips or tiles, as no picture needs: save it anew")
        self.file.seek(start + self.entry * count)
        self.more = any(file.read(self.inline))

    @property
    def foreign(self) -> bool:
        """Whether Pillow cannot follow: it knows BigTIFF in one byte order."""
        return self.long and self.order == ">"

    def _unpack(self, place: int, form: str) -> tuple[Any, ...]:
        self.file.seek(place)
        return struct.unpack(self.order + form, self.file.read(struct.calcsize("=" + form)))

    def place(self, tag: int) -> int:
        """Where the values of an entry lie."""
        _, kind, count, field = self.entries[tag]
        if struct.calcsize(_NUMBERS[kind]) * count <= self.inline:
            return field
        return int(self._unpack(field, "Q" if self.long else "I")[0])

    def values(self, tag: int, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The numbers of an entry, one or more."""
        if default is not None and tag not in self.entries:
            return default
        _, kind, count, _ = self.entries[tag]
        if not 0 < count < _MOST:
            raise ValueError("more values than there can be")
        return self._unpack(self.place(tag), f"{count}{_NUMBERS[kind]}")

    def value(self, tag: int, default: int | None = None) -> int:
        """The first number of an entry."""
        return self.values(tag, None if default is None else (default,))[0]


def _tags(file: BinaryIO) -> _Tags | None:
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 16:
        return None
    version, place = struct.unpack_from(f"{order}HI", start, 2)
    if version not in (42, 43):
        return None
    return _Tags(file, order, version == 43, place if version == 42 else struct.unpack_from(f"{order}Q", start, 8)[0])


def _layout(tags: _Tags) -> Layout | None:
    bits, kinds, light = set(tags.values(_BITS, (1,))), set(tags.values(_FORMAT, (1,))), tags.value(_LIGHT)
    depth, samples, planar = max(bits), tags.value(_SAMPLES, 1), tags.value(_PLANES, 1) == 2
    plain = depth == 8 or (depth in (1, 2, 4) and light < 2)  # what Pillow reads in full
    if plain or tags.foreign or RAW in tags.entries or len(bits) > 1 or len(kinds) > 1 or light not in (0, 1, 2):
        return None
    kind, colors, extra = _KINDS.get(kinds.pop(), ""), 3 if light == 2 else 1, tags.values(_EXTRA, (0,))[0]
    whole = depth in (16, 32, 64)
    packing = tags.value(_COMPRESSION, 1)
    predictor = tags.value(_PREDICTOR, 1) if packing != 1 else 1
    if not (whole or (kind == "u" and depth < 32 and predictor == 1)) or not kind or predictor not in ((1, 3) if kind == "f" else (1, 2)):
        return None
    if packing not in _MOST_PACKED or tags.value(_FILL, 1) != 1:
        return None
    others = len(tags.values(_EXTRA, (0,))) if _EXTRA in tags.entries else samples == 4
    if samples != colors + others or samples > colors + (1 if colors == 1 else 3):  # bands of something else than colors
        return None
    alpha = extra if samples > colors and extra in (1, 2) else 2 if samples == 4 and _EXTRA not in tags.entries else 0
    tile = tags.value(_TILE_WIDTH) if _TILE_OFFSETS in tags.entries else 0
    size, orientation = (tags.value(_WIDTH), tags.value(_HEIGHT)), tags.value(_ORIENTATION, 1)
    if min(size) < 1 or (tile and not 0 < tile <= max(_MOST, 2 * size[0])):
        return None
    tall = tags.value(_TILE_HEIGHT) if tile else min(tags.value(_ROWS, size[1]), size[1])
    found = Layout(
        tags.order, size, samples, colors, alpha, depth, kind, light == 0, orientation, planar, packing, predictor, tile, tall, tags.more
    )
    parts = tags.entries[_TILE_OFFSETS if tile else _OFFSETS][2]
    return found if tall and parts == found._across * found._down * found._planes else replace(found, tall=max(tall, size[1]))


class _Unpacked:
    """The samples of a file, some strips or rows of tiles at a time, of which the last ones are kept."""

    def __init__(self, data: bytes, found: Layout) -> None:
        self._data, self._found = data, found
        self._step = max(1, min(found._down, _AT_ONCE * found._down // found.memory))
        self._group, self._images = 0, self._opened(0)
        self.image = self._images[0]

    def rows(self, top: int, bottom: int) -> NDArray[Any]:
        """Samples (rows, W, S) from a first row to a last one, exclusive."""
        height, parts = self._step * self._found.tall, []
        for group in range(top // height, -(-bottom // height)):
            if group != self._group:
                self._images.clear()  # before others take memory
                self._group, self._images = group, self._opened(group)
            first, last = max(0, top - group * height), min(height, bottom - group * height)
            planes = [_samples(np.asarray(image.crop((0, first, image.width, last))), self._found) for image in self._images]
            parts.append(planes[0] if len(planes) == 1 else np.concatenate(planes, 2))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _opened(self, group: int) -> list[TiffImagePlugin.TiffImageFile]:
        images = []
        for plane in range(self._found._planes):
            images.append(TiffImagePlugin.TiffImageFile(_shown(self._data, self._found, plane, group * self._step, self._step)))
            make_room(images[-1])
            images[-1].load()
        return images


def _shown(data: bytes, found: Layout, plane: int, first: int, count: int) -> io.BytesIO:
    """The file as Pillow is to see it: of one plane ``count`` strips or rows of tiles from the ``first`` one on."""
    shown, tags = io.BytesIO(data), _tags(io.BytesIO(data))
    assert tags is not None
    pointer, across = "Q" if tags.long else "I", found._across

    def write(place: int, form: str, *values: int) -> None:
        shown.seek(place)
        shown.write(struct.pack(tags.order + form, *values))

    def put(tag: int, value: int) -> None:
        if tag in tags.entries:
            at, _, _, field = tags.entries[tag]
            write(at, f"HH{pointer}", tag, 4, 1)
            write(field, "I", value)

    put(_WIDTH, found._part * across)
    put(_HEIGHT, min(count * found.tall, found.size[1] - first * found.tall))
    put(_TILE_WIDTH, found._part)
    for tag in (_SAMPLES, _FORMAT, _LIGHT, _PREDICTOR, _PLANES, _ORIENTATION):
        put(tag, 1)
    put(_BITS, 8)
    for tag, other in ((_EXTRA, _INKS), *(((_XMP, _INKS),) if _ORIENTATION not in tags.entries else ())):
        put(tag, 1)  # extra samples are no more; nor may other words turn the picture
        if tag in tags.entries:
            write(tags.entries[tag][0], "H", other)
    if found.planar or count < found._down:
        for tag in {_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS} & set(tags.entries):
            at, kind, number, field = tags.entries[tag]
            each, width = number // found._planes, struct.calcsize(_NUMBERS[kind])
            chosen = min(count, found._down - first) * across if count < found._down else each
            place = tags.place(tag) + (plane * each + first * across) * width
            write(at + 4, pointer, chosen)
            if chosen * width <= tags.inline:
                shown.seek(field)
                shown.write(data[place : place + chosen * width])
            else:
                write(field, pointer, place)
    shown.seek(0)
    return shown


def _samples(shown: NDArray[np.uint8], found: Layout) -> NDArray[Any]:
    """Bytes (rows, parts) as samples (rows, W, S)."""
    count, together = len(shown), found._together
    parts = shown.reshape(count, found._across, found._part)
    wide = found.tile or found.size[0]
    if found.predictor == 3:  # bytes of equal weight lie together, the first ones first, and then differences are taken (Adobe's note 3)
        summed = np.cumsum(parts.reshape(count, found._across, -1, together), 2, dtype=np.uint8)
        planes = summed.reshape(count, found._across, found.bits // 8, wide * together)
        values: NDArray[Any] = np.ascontiguousarray(planes.swapaxes(2, 3)).view(f">f{found.bits // 8}")
    elif found.bits in (16, 32, 64):
        values = np.ascontiguousarray(parts).view(f"{found.order}{found.kind}{found.bits // 8}")
    else:
        ones = np.unpackbits(parts, axis=2)[..., : wide * together * found.bits].reshape(count, found._across, -1, found.bits)
        values = ones @ (1 << np.arange(found.bits - 1, -1, -1, dtype=np.uint32))
    values = values.reshape(count, found._across, wide, together)
    if found.predictor == 2:
        values = np.cumsum(values, 2, dtype=values.dtype.newbyteorder("="))
    values = values.reshape(count, -1, together)[:, : found.size[0]]
    return values.astype(values.dtype.newbyteorder("="), copy=False)
