"""What a file says besides its pixels never costs the picture: it is kept, or it is said that it is not."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from calotype.data.decode import UnusableError, decode, read_header
from calotype.tasks.facts import chunks_of
from calotype.tasks.files import SUFFIXES, Picture, open_picture, save_picture
from tests.data.picture_kinds import chunk, deep_png, encoded

RNG = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS: NDArray[np.uint8] = RNG.integers(0, 256, (12, 10, 3), np.uint8)
GAMMA, SPACE = chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"cICP", bytes([9, 16, 0, 1]))
PRIMARIES = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)  # Display P3
OF_SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SHALLOW = Image.fromarray(PIXELS)
WRITTEN = [".png", ".jpg", ".tif", ".webp", ".avif", ".bmp"]


def with_chunks(*chunks: bytes, deep: bool = False) -> bytes:
    if deep:
        return deep_png(RNG.integers(0, 65536, (12, 10, 3), np.uint16), b"".join(chunks))
    data = encoded(SHALLOW, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("dpi", [(2.0**31 * 0.0254,) * 2, (30_000.0 * 4,) * 2, (1e9, 300.0), (1e30, 1e30)])
def test_a_resolution_that_a_format_cannot_hold_is_left_out(tmp_path: Path, suffix: str, dpi: tuple[float, float]) -> None:
    notes = save_picture(Picture(PIXELS, dpi=dpi), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as saved:
        assert saved.size == (10, 12)
        kept = saved.info.get("dpi")
    said = any("resolution" in note for note in notes)
    assert said or suffix in (".webp", ".avif") or kept == pytest.approx(dpi, rel=0.01)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_common_resolution_is_kept(tmp_path: Path, suffix: str, deep: bool) -> None:
    pixels = RNG.integers(0, 65536, (12, 10, 3), np.uint16) if deep else PIXELS
    notes = save_picture(Picture(pixels, dpi=(600, 300)), tmp_path / f"a{suffix}")
    assert not any("resolution" in note for note in notes)
    with Image.open(tmp_path / f"a{suffix}") as saved:
        assert saved.info["dpi"] == pytest.approx((600, 300), abs=0.1)


def test_resolutions_that_are_none_are_no_resolution(tmp_path: Path) -> None:
    tiff = TiffImagePlugin.ImageFileDirectory_v2()
    for rational in (TiffImagePlugin.IFDRational(0, 0), TiffImagePlugin.IFDRational(300, 0), TiffImagePlugin.IFDRational(0, 1)):
        for tag in (282, 283):
            tiff[tag] = rational
        picture = open_picture(encoded(SHALLOW, "TIFF", tiffinfo=tiff), "a.tif")
        assert picture.dpi is None
        save_picture(picture, tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("deep", [False, True])
def test_what_an_encoder_refuses_is_left_out_and_said(tmp_path: Path, suffix: str, deep: bool) -> None:
    class Refused(Image.Exif):
        def tobytes(self, *_: object, **__: object) -> bytes:
            raise struct.error("argument out of range")

    exif = Refused()
    exif[271] = "Maker" if suffix != ".tif" else object()  # which no type of TIFF holds
    pixels = RNG.integers(0, 65536, (12, 10, 3), np.uint16) if deep else PIXELS
    monkey = Picture(pixels, exif=exif, icc=SRGB, dpi=(300, 300))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calotype.tasks.files.sized", lambda exif, size: exif)
        notes = save_picture(monkey, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as saved:
        assert saved.size == (10, 12)
        assert (saved.info.get("icc_profile") == SRGB) is (suffix != ".bmp")
    assert any("EXIF data" in note for note in notes)


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("size", [100_000, 20_000_000])
def test_a_large_profile_does_not_cost_the_picture(tmp_path: Path, suffix: str, size: int) -> None:
    profile = SRGB + RNG.bytes(size)
    notes = save_picture(Picture(PIXELS, icc=profile), tmp_path / f"a{suffix}")
    again = open_picture((tmp_path / f"a{suffix}").read_bytes(), f"a{suffix}")
    assert again.size == (12, 10)
    assert again.icc == profile or any("color profile" in note or "besides its pixels" in note for note in (*notes, *again.notes))


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("deep", [False, True])
def test_large_texts_do_not_cost_the_picture(place: str, deep: bool) -> None:
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    data = with_chunks(text if place == "before" else b"", deep=deep)
    plain = with_chunks(deep=deep)
    if place == "after":
        data = data[:-12] + text + data[-12:]
    picture = open_picture(data, "a.png")
    assert picture.size == (12, 10)
    assert picture.notes == ("what it says besides its pixels is broken and was left out",)
    assert read_header(io.BytesIO(data), "a.png").size == "10x12"
    if not deep:
        assert (np.asarray(decode(data, "a.png")) == np.asarray(decode(plain, "a.png"))).all()
    with pytest.raises(UnusableError, match="cut off"):
        open_picture(data[:-20], "a.png")


def test_a_broken_profile_is_left_out_and_said(tmp_path: Path) -> None:
    for profile in (b"no profile", SRGB[:100], bytes(200)):
        picture = open_picture(encoded(SHALLOW, "JPEG", icc_profile=profile), "a.jpg")
        assert (picture.icc, picture.notes) == (b"", ("its color profile is broken and was left out",))
        for suffix in WRITTEN:
            save_picture(picture, tmp_path / f"a{suffix}", None)
    assert open_picture(encoded(SHALLOW, "JPEG", icc_profile=SRGB), "a.jpg").notes == ()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([GAMMA], "gamma of 1"),
        ([GAMMA, chunk(b"cHRM", PRIMARIES)], "gamma of 1 and primaries"),
        ([chunk(b"gAMA", struct.pack(">I", 45_455)), chunk(b"cHRM", OF_SRGB)], ""),
        ([chunk(b"sRGB", b"\0"), GAMMA], ""),
        ([SPACE], "color space"),
        ([chunk(b"cICP", bytes([1, 13, 0, 1]))], ""),
    ],
)
def test_what_colors_mean_is_kept_in_png_and_said_elsewhere(tmp_path: Path, deep: bool, chunks: list[bytes], words: str) -> None:
    picture = open_picture(with_chunks(*chunks, deep=deep), "a.png")
    assert picture.notes == ()
    assert save_picture(picture, tmp_path / "b.png") == ()
    again = open_picture((tmp_path / "b.png").read_bytes(), "b.png")
    assert set(again.chunks) == set(picture.chunks)
    assert len(again.chunks) == len(chunks)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    notes = [note for note in save_picture(picture, tmp_path / "b.tif") if "look different" in note]
    assert notes == ([f"its {words} cannot be written as TIFF, so that it will look different"] if words else [])
    with_profile = Picture(picture.pixels, icc=SRGB, chunks=chunks_of(with_chunks(GAMMA)))
    assert save_picture(with_profile, tmp_path / "c.tif") == ()  # which the profile overrules


def test_the_color_space_of_avif_is_said() -> None:
    data = bytearray(encoded(SHALLOW, "AVIF"))
    assert open_picture(bytes(data), "a.avif").notes == ()
    place = data.index(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", 9, 16)
    assert open_picture(bytes(data), "a.avif").notes == ("its color space (primaries 9, transfer 16 of H.273) was left out",)


def test_words_that_are_left_out_are_those_that_are_there() -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[33723], info[270] = b"\x1c\x02\x05\x00\x01a", "described"
    picture = open_picture(encoded(SHALLOW, "TIFF", tiffinfo=info), "a.tif")
    assert picture.notes == ("its IPTC data were left out",)
    assert picture.exif is not None
    assert picture.exif[270] == "described"
    jpeg, head = encoded(SHALLOW, "JPEG"), b"Photoshop 3.0\x008BIM"
    for code, words in ((0x0404, "IPTC data"), (0x0421, "Photoshop's data")):
        block = head + struct.pack(">HHI", code, 0, 4) + b"abcd"
        data = jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]
        assert open_picture(data, "a.jpg").notes == (f"its {words} were left out",)


def test_exif_data_that_break_cost_themselves_alone(tmp_path: Path) -> None:
    for broken in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(30), b"Exif\0\0"):
        for form, suffix in (("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")):
            picture = open_picture(encoded(SHALLOW, form, exif=broken), f"a{suffix}")
            for other in (".png", ".tif", ".jpg"):
                save_picture(picture, tmp_path / f"b{other}")


def test_every_suffix_is_written(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        save_picture(Picture(PIXELS), tmp_path / f"a{suffix}")
        assert open_picture((tmp_path / f"a{suffix}").read_bytes(), f"a{suffix}").size == (12, 10)


def test_a_deep_picture_says_what_its_bytes_say_whatever_its_order(tmp_path: Path) -> None:
    """EXIF data, profile and resolution of TIFF files that are shown to Pillow as something else."""
    exif = Image.Exif()
    exif[271], exif[34665] = "Maker", {33434: (1, 50)}
    samples = RNG.integers(0, 65536, (12, 10, 3), np.uint16)
    save_picture(Picture(samples, exif=exif, icc=SRGB, dpi=(300, 150)), tmp_path / "a.tif")
    picture = open_picture((tmp_path / "a.tif").read_bytes(), "a.tif")
    assert picture.exif is not None
    assert (picture.exif[271], picture.icc, picture.dpi, picture.notes) == ("Maker", SRGB, (300, 150), ())
    np.testing.assert_array_equal(picture.pixels, samples)
    assert io.BytesIO((tmp_path / "a.tif").read_bytes()).read(2) == b"II"
