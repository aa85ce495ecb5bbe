import io
import warnings

import numpy as np
import pytest
from data_samples import bomb, encode, hostile_files, smooth
from PIL import Image

from calotype.data.decode import UnusableError, decode, decode_fitted, read_header
from calotype.data.fit import fit_image

FILES = hostile_files()
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own; whole sources are read without it


def pixels(data: bytes, name: str = "x") -> np.ndarray:
    return np.asarray(decode(data, name)).astype(int)


def test_plain_modes_keep_their_pixels() -> None:
    color = smooth()
    assert (pixels(encode(color, "PNG")) == np.asarray(color)).all()
    assert (pixels(encode(color.convert("L"), "PNG")) == np.asarray(color.convert("L"))).all()
    assert (pixels(encode(color.convert("1"), "PNG")) == np.asarray(color.convert("1").convert("L"))).all()


def test_transparency_becomes_white() -> None:
    layered = Image.new("RGBA", (10, 10), (200, 0, 0, 255))
    layered.putpixel((0, 0), (200, 0, 0, 0))
    layered.putpixel((1, 0), (200, 0, 0, 128))
    image = pixels(encode(layered, "PNG"))
    assert image[0, 0].tolist() == [255, 255, 255]
    assert abs(image[0, 1] - [227, 127, 127]).max() <= 1
    assert image[5, 5].tolist() == [200, 0, 0]
    gray = pixels(encode(layered.convert("LA"), "PNG"))
    assert gray.ndim == 2
    assert gray[0, 0] == 255
    assert gray[5, 5] == 60


def test_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 255, 0, 128, 0])
    image.putpixel((2, 1), 0)
    out = pixels(encode(image, "PNG", transparency=0))
    assert out[1, 2].tolist() == [255, 255, 255]
    assert out[0, 0].tolist() == [0, 128, 0]
    assert pixels(encode(image, "PNG"))[1, 2].tolist() == [0, 0, 255]


def test_gray_with_a_transparent_level() -> None:
    image = Image.new("L", (4, 4), 30)
    image.putpixel((0, 0), 7)
    out = pixels(encode(image, "PNG", transparency=7))
    assert out[0, 0] == 255
    assert out[1, 1] == 30


@pytest.mark.parametrize("name", ["sixteen.png", "integers.tif", "floating.tif"])
def test_deep_images_are_scaled_not_clipped(name: str) -> None:
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40)
    assert np.abs(pixels(FILES[name]) - ramp / 257).max() <= 0.51 + 1 / 257


def test_ranges_that_say_nothing_of_white_are_stretched() -> None:
    ramp = np.linspace(-3, 9, 64).reshape(8, 8).astype(np.float32)
    out = pixels(encode(Image.fromarray(ramp), "TIFF"))
    assert (out.min(), out.max()) == (0, 255)
    out = pixels(encode(Image.fromarray((ramp * 1e6).astype(np.int32)), "TIFF"))
    assert (out.min(), out.max()) == (0, 255)
    levels = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert (pixels(encode(Image.fromarray(levels), "TIFF")) == levels).all()


def test_cmyk_keeps_its_colors() -> None:
    red = Image.new("RGB", (16, 16), (250, 20, 20))
    assert np.abs(pixels(encode(red.convert("CMYK"), "JPEG", quality=95)) - [250, 20, 20]).max() < 8


def test_orientation_is_applied() -> None:
    image = smooth(30, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = pixels(encode(image, "JPEG")), pixels(encode(image, "JPEG", exif=exif))
    assert turned.shape == (30, 20, 3)
    assert (turned == np.rot90(plain, -1)).all()


def test_broken_exif_does_not_cost_the_image() -> None:
    data = encode(smooth(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f garbage")
    assert pixels(data).shape == (40, 40, 3)


def test_first_frame_of_an_animation() -> None:
    with Image.open(io.BytesIO(FILES["moving.gif"])) as animation:
        first = np.asarray(animation.convert("RGB"))
        animation.seek(1)
        second = np.asarray(animation.convert("RGB"))
    assert (pixels(FILES["moving.gif"]) == first).all()
    assert (first != second).any()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad/truncated.jpg", "cut off"),
        ("bad/filled-with-zeros.jpg", "cut off"),
        ("bad/half.png", "cut off"),
        ("bad/one-bit.png", "checksum"),
        ("bad/empty.png", "empty"),
        ("bad/text.png", "not an image"),
        ("bad/bomb.png", "limit of 67,108,864"),
        ("bad/smaller-bomb.png", "limit of 67,108,864"),
        ("bad/nan.tif", "not finite"),
        ("bad/header-only.gif", "header"),
    ],
)
def test_unusable_files_say_why(name: str, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnusableError, match=reason):
            decode(FILES[name], name)


def test_just_under_the_limit_is_no_bomb() -> None:
    assert read_header(io.BytesIO(bomb(8192, 8192)), "x").width == 8192


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("JPEG", "L", {"restart_marker_blocks": 2}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "L", {"compression": "tiff_deflate"}),
        ("PPM", "RGB", {}),
        ("ICO", "RGBA", {}),
    ],
)
def test_no_file_is_ever_half_read(kind: str, mode: str, options: dict[str, object]) -> None:
    data = encode(smooth(64, 64).convert(mode), kind, **options)
    whole = pixels(data)
    refused = 0
    for part in range(1, 40):
        cut = data[: len(data) * part // 40]
        try:
            assert (pixels(cut) == whole).all()
        except UnusableError:
            refused += 1
    assert refused >= 35


@pytest.mark.parametrize("size", [8, 20, 33])
@pytest.mark.parametrize("shape", [(40, 40), (61, 17), (17, 61), (1, 1), (300, 2)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_shape_fits(size: int, shape: tuple[int, int], fit: str) -> None:
    image = fit_image(smooth(*shape), size, fit)  # type: ignore[arg-type]
    assert image.size == (size, size)


def test_what_the_fits_keep() -> None:
    wide = Image.new("L", (60, 20), 255)
    wide.paste(0, (0, 0, 20, 20))  # black left third
    crop, pad, stretch = (np.asarray(fit_image(wide, 20, fit)).astype(int) for fit in ("crop", "pad", "stretch"))
    assert (crop == 255).all()
    assert pad[:6].max() == 0
    assert pad[9, -3] > 250
    assert pad[-6:].max() == 0
    assert stretch[:, :5].max() < 40
    assert stretch[:, 9:].min() > 215


def test_shrinking_is_antialiased() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (128, 64)))
    small = np.asarray(fit_image(stripes, 16, "crop")).astype(int)
    assert np.abs(small - 127.5).max() < 8


def test_large_jpeg_shrinks_as_a_png_does() -> None:
    image = smooth(700, 500)
    jpeg = decode_fitted(encode(image, "JPEG", quality=95), "x", 32, 3, "crop").astype(int)
    png = decode_fitted(encode(image, "PNG"), "x", 32, 3, "crop").astype(int)
    assert np.abs(jpeg - png).max() < 12


def test_channels_on_request() -> None:
    gray = decode_fitted(encode(smooth(), "PNG"), "x", 16, 1, "crop")
    color = decode_fitted(encode(smooth().convert("L"), "PNG"), "x", 16, 3, "crop")
    assert gray.shape == (16, 16, 1)
    assert (color[..., 0] == color[..., 1]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_header_knows_the_upright_size(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth(30, 20), kind, exif=exif)
    header = read_header(io.BytesIO(data), "x")
    assert (header.width, header.height) == decode(data, "x").size == ((20, 30) if orientation > 4 else (30, 20))


@pytest.mark.parametrize(
    ("image", "gray"),
    [
        (smooth(), False),
        (smooth().convert("L"), True),
        (smooth().convert("LA"), True),
        (smooth().convert("1"), True),
        (smooth().convert("P"), False),
        (smooth().convert("L").convert("P"), True),
    ],
)
def test_header_knows_gray(image: Image.Image, gray: bool) -> None:
    assert read_header(io.BytesIO(encode(image, "PNG")), "x").gray is gray
