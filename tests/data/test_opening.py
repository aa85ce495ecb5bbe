"""A broken file costs that file alone, is named, and says nothing on the terminal."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_samples import encode, smooth
from PIL import Image, TiffImagePlugin

from calotype.data import prepare
from calotype.data.decode import UnusableError, decode, read_header
from calotype.data.opening import FORMATS
from calotype.data.reading import reading
from calotype.tasks.files import open_picture

BROKEN_EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x09\x00\x0f\x01\x02\x00\xff\xff\x00\x00\xf0\xf0\x00\x00"


@pytest.mark.parametrize("form", ["GIF", "PNG", "BMP", "PCX", "TIFF"])
def test_a_palette_that_is_cut_off_costs_its_file_alone(tmp_path: Path, form: str) -> None:
    for index in range(12):
        smooth(16, 16, index).save(tmp_path / f"{index}.png")
    data = encode(smooth(64, 64).quantize(64), form)
    (tmp_path / "half").mkdir()
    (tmp_path / f"half/cut.{form.lower()}").write_bytes(data[: len(data) // 2])
    made = prepare(str(tmp_path), size=16, out=tmp_path / "out.calotype")
    assert [skipped.name for skipped in made.skipped] == [f"half/cut.{form.lower()}"]
    assert len(made) == 12


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), RecursionError("deep"), SystemError("C"), AttributeError("no"), SyntaxError("odd")]
)
def test_whatever_a_decoder_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    data = encode(smooth(8, 8).quantize(8), "PNG", transparency=0)
    for place in ("load", "convert", "crop", "getchannel"):
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, place, fails)
            if place == "load":
                patch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
            for read in (decode, open_picture):
                with pytest.raises(UnusableError):
                    read(data, "a.png")
    with pytest.raises(KeyboardInterrupt), reading():
        raise KeyboardInterrupt


def test_what_is_whole_but_not_read_is_not_called_damaged() -> None:
    rng = np.random.default_rng(0)
    for samples, words in ((rng.integers(0, 256, (9, 9, 5), np.uint8), "5 channels of 8 bits"), (rng.random((9, 9)) + 1j, "complex")):
        stream = io.BytesIO()
        tifffile.imwrite(stream, samples, photometric="minisblack", **({"planarconfig": "contig"} if samples.ndim == 3 else {}))
        for read in (decode, open_picture, lambda data, name: read_header(io.BytesIO(data), name)):
            with pytest.raises(UnusableError, match=f"TIFF of a kind that is not read: .*{words}"):
                read(stream.getvalue(), "a.tif")
    deep = bytearray(encode(smooth(), "JPEG"))
    deep[deep.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnusableError, match=r"JPEG of a kind that is not read: cannot handle 12-bit layers"):
        decode(bytes(deep), "a.jpg")
    with pytest.raises(UnusableError, match="damaged"):
        decode(encode(smooth(), "TIFF")[:60], "a.tif")
    raw = TiffImagePlugin.ImageFileDirectory_v2()
    raw[50706] = b"\1\4\0\0"
    with pytest.raises(UnusableError, match="a camera's raw picture"):
        decode(encode(smooth(), "TIFF", tiffinfo=raw), "a.tif")


def test_nothing_comes_upon_the_terminal(tmp_path: Path) -> None:
    """Neither by Python's warnings nor by what libtiff prints itself, in whatever thread; and others' warnings stay as they were."""
    files = [encode(smooth(), "JPEG", exif=BROKEN_EXIF)]
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        data = encode(smooth(90, 90), "TIFF", compression=compression)
        place = data.index(b"\x01\x01", 8) if b"\x01\x01" in data[8:] else len(data) // 2
        files += [data[:300] + b"\xff\x13\x77" + data[303:], data[:place] + b"\x99" * 9 + data[place + 9 :]]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 9), (257, 9), (277, 2**20)))
    many = b"II*\0\x08\0\0\0\x03\0" + entries
    files.append(many + bytes(20))  # of which Pillow tells its log
    for index, data in enumerate(files):
        (tmp_path / str(index)).write_bytes(data)
    code = """
import contextlib, pathlib, sys, warnings
from calotype.data.decode import UnusableError, decode
from calotype.data.parallel import ordered
from calotype.tasks.files import open_picture
def work(name):
    for read in (decode, open_picture):
        with contextlib.suppress(UnusableError):
            read(pathlib.Path(name).read_bytes(), "a")
before = list(warnings.filters)
list(ordered(work, sys.argv[1:] * 20))
assert warnings.filters == before
warnings.warn("mine")
"""
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    out = subprocess.run([sys.executable, "-W", "always", "-c", code, *names], capture_output=True, check=True, text=True)
    assert [line for line in (out.stdout + out.stderr).splitlines() if "mine" not in line] == []
    assert "mine" in out.stderr


def test_readers_in_threads_share_their_silence() -> None:
    """The first to come is not the last to go."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with reading():
            inside.set()
            leave.wait(20)

    before = list(warnings.filters)
    first = threading.Thread(target=hold)
    first.start()
    inside.wait(20)
    with reading():
        leave.set()
        first.join()
        assert warnings.filters != before
    assert warnings.filters == before


def test_every_format_is_there() -> None:
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


@pytest.mark.parametrize("form", ["GIF", "PNG", "BMP", "PCX", "TIFF", "TGA"])
@pytest.mark.parametrize("gray", [False, True])
def test_a_palette_tells_whether_it_is_gray_without_its_pixels(form: str, gray: bool) -> None:
    image = Image.new("P", (9, 9))
    image.putpalette([value for level in range(256) for value in ((level, level, level) if gray else (level, 255 - level, 7))])
    assert read_header(io.BytesIO(encode(image, form)), f"a.{form.lower()}").gray is gray
