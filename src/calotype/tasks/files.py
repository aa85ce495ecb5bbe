"""Pictures of one's own, from file to file: depth, gray or color, transparency, EXIF data, color profile and what else says how colors
are meant are kept, or it is said that they are not; XMP data are kept and say what made the new picture as well. IPTC data, texts and
comments are not kept, which is said too.

What becomes of formats and modes: see `calotype.data.samples`. An orientation in EXIF or XMP data is applied and then taken out; a
thumbnail in them, which would show the old picture, goes too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from calotype.data.opening import MAX_PIXELS
from calotype.data.reading import UnusableError, first_line, reading
from calotype.data.samples import Samples, on_white, read, to_8bit
from calotype.errors import CalotypeError, UserError
from calotype.files import write_atomic
from calotype.provenance import embed
from calotype.provenance.marker import Marker
from calotype.provenance.xmp import marked
from calotype.tasks.facts import Chunks, chunks_of, exif_of, left_out, profile_of, resolution_of, sized, unkept, xmp_of
from calotype.tasks.sixteen_bit import write_png, write_tiff

_PROFILE = 255 * 65_519  # bytes of a color profile in a JPEG file (ICC.1, annex B.4), where Pillow would lose it
QUALITY = 95  # of JPEG, WebP and AVIF, where none is asked for


@dataclass(frozen=True)
class Format:
    """What a file format can hold."""

    suffixes: tuple[str, ...]  # the first one is given to files that have none
    alpha: bool = False  # transparency
    deep: bool = False  # 16 bits a channel
    facts: bool = True  # EXIF and XMP data and color profile
    lossy: bool = False  # has a quality
    side: int = 2**31 - 1  # pixels at most
    dpi: float = 0.0  # at most; 0 where it holds no resolution


_METER = 0.0254 * (2**31 - 1)  # pixels per inch, of formats that count those of a meter

FORMATS = {
    "PNG": Format((".png",), alpha=True, deep=True, dpi=_METER),
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif"), lossy=True, side=65_500, dpi=65_535),
    "TIFF": Format((".tif", ".tiff"), alpha=True, deep=True, dpi=(2**32 - 1) // 100),
    "WEBP": Format((".webp",), alpha=True, lossy=True, side=16_383),
    "AVIF": Format((".avif",), alpha=True, lossy=True, side=65_536),
    "BMP": Format((".bmp",), facts=False, dpi=_METER),
}
"""The formats that are written. A picture in any other comes out as PNG."""

SUFFIXES = {suffix: name for name, form in FORMATS.items() for suffix in form.suffixes}

_SPACES = {1: b"GRAY", 3: b"RGB "}  # in a color profile
_FACTS: dict[str, tuple[str, Any]] = {
    "dpi": ("resolution", None),
    "chunks": ("words on color", ()),
    "exif": ("EXIF data", None),
    "icc": ("color profile", b""),
    "xmp": ("XMP data", b""),
}
"""Fields of a picture that it can do without, in words, and what they are without it."""


@dataclass(frozen=True)
class Picture:
    """The content of a picture's file."""

    pixels: Samples  # (H, W, C) uint8 or uint16 with one channel or three
    alpha: Samples | None = None  # (H, W) of the same type: 0 where the picture is transparent
    format: str = "PNG"  # of its file, in Pillow's words
    exif: Image.Exif | None = None
    icc: bytes = b""  # color profile
    dpi: tuple[float, float] | None = None
    chunks: Chunks = ()  # of a PNG file: gamma, primaries, color space
    xmp: bytes = b""  # packet
    notes: tuple[str, ...] = field(default=())  # what of the file could not be taken over
    marker: Marker | None = None  # what made it, to be said by the file that it goes to; what made it before stands in ``xmp``

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def open_picture(data: bytes, name: str, limit: int = MAX_PIXELS) -> Picture:
    """The picture in a file, of ``limit`` pixels at most. Raises ``UnusableError``; damage is that of `calotype.data.decode`."""
    with reading():
        content = read(data, name, limit)
        image = content.image
        exif, broken = exif_of(image)
        icc, unfit = profile_of(image)
        xmp, odd = xmp_of(image)
        notes = (*left_out(image, data), *broken, *unfit, *odd, *content.notes)
        form = image.format or "PNG"
        return Picture(content.pixels, content.alpha, form, exif, icc, resolution_of(image), chunks_of(data), xmp, notes)


def format_of(path: Path) -> str:
    """The format that a name asks for. Raises `UserError` for a suffix that is not written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: cannot write {path.suffix or 'a name without suffix'}: choose one of {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def save_picture(picture: Picture, path: Path, quality: int | None = None) -> tuple[str, ...]:
    """Write a picture whole or not at all, in the format that the name says; returns what it could not keep, in words.

    ``quality``, 1 to 100, is that of JPEG, WebP and AVIF: 95 where none is given, and above 90 without halved color. What an encoder
    refuses to write besides the pixels never costs the picture: it is left out.
    """
    name = format_of(path)
    form = FORMATS[name]
    if max(picture.size) > form.side:
        raise UnusableError(f"{name} cannot hold {picture.size[1]}x{picture.size[0]} pixels, but {form.side:,} a side: give another suffix")
    picture, notes = _fitted(picture, name, form)
    samples = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha[..., None]], 2)
    failed: Exception | None = None
    for without in _attempts(picture):
        trial = replace(picture, **{fact: _FACTS[fact][1] for fact in without})
        try:
            write_atomic(path, lambda stream, trial=trial: _write(stream, samples, name, trial, quality or QUALITY))  # type: ignore[misc]
        except Exception as error:  # of an encoder
            if isinstance(error, (CalotypeError, MemoryError)) or (isinstance(error, OSError) and error.errno is not None):
                raise  # of the disk
            failed = failed or error
        else:
            words = " and ".join(_FACTS[fact][0] for fact in without)
            return (*notes, f"{name} could not hold its {words}: left out") if words else notes
    assert failed is not None
    raise UnusableError(f"{name} cannot hold it: {first_line(failed)}") from failed


def _attempts(picture: Picture) -> Iterator[tuple[str, ...]]:
    """What to leave out, first nothing, then each of the facts, then all."""
    facts = [fact for fact in _FACTS if getattr(picture, fact)]
    yield ()
    yield from ((fact,) for fact in facts)
    if len(facts) > 1:
        yield tuple(facts)


def _fitted(picture: Picture, name: str, form: Format) -> tuple[Picture, tuple[str, ...]]:
    """The picture as a format can hold it, and what is lost."""
    notes = []
    if picture.alpha is not None and not form.alpha:
        notes.append(f"{name} holds no transparency: laid on white")
        picture = replace(picture, pixels=on_white(picture.pixels, picture.alpha), alpha=None)
    if picture.pixels.dtype == np.uint16 and not form.deep:
        notes.append(f"{name} holds 8 of its 16 bits")
        alpha = None if picture.alpha is None else to_8bit(picture.alpha)
        picture = replace(picture, pixels=to_8bit(picture.pixels), alpha=alpha)
    if picture.icc and picture.icc[16:20] != _SPACES[picture.pixels.shape[2]]:
        if picture.icc[16:20] != b"CMYK":  # that CMYK became RGB has been said
            notes.append("its color profile does not fit the result and was left out")
        picture = replace(picture, icc=b"")
    if not form.facts and (picture.icc or picture.exif or picture.xmp):
        notes.append(f"{name} holds no EXIF data, no XMP data and no color profile")
        picture = replace(picture, icc=b"", exif=None, xmp=b"")
    if not form.facts and picture.marker:
        notes.append(embed.unmarked(name))
        picture = replace(picture, marker=None)
    if name != "PNG":
        if words := unkept(picture.chunks, picture.icc):
            notes.append(f"its {' and '.join(words)} cannot be written as {name}, so that it will look different")
        picture = replace(picture, chunks=())
    dpi = picture.dpi
    if dpi is not None and max(dpi) > form.dpi:
        notes += [f"{name} holds no resolution of {max(dpi):g} dpi"] if form.dpi else []
        dpi = None
    return replace(picture, exif=sized(picture.exif, picture.size), dpi=dpi), tuple(notes)


def _write(stream: BinaryIO, samples: Samples, name: str, picture: Picture, quality: int) -> None:
    exif = picture.exif.tobytes() if picture.exif and FORMATS[name].facts else b""
    xmp = marked(picture.xmp, picture.marker) if picture.marker else picture.xmp
    chunks = (*picture.chunks, *embed.png_chunks(xmp, picture.marker))
    if name == "TIFF":
        write_tiff(stream, samples, picture.alpha is not None, picture.icc, picture.exif, picture.dpi, xmp)
        return
    if samples.dtype == np.uint16:
        write_png(stream, samples, picture.icc, exif, picture.dpi, chunks)
        return
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    if image.mode == "LA" and name in ("WEBP", "AVIF"):
        image = image.convert("RGBA")
    options: dict[str, Any] = {"exif": exif} if exif else {}
    if FORMATS[name].facts:
        options["icc_profile"] = picture.icc or None
    if picture.dpi is not None:
        options["dpi"] = picture.dpi
    if FORMATS[name].lossy:
        options["quality"] = quality
    if name == "JPEG" and len(picture.icc) > _PROFILE:
        raise ValueError("the color profile is too large")
    if name == "JPEG":
        options["subsampling"] = 0 if quality > 90 else 2
    if name == "PNG":
        options["pnginfo"] = embed.png_info(chunks)
    elif xmp:
        options |= embed.xmp_options(name, xmp)
    image.save(stream, name, **options)
