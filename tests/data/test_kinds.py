"""Pictures of kinds that are not read are named, whatever they are called; all others are left to their readers."""

import io

import pytest
from data_samples import encode, smooth

from calotype.data import kinds
from calotype.data.decode import UnusableError, decode, read_header
from calotype.data.kinds import looks_like_image, unread_kind
from calotype.tasks.files import open_picture

HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf"
RAW = b"II*\x00\x08\0\0\0\x0c\0\xfe\0"  # as TIFF files begin


@pytest.mark.parametrize(
    ("start", "suffix", "words"),
    [
        (b"\xff\x0a\xfa\x1f", ".jpg", "JPEG XL, which is not read"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "", "JPEG XL"),
        (b"8BPS\0\1", ".psd", "PSD"),
        (b'<?xml version="1.0"?>\n<svg xmlns', ".xml", "SVG"),
        (b"II*\0\x10\0\0\0CR\2\0", ".tif", "a camera's raw picture"),
        (RAW, ".nef", "a camera's raw picture"),
        (b"who knows", ".heic", "HEIC, which needs pip install"),
        (HEIC, ".jpg", "HEIC, which needs pip install"),
        (b"", ".svgz", "SVG"),
    ],
)
def test_what_is_not_read_is_named(monkeypatch: pytest.MonkeyPatch, start: bytes, suffix: str, words: str) -> None:
    monkeypatch.setattr(kinds, "reads_heif", lambda: False)
    assert (unread_kind(start, suffix) or "").startswith(words)
    assert not looks_like_image(start) or start[:4] == RAW[:4]
    for read in (decode, open_picture, lambda data, name: read_header(io.BytesIO(data), name)):
        with pytest.raises(UnusableError, match=words if start else "empty"):
            read(start, f"a{suffix}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "QOI", "JPEG2000"])
@pytest.mark.parametrize("suffix", ["", ".png", ".heic", ".psd"])
def test_what_is_read_is_not(kind: str, suffix: str) -> None:
    data = encode(smooth(), kind)
    assert looks_like_image(data[: kinds.HEAD])
    assert unread_kind(data[: kinds.HEAD], suffix) is None
    assert decode(data, f"a{suffix}").size == (40, 40)


def test_notes_are_no_pictures() -> None:
    for start, suffix in ((b"hello", ".txt"), (b"<html>", ".html"), (b"\0\0\0\x18ftypmp42", ".mp4"), (RAW, ".tif"), (AVIF, ".avif")):
        assert unread_kind(start, suffix) is None
    assert looks_like_image(AVIF)


def test_heic_is_left_to_its_reader_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(kinds, "reads_heif", lambda there=there: there)
        assert (unread_kind(HEIC, ".heic") is None) is there
        assert looks_like_image(HEIC) is there
