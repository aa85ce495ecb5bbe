"""Files in, files out: nothing that a file says of its picture is lost unless it is said."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from calotype.data.decode import TooLargeError, UnusableError, decode
from calotype.errors import UserError
from calotype.tasks.files import Picture, open_picture, save_picture

RNG = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKER, EXIF, GPS = 274, 271, 34665, 34853


def random(*shape: int, deep: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    return RNG.integers(0, 65536, shape, np.uint16) if deep else RNG.integers(0, 256, shape, np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def facts(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "Maker"
    exif[EXIF], exif[GPS] = {33434: (1, 50), 40962: 999}, {1: "N", 2: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(samples: NDArray[np.uint16], extra: bytes = b"") -> bytes:
    """A PNG without filters, written here from the specification."""
    height, width, count = samples.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def undo_filters(data: bytes, width: int, count: int) -> NDArray[np.uint16]:
    """The samples of a 16-bit PNG, read here from the specification."""
    packed, place = b"", 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        packed += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    raw, step, size = zlib.decompress(packed), 2 * count, 2 * count * width
    rows = [bytearray(size)]
    for start in range(0, len(raw), size + 1):
        line, above = bytearray(raw[start + 1 : start + 1 + size]), rows[-1]
        assert raw[start] == 4
        for i in range(size):
            a, b, c = (line[i - step], above[i], above[i - step]) if i >= step else (0, above[i], 0)
            p = a + b - c
            line[i] = (line[i] + min((a, b, c), key=lambda v: abs(p - v))) & 255
        rows.append(line)
    return np.frombuffer(b"".join(bytes(row) for row in rows[1:]), ">u2").reshape(-1, width, count).astype(np.uint16)


def through(data: bytes, name: str, to: Path) -> tuple[Picture, Picture, tuple[str, ...]]:
    first = open_picture(data, name)
    notes = save_picture(first, to)
    return first, open_picture(to.read_bytes(), to.name), notes


def same(a: Picture, b: Picture) -> bool:
    def equal(x: NDArray[np.uint8] | None, y: NDArray[np.uint8] | None) -> bool:
        return (x is None and y is None) or (x is not None and y is not None and x.dtype == y.dtype and np.array_equal(x, y))

    return equal(a.pixels, b.pixels) and equal(a.alpha, b.alpha)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (1, True), (3, False), (3, True)])
@pytest.mark.parametrize("deep", [False, True])
def test_depth_channels_and_transparency_survive(tmp_path: Path, suffix: str, channels: int, alpha: bool, deep: bool) -> None:
    count = channels + alpha
    samples = random(70, 9, count, deep=deep)
    data = deep_png(samples) if deep else encoded(Image.fromarray(samples[..., 0] if count == 1 else samples), "PNG")
    first = open_picture(data, "a.png")
    np.testing.assert_array_equal(first.pixels, samples[..., :channels])
    assert first.pixels.dtype == samples.dtype
    assert save_picture(first, tmp_path / f"a{suffix}") == ()
    if suffix == ".tif":  # by a reader that we did not write
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif").reshape(samples.shape), samples)
    elif deep:
        np.testing.assert_array_equal(undo_filters((tmp_path / "a.png").read_bytes(), 9, count), samples)
    assert same(first, open_picture((tmp_path / f"a{suffix}").read_bytes(), f"a{suffix}"))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("count", [3, 4])
def test_deep_tiff_files_of_others_are_read_whole(options: dict[str, object], order: str, count: int) -> None:
    samples, stream = random(40, 50, count, deep=True), io.BytesIO()
    extra = {"extrasamples": ["unassalpha"]} if count == 4 else {}
    tifffile.imwrite(stream, samples, photometric="rgb", byteorder=order, **options, **extra)
    picture = open_picture(stream.getvalue(), "a.tif")
    np.testing.assert_array_equal(picture.pixels, samples[..., :3])
    assert picture.notes == ()


def test_separate_planes_of_16_bits_are_put_together() -> None:
    stream, samples = io.BytesIO(), random(3, 40, 50, deep=True)
    tifffile.imwrite(stream, samples, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_picture(stream.getvalue(), "a.tif").pixels, samples.transpose(1, 2, 0))


def test_a_transparent_color_of_16_bits_becomes_transparency() -> None:
    samples = random(6, 5, 3, deep=True)
    samples[2, 3] = (1, 2, 3)
    samples[4, 1] = (257, 2, 3)  # the same but for an upper byte
    picture = open_picture(deep_png(samples, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))), "a.png")
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3]]


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("AVIF", ".avif")])
def test_orientation_is_applied_and_facts_are_kept(tmp_path: Path, kind: str, suffix: str) -> None:
    ramp = np.zeros((16, 32, 3), np.uint8)
    ramp[:8, :16] = 255  # white in the upper left, which a turn by a quarter brings to the upper right
    data = encoded(Image.fromarray(ramp), kind, exif=facts(6), icc_profile=SRGB, **({"dpi": (300, 300)} if suffix != ".webp" else {}))
    first, second, notes = through(data, f"a{suffix}", tmp_path / f"b{suffix}")
    assert notes == first.notes == ()
    assert second.size == (32, 16)
    assert second.pixels[:14, 10:].min() > 200
    assert second.pixels[18:].max() < 50
    saved = Image.open(tmp_path / f"b{suffix}")
    assert saved.size == (16, 32)
    assert saved.getexif().get(ORIENTATION) in (None, 1)
    assert saved.getexif()[MAKER] == "Maker"
    assert saved.getexif().get_ifd(GPS)[1] == "N"
    assert saved.getexif().get_ifd(EXIF)[40962] == 16
    assert saved.info["icc_profile"] == SRGB
    if suffix in (".png", ".jpg", ".tif"):
        assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_facts_of_deep_files_are_kept(tmp_path: Path) -> None:
    first = open_picture(deep_png(random(9, 8, 3, deep=True), chunk(b"eXIf", facts(1).removeprefix(b"Exif\0\0"))), "a.png")
    for suffix in (".png", ".tif"):
        save_picture(Picture(first.pixels, exif=first.exif, icc=SRGB, dpi=(150, 150)), tmp_path / f"a{suffix}")
        saved = Image.open(tmp_path / f"a{suffix}")
        assert saved.getexif()[MAKER] == "Maker"
        assert saved.getexif().get_ifd(GPS)[2] == (1.0, 2.0, 3.0)
        assert saved.info["icc_profile"] == SRGB
        assert saved.info["dpi"] == pytest.approx((150, 150), abs=0.02)


@pytest.mark.parametrize(
    ("image", "options", "shape", "alpha"),
    [
        (Image.fromarray(random(5, 7, 3)).convert("P", palette=Image.Palette.ADAPTIVE), {}, (5, 7, 3), False),
        (Image.fromarray(random(5, 7, 3)).convert("P", palette=Image.Palette.ADAPTIVE), {"transparency": 3}, (5, 7, 3), True),
        (Image.fromarray(random(5, 7)).convert("P"), {}, (5, 7, 1), False),
        (Image.fromarray(random(5, 7)).convert("1"), {}, (5, 7, 1), False),
        (Image.fromarray(random(5, 7, 2)), {}, (5, 7, 1), True),
    ],
)
def test_modes(tmp_path: Path, image: Image.Image, options: dict[str, int], shape: tuple[int, ...], alpha: bool) -> None:
    first, second, notes = through(encoded(image, "PNG", **options), "a.png", tmp_path / "b.png")
    assert (first.pixels.shape, first.alpha is not None, notes) == (shape, alpha, ())
    assert same(first, second)
    shown = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(np.broadcast_to(first.pixels, (5, 7, 3)), shown[..., :3])


def test_what_cannot_be_kept_is_said(tmp_path: Path) -> None:
    deep = Picture(random(20, 20, 3, deep=True), random(20, 20, deep=True), icc=SRGB)
    assert save_picture(deep, tmp_path / "a.jpg") == ("JPEG holds no transparency: laid on white", "JPEG holds 8 of its 16 bits")
    assert save_picture(deep, tmp_path / "a.webp") == ("WEBP holds 8 of its 16 bits",)
    assert "no color profile" in save_picture(deep, tmp_path / "a.bmp")[-1]
    gray = Picture(random(20, 20, 1), icc=SRGB)
    assert "color profile does not fit" in save_picture(gray, tmp_path / "g.png")[0]
    cmyk = open_picture(encoded(Image.fromarray(random(8, 8, 3)).convert("CMYK"), "JPEG"), "a.jpg")
    assert cmyk.notes == ("CMYK became RGB",)
    assert cmyk.pixels.shape == (8, 8, 3)
    frames = encoded(Image.new("L", (8, 8)), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    assert open_picture(frames, "a.gif").notes == ("only its first frame was taken",)
    floating = open_picture(encoded(Image.fromarray(RNG.random((5, 7), np.float32)), "TIFF"), "a.tif")
    assert (floating.pixels.dtype, len(floating.notes)) == (np.uint16, 1)


def test_laid_on_white_means_white_where_it_was_transparent(tmp_path: Path) -> None:
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:8] = 255
    save_picture(Picture(np.zeros((16, 16, 3), np.uint8), alpha), tmp_path / "a.jpg")
    found = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert found[:7].max() < 30
    assert found[9:].min() > 225


def test_quality_and_formats(tmp_path: Path) -> None:
    picture = Picture(random(64, 64, 3))
    save_picture(picture, tmp_path / "high.jpg")
    save_picture(picture, tmp_path / "low.jpg", quality=20)
    assert (tmp_path / "low.jpg").stat().st_size < 0.5 * (tmp_path / "high.jpg").stat().st_size
    with pytest.raises(UserError, match=r"cannot write \.xyz: choose one of \.png"):
        save_picture(picture, tmp_path / "a.xyz")
    with pytest.raises(UnusableError, match="WEBP cannot hold 20000x2 pixels"):
        save_picture(Picture(np.zeros((2, 20_000, 1), np.uint8)), tmp_path / "wide.webp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["high.jpg", "low.jpg"]


def test_what_a_format_cannot_hold_is_told_before_and_other_facts_are_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[MAKER], exif[37500] = "Maker", b"x" * 70_000
    picture = Picture(random(20, 20, 3), exif=exif)
    assert save_picture(picture, tmp_path / "a.jpg") == ("JPEG could not hold its EXIF data: left out",)
    assert not Image.open(tmp_path / "a.jpg").getexif()
    assert save_picture(picture, tmp_path / "a.png") == ()
    assert Image.open(tmp_path / "a.png").getexif()[MAKER] == "Maker"
    exif[37500] = b"x" * 60_000
    assert save_picture(picture, tmp_path / "b.jpg") == ()
    wide = Picture(np.zeros((1, 65_501, 1), np.uint8))
    with pytest.raises(UnusableError, match="JPEG cannot hold 65501x1 pixels, but 65,500 a side: give another suffix"):
        save_picture(wide, tmp_path / "wide.jpg")
    save_picture(Picture(wide.pixels[:, :-1]), tmp_path / "b.jpg")
    save_picture(wide, tmp_path / "wide.png")
    with pytest.raises(UnusableError, match="AVIF cannot hold 65537x1"):
        save_picture(Picture(np.zeros((1, 65_537, 1), np.uint8)), tmp_path / "wide.avif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "b.jpg", "wide.png"]


@pytest.mark.parametrize("error", [OSError("encoder error -2"), RuntimeError("Failed to encode image"), ValueError("no")])
def test_errors_of_an_encoder_are_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(UnusableError, match=f"WEBP cannot hold it: {error}"):
        save_picture(Picture(random(8, 8, 3)), tmp_path / "a.webp")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        save_picture(Picture(random(8, 8, 3)), tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


def test_words_that_are_not_taken_over_are_told() -> None:
    image, xmp = Image.fromarray(random(8, 8, 3)), b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    for kind in ("JPEG", "WEBP", "AVIF"):
        assert open_picture(encoded(image, kind, xmp=xmp), "a").notes == ()  # it says nothing
        assert open_picture(encoded(image, kind, xmp=xmp[:-3]), "a").notes == ("its XMP data are broken and were left out",)
        assert open_picture(encoded(image, kind), "a").notes == ()
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode()[:-3])
    texts.add_text("Title", "a")
    broken = "its XMP data are broken and were left out"
    assert open_picture(encoded(image, "PNG", pnginfo=texts), "a.png").notes == ("its texts were left out", broken)
    assert open_picture(encoded(image, "JPEG", comment=b"a"), "a.jpg").notes == ("its comments were left out",)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_white_where_a_file_says_that_it_is_zero(compression: str | None) -> None:
    samples = random(9, 8, deep=True)
    for photometric, expected in (("miniswhite", 65535 - samples), ("minisblack", samples)):
        stream = io.BytesIO()
        tifffile.imwrite(stream, samples, photometric=photometric, compression=compression)
        np.testing.assert_array_equal(open_picture(stream.getvalue(), "a.tif").pixels[..., 0], expected)
        np.testing.assert_allclose(np.asarray(decode(stream.getvalue(), "a.tif")), expected / 257, atol=0.5)


def test_the_limit_of_pixels_is_the_callers() -> None:
    data = encoded(Image.new("L", (40, 30)), "PNG")
    assert open_picture(data, "a.png", limit=1200).size == (30, 40)
    with pytest.raises(TooLargeError, match="40x30 pixels are more than the limit of 1,199: scale it down first"):
        open_picture(data, "a.png", limit=1199)
