"""Files are decoded at once as far as one budget of memory goes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import tifffile
from data_samples import encode, smooth
from PIL import Image

from calotype.data import check, load
from calotype.data.decode import read_header
from calotype.data.parallel import Room

Write = Callable[[dict[str, Image.Image | bytes]], Path]


def test_what_does_not_fit_waits_until_there_is_room() -> None:
    room, said, asked, second = Room(100), list[str](), Event(), Event()

    def work(name: str, count: int, before: Event) -> None:
        before.set()
        with room.held(count):
            said.append(name)
            second.set()

    with room.held(60):
        waits = Thread(target=work, args=("large", 1000, asked))  # more than all: alone
        passes = Thread(target=work, args=("small", 40, Event()))
        waits.start()
        assert asked.wait(60)
        passes.start()
        assert second.wait(60)
        passes.join(60)
        assert said == ["small"]
        waits.join(0.05)
        said.append("first")
    waits.join(60)
    assert said == ["small", "first", "large"]
    with pytest.raises(ValueError, match="x"), room.held(100):
        raise ValueError("x")
    with room.held(100):  # an error gives it back
        pass


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_every_picture_is_decoded_within_the_budget(write_tree: Write, monkeypatch: pytest.MonkeyPatch, fit: str) -> None:
    held: list[int] = []
    inside: list[int] = []
    begin = Room.held

    @contextmanager
    def counted(self: Room, count: int) -> Iterator[None]:
        held.append(count)
        with begin(self, count):
            inside.append(count)
            yield
            inside.remove(count)

    def decoding(module: str, name: str) -> None:
        plain = getattr(import_module(module), name)

        def watched(*args: object, **kwargs: object) -> object:
            assert inside, "decoded outside of the budget"
            return plain(*args, **kwargs)

        monkeypatch.setattr(import_module(module), name, watched)

    monkeypatch.setattr(Room, "held", counted)
    decoding("calotype.data.check", "decode")
    decoding("calotype.data.prepare", "decode_tiles")
    decoding("calotype.data.prepare", "decode_fitted")
    jpeg = encode(smooth(256, 256), "JPEG")
    source = write_tree({"a.png": smooth(20, 30), "b.png": smooth(20, 30).convert("L"), "c.jpg": jpeg, "d.tif": tiff(np.float64)})
    check(str(source))
    whole = sorted([20 * 30 * 4, 20 * 30, 256 * 256 * 4, 20 * 30 * 4 * 8])
    assert sorted(held) == whole
    held.clear()
    load(str(source), size=16, fit=fit)  # type: ignore[arg-type]
    assert sorted(held) == (whole if fit == "tile" else sorted([20 * 30 * 4, 20 * 30, 32 * 32 * 4, 20 * 30 * 4 * 8]))


def tiff(kind: type) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((20, 30, 4), kind), photometric="rgb", extrasamples=["unassalpha"])
    return stream.getvalue()


def test_memory_is_told_by_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = io.BytesIO()
    Image.new("I;16", (20, 30)).save(deep, "PNG")
    assert read_header(io.BytesIO(deep.getvalue()), "a.png").memory == 20 * 30 * 8
    for kind, size in ((np.float32, 4), (np.uint16, 2)):
        assert read_header(io.BytesIO(tiff(kind)), "a.tif").memory == 20 * 30 * 4 * size
    drafted = read_header(io.BytesIO(encode(smooth(256, 256), "JPEG")), "a.jpg")
    for size in (8, 16, 33, 64, 65, 200):
        image = Image.open(io.BytesIO(encode(smooth(256, 256), "JPEG")))
        image.draft(None, (2 * size, 2 * size))
        assert drafted.memory_at(size) == 4 * image.width * image.height
