"""One small picture of every kind of file that can be made here, by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.data.data_samples import smooth

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16", "I;16B")
_SUFFIXES = {
    "PNG": "png",
    "JPEG": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
    "AVIF": "avif",
    "JPEG2000": "jp2",
    "ICO": "ico",
    "QOI": "qoi",
    "PCX": "pcx",
    "SGI": "sgi",
    "TGA": "tga",
    "MPO": "mpo",
    "DIB": "dib",
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(samples: NDArray[np.uint16], extra: bytes = b"") -> bytes:
    """A PNG without filters, written here from the specification."""
    height, width, count = samples.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def plain_tiff(rows: bytes, size: tuple[int, int], bits: int, samples: int, **tags: int) -> bytes:
    """A little-endian TIFF of one strip of bytes, written here from the specification."""
    width, height = size
    own = {"light": 1 if samples < 3 else 2, "kind": 1, "compression": 1, "predictor": 1, **tags}
    values = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [own["compression"]]), 262: (3, [own["light"]])}
    values |= {273: (4, [8]), 277: (3, [samples]), 278: (4, [height]), 279: (4, [len(rows)]), 317: (3, [own["predictor"]])}
    values[339] = (3, [own["kind"]] * samples)
    rows += b"\0" * (len(rows) % 2)
    far, entries, place = b"", b"", 8 + len(rows) + 2 + 12 * len(values) + 4
    for tag, (kind, numbers) in sorted(values.items()):
        body = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(body) > 4:
            body, far = struct.pack("<I", place + len(far)), far + body
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + body.ljust(4, b"\0")
    return struct.pack("<2sHI", b"II", 42, 8 + len(rows)) + rows + struct.pack("<H", len(values)) + entries + bytes(4) + far


def packed(values: NDArray[np.uint16], bits: int) -> bytes:
    """Rows (H, ...) of values of so many bits, each row from a byte of its own."""
    ones = (values.reshape(len(values), -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def heic(deep: bool) -> bytes | None:
    """HEIC of 8 or 10 bits, white on the right; None where there is no encoder."""
    try:
        import pillow_heif
    except ImportError:
        return None
    if not pillow_heif.libheif_info()["HEIF"]:
        return None
    ramp = np.repeat(np.linspace(0, 65_535, 64).astype(np.uint16)[None], 64, 0)
    values, stream = np.stack([ramp if deep else (ramp >> 8).astype(np.uint8)] * 3, -1), io.BytesIO()
    pillow_heif.from_bytes(mode="RGB;16" if deep else "RGB", size=(64, 64), data=values.tobytes()).save(stream, quality=-1, chroma=444)
    return stream.getvalue()


def kinds() -> dict[str, bytes]:
    """Files by a name that tells mode and format, and ends in a suffix."""
    found = {f"{mode}.{_SUFFIXES[form]}": data for mode, form, data in _of_pillow()}
    rng, color = np.random.default_rng(0), smooth(20, 16)
    deep = rng.integers(0, 65536, (16, 20, 4), np.uint16)
    for count in (1, 2, 3, 4):
        found[f"deep {count}.png"] = deep_png(deep[..., :count])
    deep[3, 4, :3] = (1, 2, 3)
    found["deep key 1.png"] = deep_png(deep[..., :1], chunk(b"tRNS", struct.pack(">H", int(deep[0, 0, 0]))))
    found["deep key 3.png"] = deep_png(deep[..., :3], chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    for mode, key in (("1", 1), ("L", 7), ("P", 3), ("RGB", (1, 2, 3))):
        image = color.convert(mode)
        image.putpixel((2, 2), key)
        found[f"key {mode}.png"] = encoded(image, "PNG", transparency=key)
    found["profile.jpg"] = encoded(color.convert("CMYK"), "JPEG", icc_profile=SRGB)
    found["moving.gif"] = encoded(color.convert("P"), "GIF", save_all=True, append_images=[smooth(20, 16, 1).convert("P")])
    found["moving.png"] = encoded(color, "PNG", save_all=True, append_images=[smooth(20, 16, 1)])
    found["turned.jpg"] = encoded(color, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    found |= {f"{white}.{suffix}": data for white in (1, 31, 255, 1023, 65535) for suffix, data in _netpbm(white, deep)}
    found |= dict(_tiffs(rng, deep))
    return found


def _of_pillow() -> Iterator[tuple[str, str, bytes]]:
    color = smooth(20, 16)
    layered = color.convert("RGBA")
    layered.putalpha(color.convert("L"))
    for mode in _MODES:
        image = layered.convert(mode) if mode in ("LA", "PA", "RGBA") else None
        if mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(color.convert("L"), np.uint16) * 257).astype(">u2" if mode == "I;16B" else "<u2"))
        for form in _SUFFIXES:
            try:
                yield mode, form, encoded(image or (color if mode == "LAB" else color.convert(mode)).convert(mode), form)
            except (OSError, ValueError, KeyError):  # which this format does not hold
                continue


def _netpbm(white: int, deep: NDArray[np.uint16]) -> Iterator[tuple[str, bytes]]:
    for letter, count, suffix in (("5", 1, "pgm"), ("6", 3, "ppm")):
        values = (deep[..., :count].astype(np.int64) * white // 65535).astype("u1" if white < 256 else ">u2")
        yield suffix, f"P{letter}\n# a comment\n20 16\n{white}\n".encode() + values.tobytes()


def _tiffs(rng: np.random.Generator, deep: NDArray[np.uint16]) -> Iterator[tuple[str, bytes]]:
    for kind in ("u2", "u4", "i2", "f2", "f4", "f8"):
        for count in (1, 2, 3, 4):
            values = deep[..., :count].view("i2") if kind == "i2" else deep[..., :count] / 65535 if kind[0] == "f" else deep[..., :count]
            stream, alpha = io.BytesIO(), {"extrasamples": ["unassalpha"]} if count in (2, 4) else {}
            shown = values[..., 0] if count == 1 else values
            form = "minisblack" if count < 3 else "rgb"
            tifffile.imwrite(stream, shown.astype(kind), photometric=form, planarconfig="contig" if count > 1 else None, **alpha)
            yield f"{kind} {count}.tif", stream.getvalue()
    stream = io.BytesIO()
    premultiplied = np.concatenate([(deep[..., :3] * (deep[..., 3:] / 65535)).astype(np.uint16), deep[..., 3:]], 2)
    tifffile.imwrite(stream, premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    yield "premultiplied.tif", stream.getvalue()
    for bits in (10, 12, 14):
        yield f"{bits} bits.tif", plain_tiff(packed(deep[..., :3] >> (16 - bits), bits), (20, 16), bits, 3)
