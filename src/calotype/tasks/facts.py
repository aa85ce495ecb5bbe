"""What a picture's file says besides its pixels: EXIF data, color profile, resolution, gamma; and what of it is not taken over."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from itertools import takewhile
from typing import Any

from PIL import Image

from calotype.data.parts import PNG, png_chunks
from calotype.provenance import extended, xmp
from calotype.provenance.embed import packet_of

Chunks = tuple[tuple[bytes, bytes], ...]
"""Kinds and bodies of PNG chunks."""

_STRUCTURE = frozenset({254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317, 318, 319, 320})
_STRUCTURE |= {322, 323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675, 40965}
_GROUPS, _WIDTH, _HEIGHT = (34665, 34853), 40962, 40963  # EXIF and GPS data; the size of the picture as the former tell it
_TEXTS = {"comment": "comments"}  # by Pillow's name
_TAKEN = {"XML:com.adobe.xmp", "xmp", "Calotype"}  # texts that go on: XMP, and in it the marker
_IPTC, _IPTC_OF_PHOTOSHOP, _TIFF_IPTC = 0x0404, 34377, 33723
_LIGHT = (b"gAMA", b"cHRM", b"sRGB", b"cICP")  # how a PNG file says what its colors mean
_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # white, red, green and blue of sRGB as cHRM has them
_PLAIN = {(1, 1), (1, 2), (1, 6), (1, 13), (2, 1), (2, 2), (2, 6), (2, 13)}  # primaries and transfer (ITU-T H.273) that are taken for sRGB


def exif_of(image: Image.Image) -> tuple[Image.Exif | None, list[str]]:
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


def sized(exif: Image.Exif | None, size: tuple[int, int]) -> Image.Exif | None:
    """The EXIF data of a picture that now has this height and width."""
    if exif is None:
        return None
    kept = Image.Exif()
    for tag, value in exif.items():
        kept[tag] = dict(value) if isinstance(value, dict) else value
    if isinstance(inner := kept.get(_GROUPS[0]), dict):
        for tag, side in ((_HEIGHT, size[0]), (_WIDTH, size[1])):
            if tag in inner:
                inner[tag] = side
    return kept


def profile_of(image: Image.Image) -> tuple[bytes, list[str]]:
    """The color profile, where it is one (ICC.1, section 7.2)."""
    found = image.info.get("icc_profile")
    if not found:
        return b"", []
    if isinstance(found, bytes) and len(found) >= 128 and found[36:40] == b"acsp":
        return found, []
    return b"", ["its color profile is broken and was left out"]


def xmp_of(image: Image.Image) -> tuple[bytes, list[str]]:
    """The XMP packet but for what describes the file, and the picture as it was."""
    try:
        packet = packet_of(image)
        notes = ["its extended XMP data are damaged and were left out"] if extended.NAME in packet else []
        return (xmp.kept(packet) if packet else b""), notes
    except (ValueError, TypeError):
        return b"", ["its XMP data are broken and were left out"]


def resolution_of(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, across and down, where the file gives them."""
    with suppress(Exception):
        across, down = (float(number) for number in image.info["dpi"])
        if math.isfinite(across * down) and min(across, down) > 1:
            return across, down
    return None


def chunks_of(data: bytes) -> Chunks:
    """The chunks of a PNG file that say what its colors mean."""
    if not data.startswith(PNG):
        return ()
    before = takewhile(lambda chunk: chunk[0] not in (b"IDAT", b"IEND"), png_chunks(data))
    return tuple((kind, data[place : place + length]) for kind, place, length in before if kind in _LIGHT and length <= 32)


def unkept(chunks: Chunks, profile: bytes) -> list[str]:
    """What of those chunks, in words, makes a picture look different from what one without them is taken for, which is sRGB."""
    found, words = dict(chunks), []
    with suppress(struct.error):
        if b"cICP" in found:
            return [] if tuple(found[b"cICP"][:2]) in _PLAIN else ["color space"]
        if profile or b"sRGB" in found:
            return []
        if b"gAMA" in found and not 40_000 < (gamma := struct.unpack(">I", found[b"gAMA"])[0]) < 50_000:
            words.append(f"gamma of {gamma / 1e5:g}")
        if b"cHRM" in found and max(abs(a - b) for a, b in zip(struct.unpack(">8I", found[b"cHRM"]), _SRGB, strict=True)) > 1000:
            words.append("primaries")
    return words


def left_out(image: Image.Image, data: bytes) -> list[str]:
    """What a file holds that is not taken over, in sentences."""
    notes = []
    with suppress(Exception):  # of a broken second page
        if getattr(image, "is_animated", False) and image.format not in ("MPO", "HEIF"):
            notes.append(f"only its first {'page' if image.format == 'TIFF' else 'frame'} was taken")
    with suppress(Exception):
        if words := _texts(image):
            notes.append(f"its {', '.join(words)} were left out".replace(f", {words[-1]}", f" and {words[-1]}"))
    space = _space(image, data)
    if space not in _PLAIN and not image.info.get("icc_profile"):
        notes.append(f"its color space (primaries {space[0]}, transfer {space[1]} of H.273) was left out")
    return notes


def _texts(image: Image.Image) -> list[str]:
    info, tags = image.info, getattr(image, "tag_v2", {})
    words = [words for key, words in _TEXTS.items() if info.get(key)]
    blocks = info.get("photoshop")
    if _TIFF_IPTC in tags or (isinstance(blocks, dict) and _IPTC in blocks):
        words.append("IPTC data")
    if _IPTC_OF_PHOTOSHOP in tags or (isinstance(blocks, dict) and set(blocks) - {_IPTC}):
        words.append("Photoshop's data")
    if set(getattr(image, "text", ())) - set(_TEXTS) - (_TAKEN if packet_of(image) else set()):
        words.append("texts")
    return list(dict.fromkeys(words))


def _space(image: Image.Image, data: bytes) -> tuple[Any, Any]:
    """Primaries and transfer that an AVIF or HEIC file states."""
    if image.format == "HEIF" and isinstance(own := image.info.get("nclx_profile"), dict):
        return own.get("color_primaries", 2), own.get("transfer_characteristics", 2)
    place = data.find(b"colrnclx") if image.format == "AVIF" else -1
    return struct.unpack_from(">HH", data, place + 8) if 0 <= place <= len(data) - 12 else (2, 2)
