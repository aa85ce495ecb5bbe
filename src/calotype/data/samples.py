"""Pixels and transparency of a picture in a file, of any format, mode and depth: the one reader for training and for restoring.

What becomes of the modes: palettes become gray or color, CMYK color (by the file's own profile, where it has one), LAB, YCbCr and others
too; a transparent color becomes transparency. Depths above 8 bits become 16, so that white is 65,535: a white that the file states is
believed; 32-bit integers are divided by 65,535 where they lie in 0..65535, else the image's own range is stretched; floating point in
[0, 1] is taken as it is, in [0, 255] divided by 255, and any other range stretched. Of an animation the first frame counts; an
orientation is applied.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from calotype.data import tiff
from calotype.data.complete import check_complete, essential
from calotype.data.depth import bit_depth, words_of
from calotype.data.netpbm import netpbm
from calotype.data.opening import MAX_PIXELS, bands, check_deep, loaded, opened
from calotype.data.reading import UnusableError

Samples = NDArray[Any]

_GRAY = {"1", "L", "LA", "La"}


@dataclass(frozen=True)
class Content:
    """What a file shows."""

    pixels: Samples  # (H, W, C) uint8 or uint16 with one channel or three
    alpha: Samples | None  # (H, W) of the same type: 0 where the picture is transparent
    image: Image.Image  # as Pillow knows it, for what the file says besides; its pixels may not be decoded
    notes: tuple[str, ...] = ()  # what could not be taken over


def read(data: bytes, name: str, limit: int = MAX_PIXELS) -> Content:
    """The picture in a file, of ``limit`` pixels at most. Raises ``UnusableError``, and whatever a decoder does: see `reading`."""
    if found := tiff.layout(io.BytesIO(data)):
        return _from_tiff(data, found, limit)
    try:
        return read_opened(opened(io.BytesIO(data), name, limit), data, name, limit)
    except Exception:
        bare = essential(data)
        if bare is None or bare == data:
            raise
        with suppress(Exception):  # the first one says more
            content = read_opened(opened(io.BytesIO(bare), name, limit), bare, name, limit)
            return replace(content, notes=(*content.notes, "what it says besides its pixels is broken and was left out"))
        raise


def is_deep(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether an image that is open has more than the 8 bits that Pillow would give."""
    return bit_depth(image, data) > 8 or (image.format == "PPM" and netpbm(data) is not None)


def read_opened(image: ImageFile.ImageFile, data: bytes, name: str, limit: int) -> Content:
    """Go on as `read` does with an image that is open."""
    check_complete(data)
    bits = bit_depth(image, data)
    if image.format == "PPM" and (plain := netpbm(data)):
        values = plain.values(data)
        return Content(_scaled(lambda top, bottom: values[top:bottom], values.shape, plain.white), None, image)
    if image.format == "HEIF" and bits > 8:
        return _from_heif(image, data, bits)
    words = words_of(image)
    if bits > 8 and image.format == "PNG" and words and words[0] in ("RGB;16B", "RGBA;16B", "LA;16B"):
        return _from_png(image, data, name, words[0], limit)
    upright = loaded(image, limit)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return _from_gray(upright, bits)
    return _from_8bit(upright, [f"only 8 of its {bits} bits could be read"] if bits > 8 else [])


def _from_8bit(image: Image.Image, notes: list[str]) -> Content:
    """A loaded image of 8 bits."""
    size, pixels, said = (image.height, image.width), np.empty((0, 0, 0), np.uint8), list[str]()
    alpha = np.empty(size, np.uint8) if image.has_transparency_data else None
    for top, bottom in bands(*image.size):
        flat, mask, said = layers(image.crop((0, top, image.width, bottom)))
        if not top:
            pixels = np.empty((*size, len(flat.getbands())), np.uint8)
        pixels[top:bottom] = np.asarray(flat).reshape(bottom - top, image.width, -1)
        if alpha is not None:
            alpha[top:bottom] = np.asarray(mask)
    if image.mode == "P" and pixels.shape[2] == 3 and all((pixels[a:b] == pixels[a:b, :, :1]).all() for a, b in bands(*image.size)):
        pixels = pixels[..., :1]
    return Content(pixels, alpha, _let_go(image), (*said, *notes))


def layers(image: Image.Image) -> tuple[Image.Image, Image.Image | None, list[str]]:
    """Pixels (mode L or RGB) and transparency (mode L) of an image of 8 bits, and what there is to say."""
    mode, gray = image.mode, image.mode in _GRAY
    if image.has_transparency_data:
        layered = image.convert("LA" if gray else "RGBA")
        return layered.convert("L" if gray else "RGB"), layered.getchannel("A"), []
    if mode == "LAB":
        return _from_lab(image), None, []
    if mode == "CMYK":
        return _from_cmyk(image), None, ["CMYK became RGB"]
    target = "L" if gray else "RGB"
    return image if mode == target else image.convert(target), None, []


def on_white(pixels: Samples, alpha: Samples) -> Samples:
    """(H, W, C) uint8 or uint16 laid on white, as a page would show it."""
    out, top = np.empty_like(pixels), np.float32(np.iinfo(pixels.dtype).max)
    for first, last in bands(pixels.shape[1], len(pixels)):
        share = alpha[first:last, :, None] / top
        out[first:last] = np.rint(pixels[first:last] * share + top * (1 - share))
    return out


def to_8bit(values: Samples) -> NDArray[np.uint8]:
    """uint16 divided by 257 and rounded; uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    out = np.empty(values.shape, np.uint8)
    for first, last in bands(values.shape[1], len(values)):
        out[first:last] = (values[first:last].astype(np.uint32) + 128) // 257
    return out


def _scaled(rows: tiff.ReadRows, shape: tuple[int, ...], white: int | None) -> Samples:
    """(H, W, S) uint16 from samples of any type (uint8 where white is below 256), by bands.

    ``white`` is what the file states; without it, the range decides. Raises ``UnusableError`` for values that are not finite.
    """
    low, high = (0.0, float(white)) if white else _range(rows, shape)
    out = np.empty(shape, np.uint8 if white and white < 256 else np.uint16)
    top = np.iinfo(out.dtype).max
    for first, last in bands(shape[1], shape[0]):
        part = rows(first, last)
        out[first:last] = part if (low, high) == (0, top) else np.rint((part.astype(np.float64) - low) * (top / (high - low)))
    return out


def _range(rows: tiff.ReadRows, shape: tuple[int, ...]) -> tuple[float, float]:
    """Black and white of samples that say nothing of them."""
    low, high, whole = np.inf, -np.inf, True
    for first, last in bands(shape[1], shape[0]):
        part = rows(first, last)
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise UnusableError("holds values that are not finite")
        low, high, whole = min(low, float(part.min())), max(high, float(part.max())), part.dtype.kind in "iu"
    if low >= 0 and whole and high <= 65535:
        return 0, 65535
    if low >= 0 and not whole and high <= 1:
        return 0, 1
    if low >= 0 and high <= 255:
        return 0, 255
    if not np.isfinite(high - low):
        raise UnusableError("holds values whose range is not finite")
    return low, max(high, low + 1e-300 + abs(low) * 1e-12)


def _from_gray(image: Image.Image, bits: int) -> Content:
    """A loaded image of mode I, F or one of those of 16 bits."""

    def rows(top: int, bottom: int) -> Samples:
        return np.asarray(image.crop((0, top, image.width, bottom)))[..., None]

    deep = image.mode.startswith("I;16")
    shape = (image.height, image.width, 1)
    pixels = _scaled(rows, shape, 65535 if deep else None)
    key = _let_go(image).info.get("transparency")
    alpha = _where(pixels, (key,)) if deep and isinstance(key, int) else None
    if deep and bits < 16:  # moved up, so that white lies below 65,535
        pixels = _scaled(lambda top, bottom: pixels[top:bottom] >> (16 - bits), shape, 2**bits - 1)
    return Content(pixels, alpha, image, () if deep else ("its values became 16 bits",))


def _where(pixels: Samples, key: tuple[int, ...]) -> Samples:
    """Transparency by a transparent color."""
    alpha = np.empty(pixels.shape[:2], np.uint16)
    for first, last in bands(pixels.shape[1], len(pixels)):
        alpha[first:last] = np.where((pixels[first:last] == np.array(key)).all(2), 0, 65535)
    return alpha


def _from_png(image: ImageFile.ImageFile, data: bytes, name: str, word: str, limit: int) -> Content:
    """Several channels of 16 bits, of which Pillow keeps one byte: that which the raw mode names. Asked for each, it gives both.

    Gray with transparency it shows as color: there, the four bytes of a pixel are taken as they are.
    """
    other = opened(io.BytesIO(data), name, limit)
    if word == "LA;16B":
        _tell(image, "RGBA")
    upper = loaded(image, limit)
    key = upper.info.get("transparency")
    pixels = np.empty((upper.height, upper.width, 2 if word == "LA;16B" else len(upper.getbands())), np.uint16)
    for top, bottom in bands(upper.width, upper.height):
        part = np.asarray(upper.crop((0, top, upper.width, bottom)))
        if word == "LA;16B":
            pixels[top:bottom] = np.ascontiguousarray(part).view(">u2")
        else:
            np.left_shift(part, 8, out=pixels[top:bottom], dtype=np.uint16)
    if word != "LA;16B":
        _let_go(upper)
        _tell(other, word[:-1] + "L")
        lower = loaded(other, limit)
        for top, bottom in bands(lower.width, lower.height):
            pixels[top:bottom] |= np.asarray(lower.crop((0, top, lower.width, bottom)))
        _let_go(lower)
    if pixels.shape[2] in (2, 4):
        return Content(pixels[..., :-1], pixels[..., -1], upper)
    return Content(pixels, _where(pixels, key) if isinstance(key, tuple) else None, upper)


def _let_go(image: Image.Image) -> Image.Image:
    """An image with one pixel instead of its own, whose memory is wanted."""
    image.im = Image.new(image.mode, (1, 1)).im
    return image


def _tell(image: ImageFile.ImageFile, word: str) -> None:
    """Name another raw mode to the decoder of a PNG file."""
    image.tile = [tile._replace(args=word) for tile in image.tile]


def _from_tiff(data: bytes, found: tiff.Layout, limit: int) -> Content:
    check_deep(found, limit)
    image, rows = tiff.rows(data, found)
    shape = (found.size[1], found.size[0], found.colors)
    stated = found.kind == "u" and found.bits <= 16
    white = 2**found.bits - 1 if stated else None
    pixels = _scaled(lambda top, bottom: rows(top, bottom)[..., : found.colors], shape, white)
    alpha = None
    if found.alpha:
        full = white or (1 if found.kind == "f" else 2 ** (found.bits - (found.kind == "i")) - 1)
        place = slice(found.colors, found.colors + 1)
        alpha = _scaled(lambda top, bottom: np.nan_to_num(rows(top, bottom)[..., place]).clip(0, full), (*shape[:2], 1), full)[..., 0]
        if found.alpha == 1:
            pixels = _unmultiplied(pixels, alpha)
    _let_go(image).info["xmp"] = tiff.packet(data)  # only now: Pillow would turn the pixels by an orientation in it
    if found.inverted:
        np.invert(pixels, out=pixels)
    notes = () if stated else ("its values became 16 bits",)
    return Content(tiff.upright(pixels, found.orientation), None if alpha is None else tiff.upright(alpha, found.orientation), image, notes)


def _unmultiplied(pixels: Samples, alpha: Samples) -> Samples:
    out, top = np.empty_like(pixels), np.iinfo(pixels.dtype).max
    for first, last in bands(pixels.shape[1], len(pixels)):
        share = np.maximum(alpha[first:last, :, None], 1) / top
        out[first:last] = np.rint(np.minimum(pixels[first:last] / share, top))
    return out


def _from_heif(image: Image.Image, data: bytes, bits: int) -> Content:
    """10 or 12 bits, which the plugin gives where it is asked itself."""
    from pillow_heif import HeifFile

    file = HeifFile(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)  # type: ignore[no-untyped-call]
    values = np.asarray(file)
    values = values.reshape(*values.shape[:2], -1)
    pixels = _scaled(lambda top, bottom: values[top:bottom], values.shape, 2**bits - 1)
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    return Content(pixels if alpha is None else pixels[..., :-1], alpha, image)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    return _by_profile(image, ImageCms.createProfile("LAB"))


def _from_cmyk(image: Image.Image) -> Image.Image:
    if profile := image.info.get("icc_profile"):
        with suppress(Exception):  # a broken profile, or a Pillow without color management
            from PIL import ImageCms

            return _by_profile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    return image.convert("RGB")


def _by_profile(image: Image.Image, own: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if converted is None:
        raise UnusableError(f"mode {image.mode} cannot be converted")
    return converted
