"""Pictures of one's own, from file to file: depth, grey or color, transparency, EXIF data and color profile are kept, or it is said
that they are not. XMP and IPTC data, texts and comments are not.

What becomes of the modes: palettes become grey or color, CMYK, LAB and others color (by the file's own profile, where it has one);
of an animation the first frame counts; integers of 32 bits and floating point become 16 bits as `calotype.data.decode` says. An
orientation in the EXIF data is applied and then taken out; a thumbnail in them, which would show the old picture, goes too.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calotype.data.decode import MAX_PIXELS, UnusableError, flatten, loaded, to_unit
from calotype.errors import UserError
from calotype.files import write_atomic
from calotype.tasks.deep import bits_of, read_deep, write_png, write_tiff

Samples = NDArray[Any]

_MOST = 65_533  # bytes of EXIF data in a JPEG file
QUALITY = 95  # of JPEG, WebP and AVIF, where none is asked for


@dataclass(frozen=True)
class Format:
    """What a file format can hold."""

    suffixes: tuple[str, ...]  # the first one is given to files that have none
    alpha: bool = False  # transparency
    deep: bool = False  # 16 bits a channel
    facts: bool = True  # EXIF data and color profile
    lossy: bool = False  # has a quality
    side: int = 2**31 - 1  # pixels at most


FORMATS = {
    "PNG": Format((".png",), alpha=True, deep=True),
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif"), lossy=True, side=65_500),
    "TIFF": Format((".tif", ".tiff"), alpha=True, deep=True),
    "WEBP": Format((".webp",), alpha=True, lossy=True, side=16_383),
    "AVIF": Format((".avif",), alpha=True, lossy=True, side=65_536),
    "BMP": Format((".bmp",), facts=False),
}
"""The formats that are written. A picture in any other comes out as PNG."""

SUFFIXES = {suffix: name for name, form in FORMATS.items() for suffix in form.suffixes}

_STRUCTURE = frozenset({254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317, 318, 319, 320})
_STRUCTURE |= {322, 323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675, 40965}
_GROUPS, _WIDTH, _HEIGHT = (34665, 34853), 40962, 40963  # EXIF and GPS data; the size of the picture as the former tell it
_WORDS = {"xmp": "XMP data", "XML:com.adobe.xmp": "XMP data", "photoshop": "IPTC data", "comment": "comments"}  # by Pillow's name
_SPACES = {1: b"GRAY", 3: b"RGB "}  # in a color profile


@dataclass(frozen=True)
class Picture:
    """The content of a picture's file."""

    pixels: Samples  # (H, W, C) uint8 or uint16 with one channel or three
    alpha: Samples | None = None  # (H, W) of the same type: 0 where the picture is transparent
    format: str = "PNG"  # of its file, in Pillow's words
    exif: Image.Exif | None = None
    icc: bytes = b""  # color profile
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = field(default=())  # what of the file could not be taken over

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def open_picture(data: bytes, name: str, limit: int = MAX_PIXELS) -> Picture:
    """The picture in a file, of ``limit`` pixels at most. Raises ``UnusableError``; damage is that of `calotype.data.decode`."""
    bits: list[int] = []
    with loaded(data, name, lambda image: bits.append(bits_of(image)), limit) as image:
        notes = ["only its first frame was taken"] if getattr(image, "is_animated", False) and image.format != "MPO" else []
        if words := _words(image):
            notes.append(f"its {' and '.join(words)} were left out")
        exif, said = _exif(image)
        samples, alpha, more = _deep(image, data, name) if bits[0] == 16 else _shallow(image)
        dpi = image.info.get("dpi")
        return Picture(
            samples,
            alpha,
            image.format or "PNG",
            exif,
            image.info.get("icc_profile") or b"",
            (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 1 else None,
            (*notes, *said, *more),
        )


def format_of(path: Path) -> str:
    """The format that a name asks for. Raises `UserError` for a suffix that is not written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: cannot write {path.suffix or 'a name without suffix'}: choose one of {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def save_picture(picture: Picture, path: Path, quality: int | None = None) -> tuple[str, ...]:
    """Write a picture whole or not at all, in the format that the name says; returns what it could not keep, in words.

    ``quality``, 1 to 100, is that of JPEG, WebP and AVIF: 95 where none is given, and above 90 without halved color.
    """
    name = format_of(path)
    form = FORMATS[name]
    if max(picture.size) > form.side:
        raise UnusableError(f"{name} cannot hold {picture.size[1]}x{picture.size[0]} pixels, but {form.side:,} a side: give another suffix")
    picture, notes = _fitted(picture, name, form)
    samples = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha[..., None]], 2)
    exif = _sized(picture)
    if name == "JPEG" and exif is not None and len(exif.tobytes()) > _MOST:
        exif, notes = None, (*notes, "its EXIF data were left out: JPEG holds 64 KB of them")

    def write(stream: BinaryIO) -> None:
        if name == "TIFF":
            write_tiff(stream, samples, picture.alpha is not None, picture.icc, exif, picture.dpi)
        elif samples.dtype == np.uint16:
            write_png(stream, samples, picture.icc, exif.tobytes() if exif else b"", picture.dpi)
        else:
            _write(stream, samples, name, picture, exif, quality or QUALITY)

    try:
        write_atomic(path, write)
    except (OSError, RuntimeError, ValueError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the encoder
            raise
        raise UnusableError(f"{name} cannot hold it: {error}") from error
    return notes


def _shallow(image: Image.Image) -> tuple[Samples, Samples | None, list[str]]:
    """Pixels and transparency of a loaded image of 8 bits."""
    mode, notes = image.mode, []
    alpha = None
    if image.has_transparency_data:
        layered = image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = np.asarray(layered.getchannel("A"))
        flat = layered.convert("L" if layered.mode == "LA" else "RGB")
    elif mode == "CMYK":
        notes.append("CMYK became RGB")
        flat = _from_cmyk(image)
    else:
        flat = flatten(image)
    pixels = np.asarray(flat).reshape(flat.height, flat.width, -1)
    if mode == "P" and pixels.shape[2] == 3 and bool((pixels == pixels[..., :1]).all()):
        pixels = pixels[..., :1]
    return pixels, alpha, notes


def _deep(image: Image.Image, data: bytes, name: str) -> tuple[Samples, Samples | None, list[str]]:
    """Pixels and transparency of a loaded image of more than 8 bits."""
    key = image.info.get("transparency")
    if image.mode in ("I", "F"):
        unit = to_unit(np.asarray(image))
        return np.rint(unit * 65535).astype(np.uint16)[..., None], None, ["its values became 16 bits"] if image.format != "PPM" else []
    if image.mode.startswith("I;16"):
        samples: NDArray[np.uint16] | None = np.asarray(image).astype(np.uint16)[..., None]
    else:
        samples = read_deep(data, name)
    if samples is None:
        pixels, alpha, notes = _shallow(image)
        return pixels, alpha, [*notes, "only 8 of its 16 bits could be read"]
    if samples.shape[2] in (2, 4):
        return samples[..., :-1], samples[..., -1], []
    if key is not None and not isinstance(key, bytes):
        alpha = np.where((samples == np.array(key, np.uint16)).all(2), 0, 65535).astype(np.uint16)
        return samples, alpha, []
    return samples, None, []


def _from_cmyk(image: Image.Image) -> Image.Image:
    if profile := image.info.get("icc_profile"):
        with suppress(Exception):  # a broken profile, or a Pillow without color management
            from PIL import ImageCms

            own, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, own, screen, outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _exif(image: Image.Image) -> tuple[Image.Exif | None, list[str]]:
    """The EXIF data but for what describes the file, its orientation (which has been applied) and its thumbnail."""
    try:
        found, kept = image.getexif(), Image.Exif()
        for tag, value in found.items():
            if tag not in _STRUCTURE and tag not in _GROUPS:
                kept[tag] = value
        for group in _GROUPS:
            if group in found and (inner := found.get_ifd(group)):
                kept[group] = dict(inner)
        if len(kept):
            kept.tobytes()
        return (kept if len(kept) else None), []
    except Exception:  # whatever a decoder of broken data may raise
        return None, ["its EXIF data are broken and were left out"]


def _words(image: Image.Image) -> list[str]:
    """What a file says that is not taken over."""
    texts = ["texts"] if set(getattr(image, "text", ())) - set(_WORDS) else []
    return list(dict.fromkeys([words for key, words in _WORDS.items() if image.info.get(key)] + texts))


def _sized(picture: Picture) -> Image.Exif | None:
    """The EXIF data with the size that the picture now has."""
    if picture.exif is None:
        return None
    exif = Image.Exif()
    for tag, value in picture.exif.items():
        exif[tag] = dict(value) if isinstance(value, dict) else value
    if isinstance(inner := exif.get(_GROUPS[0]), dict):
        for tag, side in ((_HEIGHT, picture.size[0]), (_WIDTH, picture.size[1])):
            if tag in inner:
                inner[tag] = side
    return exif


def _fitted(picture: Picture, name: str, form: Format) -> tuple[Picture, tuple[str, ...]]:
    """The picture as a format can hold it, and what is lost."""
    notes = []
    if picture.alpha is not None and not form.alpha:
        notes.append(f"{name} holds no transparency: laid on white")
        top = np.iinfo(picture.pixels.dtype).max
        share = picture.alpha[..., None] / np.float32(top)
        laid = np.rint(picture.pixels * share + top * (1 - share)).astype(picture.pixels.dtype)
        picture = replace(picture, pixels=laid, alpha=None)
    if picture.pixels.dtype == np.uint16 and not form.deep:
        notes.append(f"{name} holds 8 of its 16 bits")
        alpha = None if picture.alpha is None else _to_8bit(picture.alpha)
        picture = replace(picture, pixels=_to_8bit(picture.pixels), alpha=alpha)
    if picture.icc and picture.icc[16:20] != _SPACES[picture.pixels.shape[2]]:
        if picture.icc[16:20] != b"CMYK":  # that CMYK became RGB has been said
            notes.append("its color profile does not fit the result and was left out")
        picture = replace(picture, icc=b"")
    if not form.facts and (picture.icc or picture.exif):
        notes.append(f"{name} holds no EXIF data and no color profile")
        picture = replace(picture, icc=b"", exif=None)
    return picture, tuple(notes)


def _to_8bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _write(stream: BinaryIO, samples: Samples, name: str, picture: Picture, exif: Image.Exif | None, quality: int) -> None:
    """A picture of 8 bits by Pillow."""
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    if image.mode == "LA" and name in ("WEBP", "AVIF"):
        image = image.convert("RGBA")
    options: dict[str, Any] = {}
    if FORMATS[name].facts:
        options["icc_profile"] = picture.icc or None
        if exif is not None:
            options["exif"] = exif.tobytes()
    if picture.dpi is not None and name in ("PNG", "JPEG", "BMP"):
        options["dpi"] = picture.dpi
    if FORMATS[name].lossy:
        options["quality"] = quality
    if name == "JPEG":
        options["subsampling"] = 0 if quality > 90 else 2
    image.save(stream, name, **options)
