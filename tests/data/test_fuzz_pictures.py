"""Damaged pictures of every kind, read by both rooms and written back: nothing but reasons why not."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from picture_kinds import SRGB, encoded, heic, kinds
from PIL import Image

from calotype.data.decode import UnusableError, decode, decode_fitted, read_header
from calotype.tasks.files import open_picture, save_picture
from tests.fuzz import attempt, mutations

KINDS = kinds()


def _facts() -> dict[str, object]:
    exif = Image.Exif()
    exif[274], exif[271], exif[282], exif[34665] = 6, "Maker", 300.0, {33434: (1, 50), 40962: 999}
    return {"exif": exif.tobytes(), "icc_profile": SRGB, "dpi": (300, 300)}


for _kind, _suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("WEBP", "webp"), ("AVIF", "avif")):
    KINDS[f"facts.{_suffix}"] = encoded(Image.open(io.BytesIO(KINDS["RGB.png"])), _kind, **_facts())
for _packed in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma", "group4"):
    _image = Image.open(io.BytesIO(KINDS["1.png" if _packed == "group4" else "RGB.png"]))
    KINDS[f"{_packed}.tif"] = encoded(_image, "TIFF", compression=_packed)
for _deep in (False, True):
    if (_data := heic(_deep)) is not None:
        KINDS[f"{10 if _deep else 8} bits.heic"] = _data
KINDS["progressive.jpg"] = encoded(Image.open(io.BytesIO(KINDS["RGB.png"])), "JPEG", progressive=True, comment=b"a")


def restored(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that damage reaches what lies behind them."""
    out, place = bytearray(data), 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(out):
        end = place + 8 + int.from_bytes(out[place : place + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(out)


@pytest.mark.parametrize("name", KINDS)
def test_damaged_pictures_are_refused_with_a_reason(name: str, fuzz: int, tmp_path: Path) -> None:
    for number, damaged in enumerate(mutations(KINDS[name], max(2, fuzz // 20), seed=zlib.crc32(name.encode()))):
        data = restored(damaged) if number % 2 else damaged

        def work(data: bytes = data, suffix: str = (".png", ".tif", ".jpg", ".webp", ".bmp")[number % 5]) -> None:
            save_picture(open_picture(data, name), tmp_path / f"a{suffix}")

        attempt(lambda data=data: read_header(io.BytesIO(data), name), UnusableError)  # type: ignore[misc]
        attempt(lambda data=data: decode(data, name), UnusableError)  # type: ignore[misc]
        attempt(lambda data=data: decode_fitted(data, name, 16, 3, "crop"), UnusableError)  # type: ignore[misc]
        attempt(work, UnusableError)
