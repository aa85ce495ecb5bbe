"""A file of parts without number is told before any reader has looked at them all."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_samples import encode, smooth
from picture_kinds import chunk, kinds
from PIL import Image

from calotype.data import parts
from calotype.data.complete import check_complete, essential
from calotype.data.decode import UnusableError, decode, read_header
from calotype.data.files import Folder
from calotype.data.parts import check_parts
from calotype.tasks.facts import chunks_of
from calotype.tasks.files import open_picture

MANY = 1000
SMOOTH = smooth(16, 16)


def png(before: bool) -> bytes:
    data = encode(SMOOTH, "PNG")
    place = data.index(b"IDAT" if before else b"IEND") - 4
    return data[:place] + chunk(b"zzZz", b"") * MANY + data[place:]


def jpeg(many: bytes) -> bytes:
    data = encode(SMOOTH, "JPEG")
    return data[:2] + many + data[2:]


def gif(many: bytes) -> bytes:
    data = encode(SMOOTH.convert("P"), "GIF")
    place = data.index(b",\0\0\0\0")
    return data[:place] + many + data[place:]


def jpeg2000() -> bytes:
    data = encode(SMOOTH, "JPEG2000")
    place = data.index(b"jp2h") - 4
    return data[:place] + struct.pack(">I4s", 8, b"free") * MANY + data[place:]


CROWDED: dict[str, Callable[[], bytes]] = {
    "before.png": lambda: png(True),
    "after.png": lambda: png(False),
    "segments.jpg": lambda: jpeg(b"\xff\xe0\x00\x02" * MANY),
    "markers.jpg": lambda: jpeg(b"\xff\xd8" * MANY),
    "nothing.jpg": lambda: jpeg(b"\xff\xd8" + bytes(MANY)),
    "filled.jpg": lambda: jpeg(b"\xff" * MANY),
    "comments.gif": lambda: gif(b"!\xfe\x01a\x00" * MANY),
    "comment.gif": lambda: gif(b"!\xfe" + b"\x01a" * MANY + b"\x00"),
    "nothing.gif": lambda: gif(bytes(MANY)),
    "boxes.jp2": jpeg2000,
}


@pytest.mark.parametrize("name", CROWDED)
def test_a_file_of_too_many_parts_is_told_before_a_reader_looks_at_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = CROWDED[name]()
    read_header(io.BytesIO(data), name)  # few enough
    monkeypatch.setattr(parts, "MOST", MANY // 2)
    if name != "after.png":
        monkeypatch.setattr(
            "PIL.Image.OPEN", {form: (lambda *_: pytest.fail("opened it"), accept) for form, (_, accept) in Image.OPEN.items()}
        )
        with pytest.raises(UnusableError, match="more than 500 parts"):
            read_header(io.BytesIO(data), name)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("read it"))
    for read in (decode, open_picture):
        with pytest.raises(UnusableError, match="more than 500 parts"):
            read(data, name)


def test_every_walk_over_chunks_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(True)
    monkeypatch.setattr(parts, "MOST", MANY // 2)
    for walk in (essential, check_complete, chunks_of):
        with pytest.raises(UnusableError, match="more than 500 parts"):
            walk(data)
    scan = encode(SMOOTH, "JPEG")
    with pytest.raises(UnusableError, match="more than 500 parts"):
        check_complete(scan[:-2] + b"\xff\x01" * MANY + scan[-2:])


def test_a_directory_of_too_many_entries_is_not_gone_through() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8), np.uint8), bigtiff=True)
    data = bytearray(stream.getvalue())
    struct.pack_into("<Q", data, struct.unpack_from("<Q", data, 8)[0], 2**40)
    for read in (decode, open_picture):
        with pytest.raises(UnusableError, match="lists 1,099,511,627,776 entries"):
            read(bytes(data), "a.tif")


def test_real_files_have_few_parts_and_their_pixels_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST", 60)
    for name, data in kinds().items():
        decode(data, name)
    large = encode(Image.effect_noise((600, 600), 50), "PNG")
    (tmp_path / "a.png").write_bytes(large)
    with Folder(tmp_path).open("a.png") as file:
        check_parts(file, large[:64])
        assert file.tell() < 1000
    animated = io.BytesIO()
    frames = [Image.effect_noise((200, 200), 50).convert("P") for _ in range(3)]
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    assert read_header(io.BytesIO(animated.getvalue()), "a.gif").animated
