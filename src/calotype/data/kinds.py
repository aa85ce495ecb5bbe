"""What kind of picture a file holds, by its first bytes and its name: one that is read here, or one of which that can only be said."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

HEAD = 64  # bytes from the start of a file that tell its kind

_READ = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\x00\x00\x00\x00|II[*+]\x00|MM\x00[*+]|RIFF....WEBP|P[1-6]\s|Pf\n"
    rb"|....ftyp(avi[fs]|m(if|sf)1.{4}(.{4})*?avi[fs])|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51|qoif",
    re.DOTALL,
)
HEIF = frozenset({".heic", ".heif", ".hif", ".heics", ".heifs"})
_HEIF = re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)
_SIGNATURES = {
    "JPEG XL": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "JPEG XR": rb"II\xbc",
    "PSD (Photoshop)": rb"8BPS",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "DDS": rb"DDS \x7c",
    "XCF (GIMP)": rb"gimp xcf",
    "DjVu": rb"AT&TFORM",
    "FITS": rb"SIMPLE  =",
    "ICNS": rb"icns",
    "PAM": rb"P7[ \n]",
    "PFM in color": rb"PF\n",
    "SVG": rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!DOCTYPE svg|<svg)",
    "a camera's raw picture": rb"II\*\x00.{4}CR|IIRO|IIRS|MMOR|IIU\x00|FUJIFILMCCD-RAW|FOVb|\x00MRM|....ftypcrx ",
}
_KINDS = re.compile(b"|".join(b"(?P<_%d>%b)" % (place, pattern) for place, pattern in enumerate(_SIGNATURES.values())), re.DOTALL)
_NAMES = {
    "HEIC": HEIF,
    "JPEG XL": {".jxl"},
    "JPEG XR": {".jxr", ".wdp"},
    "PSD (Photoshop)": {".psd", ".psb"},
    "OpenEXR": {".exr"},
    "DDS": {".dds"},
    "XCF (GIMP)": {".xcf"},
    "a drawing of Krita": {".kra"},
    "a drawing of Illustrator": {".ai"},
    "DjVu": {".djvu"},
    "ICNS": {".icns"},
    "SVG": {".svg", ".svgz"},
    "DICOM": {".dcm"},
    "EPS": {".eps"},
    "WMF": {".wmf", ".emf"},
}
_RAW = {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf"}
_RAW |= {".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
_SUFFIXES = {suffix: kind for kind, suffixes in {**_NAMES, "a camera's raw picture": _RAW}.items() for suffix in suffixes}


def looks_like_image(start: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file, or 16 of them at least, are those of a picture that is read here."""
    return _READ.match(start) is not None or (reads_heif() and is_heif(start))


def is_picture(path: Path) -> bool:
    """Whether there is a file that begins like an image."""
    try:
        with path.open("rb") as file:
            return looks_like_image(file.read(HEAD))
    except OSError:
        return False


def unread_kind(start: bytes, suffix: str) -> str | None:
    """What a picture of a kind that is not read here is, in words that can stand as the reason; None for every other file.

    Args:
        start: The first `HEAD` bytes of the file.
        suffix: That of its name, with its dot, in lower case. It counts where the bytes say nothing, or no more than TIFF.

    >>> unread_kind(b"8BPS", ".jpg")
    'PSD (Photoshop), which is not read: convert it to PNG or TIFF'
    """
    found = _KINDS.match(start)
    kind = None if found is None else tuple(_SIGNATURES)[int(str(found.lastgroup)[1:])]
    if kind is None and is_heif(start):
        kind = "HEIC"
    elif kind is None and (suffix in _RAW or not looks_like_image(start)):
        kind = _SUFFIXES.get(suffix)
    if kind == "HEIC":
        return None if reads_heif() else "HEIC, which needs pip install pillow-heif"
    return None if kind is None else f"{kind}, which is not read: convert it to PNG or TIFF"


def is_heif(start: bytes) -> bool:
    """Whether a file begins as HEIC and other HEIF pictures do; AVIF, which is one too, is not meant."""
    return _HEIF.match(start) is not None and _READ.match(start) is None


@cache
def reads_heif() -> bool:
    """Whether the package that reads HEIC is installed."""
    return find_spec("pillow_heif") is not None
