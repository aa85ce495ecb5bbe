"""Image files for tests: ordinary ones, broken ones, malicious ones."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def smooth(width: int = 40, height: int = 40, seed: int = 0) -> Image.Image:
    """A picture in color with a gradient of its own."""
    rng = np.random.RandomState(seed)
    return Image.fromarray(rng.randint(0, 256, (5, 5, 3)).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises width x height pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def hostile_files() -> dict[str, bytes]:
    """Two dozen files that a folder of images may hold, by name."""
    color = smooth()
    gray = color.convert("L")
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40)
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg, png = encode(color, "JPEG"), encode(color, "PNG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    palette = color.quantize(16)
    frames = [smooth(seed=n).convert("P") for n in range(3)]
    layered = color.convert("RGBA")
    layered.putalpha(gray)
    return {
        # usable
        "gray.png": encode(gray, "PNG"),
        "gray-alpha.png": encode(gray.convert("LA"), "PNG"),
        "color.jpg": jpeg,
        "progressive.jpeg": encode(color, "JPEG", progressive=True),
        "layered.png": encode(layered, "PNG"),
        "palette-transparent.png": encode(palette, "PNG", transparency=0),
        "print.jpg": encode(color.convert("CMYK"), "JPEG"),
        "ycbcr.tif": encode(color.convert("YCbCr"), "TIFF", compression="jpeg"),
        "bilevel.png": encode(gray.convert("1"), "PNG"),
        "sixteen.png": encode(Image.fromarray(ramp.astype(np.uint16)), "PNG"),
        "integers.tif": encode(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        "floating.tif": encode(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF"),
        "turned.jpg": encode(color, "JPEG", exif=turned),
        "moving.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "really-a-png.jpg": png,
        "no extension": png,
        "wide.png": encode(smooth(2000, 2), "PNG"),
        "dot.png": encode(smooth(1, 1), "PNG"),
        "Bär 熊 🐻.webp": encode(color, "WEBP"),
        "deep/er/nested.bmp": encode(color, "BMP"),
        # unusable
        "bad/truncated.jpg": jpeg[: len(jpeg) * 2 // 3],
        "bad/filled-with-zeros.jpg": jpeg[: len(jpeg) * 2 // 3] + bytes(len(jpeg) // 3),
        "bad/half.png": png[: len(png) // 2],
        "bad/one-bit.png": bytes(flipped),
        "bad/empty.png": b"",
        "bad/text.png": b"I am not an image at all, whatever my name may say.",
        "bad/bomb.png": bomb(30_000, 30_000),
        "bad/smaller-bomb.png": bomb(9_000, 9_000),
        "bad/nan.tif": encode(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF"),
        "bad/header-only.gif": b"GIF89a",
        # not meant to be images
        "notes.txt": b"hello",
        "labels.csv": b"a,b\n1,2\n",
        ".hidden.png": png,
        "__MACOSX/._color.jpg": jpeg,
        "Thumbs.db": b"\x00" * 100,
    }


USABLE, UNUSABLE, OTHERS = 20, 10, 5
