"""TIFF files of every depth, against a reader and writer that we did not write."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from picture_kinds import encoded, kinds, packed, plain_tiff
from PIL import Image

from calotype.data import tiff
from calotype.data.decode import UnusableError, decode, read_header
from calotype.tasks.files import open_picture

RNG = np.random.default_rng(0)
H, W = 37, 45


def samples(kind: str, count: int) -> NDArray[np.generic]:
    values = RNG.random((H, W, count)) if kind[0] == "f" else RNG.integers(0, 2**15 if kind[0] == "i" else 2**16, (H, W, count))
    return values.astype(kind)


def read(data: bytes) -> NDArray[np.generic]:
    found = tiff.layout(io.BytesIO(data))
    assert found is not None
    return tiff.rows(data, found)[1](0, found.size[1])


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_layout(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for planar, compression, predictor, order, big, tile in itertools.product(
        ("contig", "separate"), (None, "zlib"), (None, True), "<>", (False, True), (None, (16, 32))
    ):
        if (
            (predictor and (compression is None or kind[0] == "f" or kind == "u8"))
            or (big and order == ">")
            or (count == 1 and planar == "separate")
        ):
            continue
        values, stream = samples(kind, count), io.BytesIO()
        laid = values[..., 0] if count == 1 else values if planar == "contig" else values.transpose(2, 0, 1)
        tifffile.imwrite(
            stream,
            laid,
            photometric="minisblack" if count < 3 else "rgb",
            planarconfig=planar if count > 1 else None,
            extrasamples=["unassalpha"] if count in (2, 4) else None,
            compression=compression,
            predictor=predictor,
            byteorder=order,
            bigtiff=big,
            tile=tile,
            rowsperstrip=None if tile else 7,
        )
        np.testing.assert_array_equal(read(stream.getvalue()), values)
        with monkeypatch.context() as patch:
            patch.setattr(tiff, "_AT_ONCE", 1)
            np.testing.assert_array_equal(read(stream.getvalue()), values)
            found = tiff.layout(io.BytesIO(stream.getvalue()))
            assert found is not None
            assert found.tall == (16 if tile else 7)
            rows = tiff.rows(stream.getvalue(), found)[1]
            for first, last in ((0, 1), (5, 9), (13, 31), (30, H), (3, 4)):  # not only in their order
                np.testing.assert_array_equal(rows(first, last), values[first:last])


@pytest.mark.parametrize("bits", [2, 4, 6, 9, 10, 12, 14, 24])
@pytest.mark.parametrize("count", [1, 3])
def test_packed_samples(bits: int, count: int) -> None:
    values = RNG.integers(0, 2**bits, (H, W, count), np.uint32)
    data = plain_tiff(packed(values, bits), (W, H), bits, count)
    if (bits, count) not in ((2, 1), (4, 1)):  # which Pillow reads
        np.testing.assert_array_equal(read(data), values)
    if bits <= 16:
        top = 255 if bits < 8 else 65535
        np.testing.assert_array_equal(open_picture(data, "a.tif").pixels, np.rint(values * (top / (2**bits - 1))))


@pytest.mark.parametrize("count", [1, 3])
def test_differences_of_floating_point(count: int) -> None:
    """Predictor 3, written here as its note describes: bytes of equal weight together, the first ones first, then differences."""
    values = samples("f4", count).astype(np.float32)
    planes = values.astype(">f4").reshape(H, W * count, 1).view(np.uint8).transpose(0, 2, 1).reshape(H, -1, count)
    differences = np.diff(planes.astype(np.int16), axis=1, prepend=np.zeros((H, 1, count), np.int16)).astype(np.uint8)
    data = plain_tiff(zlib.compress(differences.tobytes()), (W, H), 32, count, kind=3, compression=8, predictor=3)
    np.testing.assert_array_equal(read(data), values)
    if count == 1:  # by libtiff
        plain = encoded(Image.fromarray(values[..., 0]), "TIFF", compression="tiff_deflate", tiffinfo={317: 3})
        np.testing.assert_array_equal(read(plain), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_8_bits(orientation: int) -> None:
    for form, shape in (("minisblack", (H, W)), ("rgb", (H, W, 3))):
        values, shown = RNG.integers(0, 256, shape, np.uint8), []
        for scaled in (values, values.astype(np.uint16) * 257):
            stream = io.BytesIO()
            tifffile.imwrite(stream, scaled, photometric=form, extratags=[(274, "H", 1, orientation, True)])
            shown.append(np.asarray(decode(stream.getvalue(), "a.tif")))
            header = read_header(io.BytesIO(stream.getvalue()), "a.tif")
            assert (header.height, header.width) == shown[-1].shape[:2]
        np.testing.assert_array_equal(*shown)


def test_pages_are_told() -> None:
    for count in (1, 3):
        for big in (False, True):
            stream = io.BytesIO()
            tifffile.imwrite(stream, RNG.integers(0, 65536, (count, H, W), np.uint16), photometric="minisblack", bigtiff=big)
            assert read_header(io.BytesIO(stream.getvalue()), "a.tif").animated is (count > 1)
            assert open_picture(stream.getvalue(), "a.tif").notes == (("only its first page was taken",) if count > 1 else ())


def test_premultiplied_colors_are_divided() -> None:
    color, alpha = RNG.integers(0, 65536, (H, W, 3), np.uint16), RNG.integers(20_000, 65536, (H, W, 1), np.uint16)
    laid = np.concatenate([np.rint(color * (alpha / 65535)).astype(np.uint16), alpha], 2)
    stream = io.BytesIO()
    tifffile.imwrite(stream, laid, photometric="rgb", extrasamples=["assocalpha"])
    picture = open_picture(stream.getvalue(), "a.tif")
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha[..., 0])
    np.testing.assert_allclose(picture.pixels, color, atol=2)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, 1.0, 7.0])
def test_one_value_everywhere_is_a_picture(value: float) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.full((H, W), value), photometric="minisblack")
    assert open_picture(stream.getvalue(), "a.tif").pixels.max() <= 65535


def test_values_without_a_range_are_refused() -> None:
    for values in ([np.nan, 1.0], [np.inf, 0.0], [-1.5e308, 1.5e308]):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.array([values] * 2), photometric="minisblack")
        with pytest.raises(UnusableError, match="not finite"):
            open_picture(stream.getvalue(), "a.tif")


def test_planes_that_would_be_misread_and_bands_that_are_no_colors_are_refused() -> None:
    inks, bands = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(inks, RNG.integers(0, 65536, (4, H, W), np.uint16), photometric="separated", planarconfig="separate")
    tifffile.imwrite(bands, RNG.integers(0, 65536, (H, W, 3), np.uint16), photometric="minisblack", planarconfig="contig")
    for stream, words in ((inks, "planes of more than 8 bits"), (bands, "3 channels of 16 bits")):
        for call in (decode, open_picture):
            with pytest.raises(UnusableError, match=f"TIFF of a kind that is not read: {words}"):
                call(stream.getvalue(), "a.tif")


def test_a_size_that_the_bytes_cannot_fill_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "make_room", lambda image: pytest.fail("took memory"))
    for packing, most in ((1, 1), (8, 1032), (32773, 64)):
        data = plain_tiff(bytes(1000), (7000, 7000), 16, 3, compression=packing)
        with pytest.raises(UnusableError, match="cut off"):
            open_picture(data, "a.tif")
        fitting = plain_tiff(bytes(1000), (1000 * most // 60, 10), 16, 3, compression=packing)
        with pytest.raises(pytest.fail.Exception, match="took memory"):
            read(fitting)


def test_a_large_picture_is_unpacked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them once, where bands of rows are asked for in their order, and never two at a time."""
    values, stream, sizes = samples("u2", 3), io.BytesIO(), list[int]()
    room = tiff.make_room

    def counted(image: Image.Image) -> None:
        sizes.append(image.width * image.height)
        room(image)

    monkeypatch.setattr(tiff, "make_room", counted)
    tifffile.imwrite(stream, values, photometric="rgb", compression="zlib", rowsperstrip=4)
    whole = open_picture(stream.getvalue(), "a.tif")
    assert sizes == [6 * W * H]
    sizes.clear()
    monkeypatch.setattr(tiff, "_AT_ONCE", 6 * W * 8)
    monkeypatch.setattr("calotype.data.opening._BAND", 3 * W)
    np.testing.assert_array_equal(open_picture(stream.getvalue(), "a.tif").pixels, whole.pixels)
    assert sizes == [6 * W * 8] * 4 + [6 * W * 5]


def test_the_limit_counts_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of four channels of 16 bits a pixel, tiles with what of them lies beyond the edges."""
    monkeypatch.setattr(tiff, "make_room", lambda image: pytest.fail("took memory"))
    deep, wide = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(deep, np.zeros((64, 64, 4)), photometric="rgb", extrasamples=["unassalpha"], compression="zlib")
    tifffile.imwrite(wide, np.zeros((64, 64), np.uint16), photometric="minisblack", compression="zlib", tile=(2048, 2048))
    for stream, size in ((deep, 131_072), (wide, 8_388_608)):
        for look in (lambda data: read_header(io.BytesIO(data), "a.tif", 4096), lambda data: open_picture(data, "a.tif", 4096)):
            with pytest.raises(UnusableError, match=f"64x64 pixels unpack to {size:,} bytes, more than the limit of 32,768: "):
                look(stream.getvalue())


def test_strips_without_number_are_not_listed() -> None:
    data = bytearray(plain_tiff(bytes(2000), (20, 20), 16, 1))
    place = data.index(struct.pack("<HH", 273, 4))
    struct.pack_into("<I", data, place + 4, 2**28)
    with pytest.raises(UnusableError, match="more than 1,048,576 strips or tiles"):
        open_picture(bytes(data), "a.tif")


def test_large_integers_keep_their_order() -> None:
    """Above 2^31, where a signed type turns them over."""
    values, stream = np.linspace(0, 2**32 - 1, H * W).astype(np.uint32).reshape(H, W), io.BytesIO()
    tifffile.imwrite(stream, values, photometric="minisblack")
    assert (np.diff(open_picture(stream.getvalue(), "a.tif").pixels.ravel().astype(int)) >= 0).all()


def test_limits_are_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    monkeypatch.setattr("calotype.data.opening.DENSE", 32)  # pixels alone are meant here
    for name, data in kinds().items():
        if name.endswith((".png", ".tif", ".jpg", ".bmp", ".ppm", ".jp2", ".avif")):
            assert open_picture(data, name, limit=400).size in ((16, 20), (20, 16))
            with pytest.raises(UnusableError, match="more than the limit of 319"):
                open_picture(data, name, limit=319)
