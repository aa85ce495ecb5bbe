"""TIFF files of more than 8 bits, or odd ones, of which Pillow reads few and fewer in full: it unpacks their bytes, made samples here.

To Pillow such a file is shown as a grey picture of 8 bits, a pixel for each byte, by changing entries of its directory (TIFF 6.0,
section 2; BigTIFF has longer ones). What strips, tiles and lossless compressions do to bytes is then Pillow's work; predictors (section
14), byte order, packed samples and separate planes are undone here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from calotype.data.reading import UnusableError

Rows = Callable[[int, int], NDArray[Any]]
"""Samples (rows, W, S) from a first row to a last one, exclusive."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _LIGHT, _FILL, _ORIENTATION, _SAMPLES = 256, 257, 258, 259, 262, 266, 274, 277
_OFFSETS, _COUNTS, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 284, 317, 322, 323, 324, 325
_EXTRA, _FORMAT, _XMP, _INKS = 338, 339, 700, 332
RAW = 50706  # the tag of a camera's raw picture (DNG), whose first image is a small one
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of the entries that are looked at
_MOST_PACKED = {1: 1, 5: 2800, 8: 1032, 32773: 64, 32946: 1032, 50000: 2**14}  # bytes that one byte can stand for, by lossless compression
_KINDS = {1: "u", 2: "i", 3: "f"}  # by sample format
_MOST = 2**16  # entries or values that are believed


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
    pages: bool  # whether more than this one

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.size[::-1] if self.orientation in (5, 6, 7, 8) else self.size

    @property
    def grey(self) -> bool:
        """Whether there is one color."""
        return self.colors == 1

    @property
    def mode(self) -> str:
        """The nearest of Pillow's modes."""
        grey = "F" if self.kind == "f" else "I" if self.bits > 8 else "L"
        return (grey if self.alpha == 0 else "LA") if self.grey else "RGB" if self.alpha == 0 else "RGBA"

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


def rows(data: bytes, found: Layout) -> tuple[TiffImagePlugin.TiffImageFile, Rows]:
    """The image as Pillow opens it, for what it says besides its pixels, and its samples in the machine's byte order.

    Raises ``UnusableError`` for a file that is too short for them, before any memory is taken; and whatever Pillow does.
    """
    if len(data) * _MOST_PACKED[found.packing] < found._part * found._across * found.size[1] * (found.samples if found.planar else 1):
        raise UnusableError("cut off: there are fewer samples than its size says")
    planes = [
        TiffImagePlugin.TiffImageFile(io.BytesIO(_shown(data, found, plane))) for plane in range(found.samples if found.planar else 1)
    ]
    for image in planes:
        make_room(image)
        image.load()

    def read(top: int, bottom: int) -> NDArray[Any]:
        parts = [_samples(np.asarray(image.crop((0, top, image.width, bottom))), found) for image in planes]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)

    return planes[0], read


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
    return Layout(
        tags.order, size, samples, colors, alpha, depth, kind, light == 0, orientation, planar, packing, predictor, tile, tags.more
    )


def _shown(data: bytes, found: Layout, plane: int) -> bytearray:
    """The file as Pillow is to see it."""
    shown, tags = bytearray(data), _tags(io.BytesIO(data))
    assert tags is not None

    def put(tag: int, value: int) -> None:
        if tag in tags.entries:
            at, _, _, field = tags.entries[tag]
            struct.pack_into(f"{tags.order}HH{'Q' if tags.long else 'I'}", shown, at, tag, 4, 1)
            struct.pack_into(f"{tags.order}I", shown, field, value)

    put(_WIDTH, found._part * found._across)
    put(_TILE_WIDTH, found._part)
    for tag in (_SAMPLES, _FORMAT, _LIGHT, _PREDICTOR, _PLANES, _ORIENTATION):
        put(tag, 1)
    put(_BITS, 8)
    for tag, other in ((_EXTRA, _INKS), *(((_XMP, _INKS),) if _ORIENTATION not in tags.entries else ())):
        put(tag, 1)  # extra samples are no more; nor may other words turn the picture
        if tag in tags.entries:
            struct.pack_into(f"{tags.order}H", shown, tags.entries[tag][0], other)
    if found.planar:
        for tag in {_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS} & set(tags.entries):
            at, kind, count, field = tags.entries[tag]
            each, width = count // found.samples, struct.calcsize(_NUMBERS[kind])
            place = tags.place(tag) + plane * each * width
            struct.pack_into(f"{tags.order}{'Q' if tags.long else 'I'}", shown, at + 4, each)
            if each * width <= tags.inline:
                shown[field : field + each * width] = data[place : place + each * width]
            else:
                struct.pack_into(f"{tags.order}{'Q' if tags.long else 'I'}", shown, field, place)
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
