"""Where marker and XMP packet stand in a file of each format, and how they are read from there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from calotype.errors import DamagedError
from calotype.provenance import extended
from calotype.provenance.marker import STRENGTH, Marker, parse
from calotype.provenance.xmp import Statement, marked, stated

XMP_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF")
FORMATS = (*XMP_FORMATS, "GIF")
"""Those that hold a marker, by Pillow's names."""
TIFF_TAG = 700
_KEY, _XMP_KEY = "Calotype", "XML:com.adobe.xmp"  # of texts in PNG files


@dataclass(frozen=True)
class Origin:
    """What a picture says of its making."""

    marker: Marker
    earlier: tuple[Marker, ...] = ()  # of what it was before, the oldest first
    source_type: str = ""  # the last part of the digital source type that its XMP states


def save_options(form: str, marker: Marker | None) -> dict[str, Any]:
    """What Pillow's ``save`` is given for a marker in a picture that carries nothing else."""
    if marker is None or form not in FORMATS:
        return {}
    if form == "GIF":
        return {"comment": marker.text}
    packet = marked(b"", marker)
    if form == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[TIFF_TAG] = 1  # bytes
        tags[TIFF_TAG] = packet
        return {"tiffinfo": tags}
    return {"pnginfo": png_info(png_chunks(packet, marker))} if form == "PNG" else xmp_options(form, packet)


def xmp_options(form: str, packet: bytes) -> dict[str, Any]:
    """What Pillow's ``save`` is given for a packet in a JPEG, WebP or AVIF file. Raises ``ValueError`` for one that cannot be held."""
    return {"extra": extended.segments(packet)} if form == "JPEG" else {"xmp": packet}


def unmarked(form: str) -> str:
    """What there is to say where a format holds no marker."""
    return f"{form} holds no XMP data: nothing in the file says that Calotype made it"


def png_info(chunks: tuple[tuple[bytes, bytes], ...]) -> PngInfo:
    """Chunks as Pillow takes them."""
    info = PngInfo()
    for kind, body in chunks:
        info.add(kind, body)
    return info


def png_chunks(packet: bytes, marker: Marker | None) -> tuple[tuple[bytes, bytes], ...]:
    """Kinds and bodies of the chunks of a PNG file that hold a packet (as the XMP specification, part 3, has it), and a marker as text."""
    texts = [(b"tEXt", f"{_KEY}\0{marker.text}".encode("latin-1"))] if marker else []
    return (*texts, *([(b"iTXt", _XMP_KEY.encode() + bytes(5) + packet)] if packet else []))


def packet_of(image: Image.Image) -> bytes:
    """The XMP packet of an image that is open; empty where it has none.

    In JPEG files extended XMP is joined to it. Where that is damaged, the packet names it still.
    """
    found = image.info.get("xmp") or image.info.get(_XMP_KEY) or b""
    packet = found.encode() if isinstance(found, str) else bytes(found)
    if extended.NAME in packet:
        with suppress(ValueError):
            return extended.whole(packet, (body for name, body in getattr(image, "applist", ()) if name == "APP1"))
    return packet


def origin_of(image: Image.Image) -> Origin | None:
    """What the file of an image says of its making; None where Calotype did not mark it.

    Raises:
        DamagedError: for a marker that was altered, and where what the file says at two places differs.
    """
    try:
        packet = packet_of(image)
        said = stated(packet) if packet else Statement()
    except ValueError as error:
        raise DamagedError(f"its XMP data are broken ({error})") from None
    comment = image.info.get("comment", b"") if image.format == "GIF" else b""
    plain = str(image.info.get(_KEY, "")) or comment.decode("latin-1")
    texts = said.markers or ((plain,) if plain.startswith("{") else ())
    if not texts:
        return None
    *earlier, marker = map(parse, texts)
    if plain and plain != texts[-1]:
        raise DamagedError("its marker was altered: its text and its XMP data differ")
    if said.markers and STRENGTH.index(marker.source_type) > (STRENGTH.index(said.source_type) if said.source_type in STRENGTH else 0):
        raise DamagedError(f"its marker was altered: its XMP data do not say {marker.source_type}")
    return Origin(marker, tuple(earlier), said.source_type)
