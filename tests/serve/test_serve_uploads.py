"""Hostile files: none ends in an error of ours, and none takes memory beyond its limit."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from calotype.serve.counts import resident
from tests.fuzz import mutations
from tests.serve.served import picture, text

GROWTH = 200 << 20  # bytes


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claimed(width: int, height: int, data: bytes = b"", depth: int = 8, color: int = 2) -> bytes:
    """A PNG file that says that it is so large."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb(side: int) -> bytes:
    """A PNG file of some kilobytes that unpacks to side * side pixels."""
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def hostile() -> Iterator[tuple[str, bytes]]:
    """Files by name, of all kinds that broke services."""
    whole = {form: picture((40, 40), form, 3) for form in ("PNG", "JPEG", "WEBP")}
    for form, data in whole.items():
        for share in (0.02, 0.3, 0.7, 0.95):
            yield f"truncated {form} {share}", data[: int(len(data) * share)]
        yield f"{form} with something behind it", data + b"<script>alert(1)</script>" * 10
        for number, damaged in enumerate(mutations(data, 20, seed=7)):
            yield f"damaged {form} {number}", damaged
    yield "a bomb", bomb(9_400)
    yield "a larger bomb", bomb(20_000)
    for side in (2**31 - 1, 2**16, 10_000):
        yield f"claims {side} pixels a side", claimed(side, side)
    yield "claims no pixel", claimed(0, 0)
    yield "a line without end", claimed(2**31 - 1, 1)
    yield "16 bits and a bomb", claimed(500, 500, zlib.compress(bytes(500 * (500 * 8 + 1))), 16, 6)
    yield "too much for its size", claimed(8, 8, zlib.compress(bytes(50 << 20), 9))
    text_bomb = zlib.compress(b"x" * (80 << 20), 9)
    good = whole["PNG"]
    yield "a text that unpacks", good[:33] + chunk(b"zTXt", b"Comment\0\0" + text_bomb) + good[33:]
    yield "a profile that unpacks", good[:33] + chunk(b"iCCP", b"icc\0\0" + text_bomb) + good[33:]
    yield "XMP that expands", good[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LAUGHS) + good[33:]
    yield "XMP that reads a file", good[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + ENTITY) + good[33:]
    yield "a marker of its own", good[:33] + chunk(b"tEXt", b'Calotype\0{"making":"sample","checksum":"0"}') + good[33:]
    for name, start in (
        ("GIF", b"GIF89a"),
        ("BMP", b"BM"),
        ("TIFF", b"II*\0"),
        ("PDF", b"%PDF-1.7"),
        ("SVG", b"<svg/>"),
        ("ZIP", b"PK\3\4"),
    ):
        yield f"{name} in the place of a picture", start + bytes(200)
    yield "a pickle", b"\x80\x04cos\nsystem\n(S'id'\ntR."
    yield "Python", b"import os"
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n"
    yield "RIFF of something else", b"RIFF\x10\0\0\0WAVEfmt "
    yield "nothing", b""
    yield "one byte", b"\x89"
    yield "a signature alone", b"\x89PNG\r\n\x1a\n"
    yield "JPEG of a marker alone", b"\xff\xd8\xff"
    yield "WebP of a head alone", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff"
    yield "animated", _animated()


def _animated() -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(np.full((400, 400), level, np.uint8)) for level in range(60)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


ENTITY = (
    b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>"""
)
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, (b"&%c;" % (97 + n)) * 10) for n in range(9))
    + b"]><x>&j;</x>"
)
FILES = list(hostile())


def test_there_are_a_hundred_of_them() -> None:
    assert len(FILES) >= 100
    assert len({name for name, _ in FILES}) == len(FILES)


def test_hostile_uploads_end_in_a_line_and_within_memory(client: TestClient, ids: dict[str, str]) -> None:
    places = [f"models/{ids['resnet']}/classify", f"models/{ids['denoise']}/restore", "trace"]
    for place in places:  # what is imported and loaded once counts for nothing
        assert client.post(f"/v1/{place}", json={"image": text(picture())}).status_code == 200
    before, highest = resident() or 0, 0.0
    for number, (name, data) in enumerate(FILES):
        encoded = text(data)
        for place in places if number % 3 == 0 or not name.startswith("damaged") else places[number % 3 : number % 3 + 1]:
            answer = client.post(f"/v1/{place}", json={"image": encoded})
            assert answer.status_code in (200, 400, 413, 415, 422), (name, place, answer.status_code, answer.text[:300])
            highest = max(highest, (resident() or 0) - before)
            if answer.status_code != 200:
                message = answer.json()["error"]["message"]
                assert message, name
                assert "\n" not in message, name
                assert "/tmp" not in message, name
                assert "Traceback" not in message, name
    assert highest < GROWTH, f"{highest / 2**20:.0f} MiB"


@pytest.mark.parametrize(
    ("name", "status"),
    [("a bomb", 413), ("claims 65536 pixels a side", 413), ("a pickle", 415), ("SVG in the place of a picture", 415), ("nothing", 422)],
)
def test_what_is_refused_says_why(client: TestClient, ids: dict[str, str], name: str, status: int) -> None:
    data = dict(FILES)[name]
    assert client.post(f"/v1/models/{ids['denoise']}/restore", json={"image": text(data)}).status_code == status


def test_no_entity_reads_a_file(client: TestClient) -> None:
    said = client.post("/v1/trace", json={"image": text(dict(FILES)["XMP that reads a file"])}).text
    assert "root:" not in said


def test_results_have_a_limit_too(client: TestClient, ids: dict[str, str]) -> None:
    """The limit of the tests is 262,144 pixels: a picture may be below it and what is made of it above."""
    large = picture((500, 500), "JPEG", 3)
    assert client.post(f"/v1/models/{ids['upscale']}/upscale", json={"image": text(large)}).status_code == 413
    assert client.post(f"/v1/models/{ids['resnet']}/classify", json={"image": text(large)}).status_code == 200
