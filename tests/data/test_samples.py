"""One reader for both rooms: what training sees is what restoring reads, laid on white and rounded to 8 bits."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_samples import smooth
from picture_kinds import chunk, deep_png, encoded, heic, kinds
from PIL import Image, ImageCms

from calotype.data.decode import decode, read_header
from calotype.data.depth import bit_depth
from calotype.tasks.files import open_picture

KINDS = kinds()


@pytest.mark.parametrize("name", KINDS)
def test_training_sees_what_restoring_reads(name: str) -> None:
    data = KINDS[name]
    seen, read = np.asarray(decode(data, name)), open_picture(data, name)
    top, size = float(np.iinfo(read.pixels.dtype).max), read.size
    alpha = np.ones((*size, 1)) if read.alpha is None else read.alpha[..., None] / top
    expected = np.rint(np.rint(read.pixels * alpha + top * (1 - alpha)) / top * 255)
    assert np.abs(np.broadcast_to(expected, (*size, 3)) - seen.reshape(*size, -1)).max() == 0
    header = read_header(io.BytesIO(data), name)
    assert (header.height, header.width) == size
    if name != "P.gif":  # a palette may hold colors that are not used
        assert header.gray == (read.pixels.shape[2] == 1) or (seen.reshape(*size, -1) == seen.reshape(*size, -1)[..., :1]).all()


def test_the_table_holds_what_it_should() -> None:
    assert len(KINDS) > 110
    assert len({name.rpartition(".")[2] for name in KINDS}) == 17


def test_a_transparent_value_of_16_bits_is_white_to_training() -> None:
    samples = np.full((8, 8, 1), 40_000, np.uint16)
    samples[:4] = 0
    seen = np.asarray(decode(deep_png(samples, chunk(b"tRNS", struct.pack(">H", 0))), "a.png"))
    assert (seen[:4] == 255).all()
    assert (seen[4:] == round(40_000 / 257)).all()


@pytest.mark.parametrize(
    ("name", "bits", "note"),
    [
        ("1023.ppm", 16, ""),
        ("31.ppm", 8, ""),
        ("12 bits.tif", 16, ""),
        ("u2 3.tif", 16, ""),
        ("RGB.bmp", 8, ""),
        ("f4 3.tif", 16, "its values became 16 bits"),
    ],
)
def test_depth_is_that_of_the_file(name: str, bits: int, note: str) -> None:
    picture = open_picture(KINDS[name], name)
    assert picture.pixels.dtype == {8: np.uint8, 16: np.uint16}[bits]
    assert "".join(picture.notes) == note


def test_white_is_white_at_every_depth() -> None:
    for white, count in ((1023, 3), (31, 3), (1023, 1), (1, 1)):
        kind = ">u2" if white > 255 else "u1"
        data = f"P{6 if count == 3 else 5} 4 4 {white}\n".encode() + np.full(16 * count, white, kind).tobytes()
        picture = open_picture(data, "a.ppm")
        assert (picture.pixels == np.iinfo(picture.pixels.dtype).max).all()
        assert (np.asarray(decode(data, "a.ppm")) == 255).all()


def test_a_bitmap_of_16_bits_for_all_channels_has_8_or_fewer_for_each() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8), np.uint16)
    head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 16, 3, 128, 2835, 2835, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    data = struct.pack("<2sIHHI", b"BM", 14 + len(head) + 128, 0, 0, 14 + len(head)) + head + values[::-1].astype("<u2").tobytes()
    picture = open_picture(data, "a.bmp")
    assert picture.notes == ()
    assert np.abs(picture.pixels[..., 1] - (values >> 5 & 63) / 63 * 255).max() <= 1


def test_what_is_lost_of_the_depth_is_said() -> None:
    deep = Image.fromarray(np.full((16, 16), 65_535, np.uint16))
    assert not any("bits" in note for note in open_picture(encoded(deep, "JPEG2000"), "a.jp2").notes)
    data = bytearray(encoded(smooth(16, 16), "JPEG2000"))
    place = data.index(b"\xff\x4f\xff\x51") + 42
    data[place] = data[place + 3] = data[place + 6] = 11  # 12 bits a channel
    assert "only 8 of its 12 bits could be read" in open_picture(bytes(data), "a.jp2").notes
    avif = bytearray(encoded(smooth(16, 16), "AVIF"))
    assert open_picture(bytes(avif), "a.avif").notes == ()
    with Image.open(io.BytesIO(avif)) as image:
        avif[avif.index(b"av1C") + 6] |= 0x40  # which its decoder does not believe
        assert bit_depth(image, bytes(avif)) == 10


def test_ink_has_the_colors_of_its_profile() -> None:
    odd = ImageCms.createProfile("LAB")  # no profile of inks: not used
    image = smooth(16, 16).convert("CMYK")
    plain = encoded(image, "TIFF")
    broken = encoded(image, "TIFF", icc_profile=ImageCms.ImageCmsProfile(odd).tobytes())
    assert (np.asarray(decode(plain, "a.tif")) == np.asarray(decode(broken, "a.tif"))).all()
    assert open_picture(plain, "a.tif").notes == ("CMYK became RGB",)


@pytest.mark.parametrize("deep", [False, True])
def test_heic_of_8_and_10_bits(deep: bool) -> None:
    data = heic(deep)
    if data is None:
        pytest.skip("there is no encoder of HEIC")
    picture, ramp = open_picture(data, "a.heic"), np.linspace(0, 1, 64)[:, None]
    top = np.iinfo(picture.pixels.dtype).max
    assert (picture.format, top, picture.notes) == ("HEIF", 65_535 if deep else 255, ())
    assert (picture.pixels[:, -1] == top).all()
    assert np.abs(picture.pixels / top - ramp).max() < 0.01
    assert np.abs(np.asarray(decode(data, "a")) - 255 * ramp).max() < 3
    header = read_header(io.BytesIO(data), "a")
    assert (header.format, header.width, header.animated) == ("HEIF", 64, False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the largest memory in use")
@pytest.mark.parametrize("call", ["decode", "open_picture"])
def test_a_deep_picture_takes_little_more_than_its_own_bytes(tmp_path: Path, call: str) -> None:
    side = 5000
    Image.fromarray(np.broadcast_to(np.arange(side, dtype=np.uint16) * 13, (side, side)).copy()).save(tmp_path / "a.png", compress_level=1)
    code = f"""
import re, sys
from calotype.data.decode import decode
from calotype.tasks.files import open_picture
data = open(sys.argv[1], "rb").read()
peak = lambda: int(re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = peak()
kept = {call}(data, "a.png")
print(peak() - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, check=True, text=True).stdout)
    assert grown < 3 * 2 * side * side
