"""XMP that is too long for one segment of a JPEG file, as other programs write and read it."""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.pictures import to_picture
from calotype.provenance import extended, xmp
from calotype.tasks.files import Picture, open_picture, save_picture
from tests.fuzz import attempt, mutations
from tests.tasks.test_provenance import PIXELS, RDF, RESTORED, camera

XAP, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
NOTE = "{http://ns.adobe.com/xmp/note/}HasExtendedXMP"
DC = "{http://purl.org/dc/elements/1.1/}"
LONG, LONGER = "\u00e9" * 50_000, "y" * 150_000


def bodies(data: bytes) -> list[bytes]:
    """What stands in the APP1 segments of a JPEG file, found without any reader of pictures."""
    found, place = [], 2
    while data[place : place + 1] == b"\xff" and data[place + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, place + 2)
        found += [data[place + 4 : place + 2 + length]] if data[place + 1] == 0xE1 else []
        place += 2 + length
    return found


def both(data: bytes) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The standard packet and the extended XMP of a file, put together as the specification says."""
    (standard,) = (body[len(XAP) :] for body in bodies(data) if body.startswith(XAP))
    tree = ElementTree.fromstring(standard)
    (guid,) = (one.get(NOTE) for one in tree.iter(f"{RDF}Description") if one.get(NOTE))
    assert guid is not None
    assert guid == guid.upper()
    parts: dict[int, bytes] = {}
    for body in bodies(data):
        if body.startswith(EXTENSION + guid.encode()):
            length, at = struct.unpack_from(">II", body, len(EXTENSION) + 32)
            parts[at] = body[len(EXTENSION) + 40 :]
    rest = b"".join(parts[at] for at in sorted(parts))
    assert len(rest) == length
    assert list(np.cumsum([0, *map(len, parts.values())])[:-1]) == sorted(parts)
    assert hashlib.md5(rest).hexdigest().upper() == guid
    assert b"xpacket" not in rest
    return tree, ElementTree.fromstring(rest)


def large() -> bytes:
    return xmp.kept(camera(f"<dc:title>{LONG}</dc:title><dc:rights>{LONGER}</dc:rights>"))


def test_what_one_segment_cannot_hold_is_extended_and_read_again(tmp_path: Path) -> None:
    place = tmp_path / "a.jpg"
    assert save_picture(Picture(PIXELS, xmp=large(), marker=RESTORED), place) == ()
    data = place.read_bytes()
    assert max(map(len, bodies(data))) <= 65_533
    standard, rest = both(data)
    assert [one.text for one in rest.iter(f"{DC}title")] == [LONG]
    assert [one.text for one in rest.iter(f"{DC}rights")] == [LONGER]
    assert "Maker" in {one.get("{http://ns.adobe.com/tiff/1.0/}Make") for one in standard.iter(f"{RDF}Description")}
    assert [one.text for one in standard.iter(f"{RDF}li")] == ["Zo\u00eb", RESTORED.text]
    assert "Maker" not in ElementTree.tostring(rest).decode()
    picture = open_picture(data, "a.jpg")
    assert picture.notes == ()
    assert picture.xmp.decode().count(LONG) == picture.xmp.decode().count(LONGER) == 1
    assert b"HasExtendedXMP" not in picture.xmp
    (found,) = calotype.trace(place)
    assert found.origin is not None
    assert found.origin.marker == RESTORED
    # a second time nothing is lost, and the marker before is still there
    again = tmp_path / "b.jpg"
    assert save_picture(replace(picture, marker=replace(RESTORED, index=1)), again) == ()
    assert [one.text for one in both(again.read_bytes())[1].iter(f"{DC}rights")] == [LONGER]
    assert len(calotype.trace(again)[0].origin.earlier) == 1  # type: ignore[union-attr]


def test_pillow_reads_the_standard_part(tmp_path: Path) -> None:
    pytest.importorskip("defusedxml")
    save_picture(Picture(PIXELS, xmp=large(), marker=RESTORED), tmp_path / "a.jpg")
    said = str(Image.open(tmp_path / "a.jpg").getxmp())
    assert "algorithmicallyEnhanced" in said
    assert "HasExtendedXMP" in said
    assert "Maker" in said


def test_a_packet_that_just_fits_stays_in_one_segment() -> None:
    fits, long = (b"<" + b"a" * (count - 1) for count in (65_504, 65_505))
    assert bodies(b"\xff\xd8" + extended.segments(fits) + b"\xff\xda")[0] == XAP + fits
    with pytest.raises(ValueError, match=r"syntax|token|XML"):
        extended.segments(long)
    stream = io.BytesIO()
    to_picture(PIXELS).save(stream, "JPEG", extra=extended.segments(fits))
    assert Image.open(stream).info["xmp"] == fits


def other_program(change: str = "") -> bytes:
    """A file whose extended XMP another program wrote: namespaces declared around, parts in another order, a stranger's parts between."""
    rest = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:o="urn:other:"><q:RDF xmlns:q="{RDF.strip("{}")}"><q:Description q:about="uuid:1">'
        f"<o:depth>{LONGER}</o:depth></q:Description></q:RDF></x:xmpmeta>"
    ).encode()
    guid = hashlib.md5(rest).hexdigest().upper()
    more = f'<n:HasExtendedXMP xmlns:n="http://ns.adobe.com/xmp/note/">{guid}</n:HasExtendedXMP>'
    if change == "altered":
        rest = rest.replace(b"yyy", b"yzy", 1)
    cuts = [(at, rest[at : at + 60_000]) for at in range(0, len(rest), 60_000)][::-1]
    if change == "missing":
        cuts = cuts[1:]
    if change == "long":
        cuts[0] = (2**31, cuts[0][1])
    parts = [EXTENSION + guid.encode() + struct.pack(">II", len(rest), at) + part for at, part in cuts]
    parts.insert(1, EXTENSION + b"F" * 32 + struct.pack(">II", 4, 0) + b"none")
    whole = [XAP + camera(more), *parts]
    stream = io.BytesIO()
    extra = b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in whole)
    to_picture(PIXELS).save(stream, "JPEG", extra=extra)
    return stream.getvalue()


def test_what_other_programs_extend_is_kept(tmp_path: Path) -> None:
    picture = open_picture(other_program(), "a.jpg")
    assert picture.notes == ()
    for suffix in (".jpg", ".png", ".webp"):
        assert save_picture(replace(picture, marker=RESTORED), tmp_path / f"b{suffix}") == ()
    read = open_picture((tmp_path / "b.jpg").read_bytes(), "b.jpg")
    assert [len(one.text or "") for one in ElementTree.fromstring(read.xmp).iter("{urn:other:}depth")] == [len(LONGER)]


@pytest.mark.parametrize("change", ["altered", "missing", "long"])
def test_extended_xmp_that_is_damaged_is_left_out_and_said(change: str) -> None:
    picture = open_picture(other_program(change), "a.jpg")
    assert picture.notes == ("its extended XMP data are damaged and were left out",)
    assert b"Maker" in picture.xmp
    assert b"yyy" not in picture.xmp


def test_what_is_declared_around_descriptions_is_not_copied_without_bounds() -> None:
    def rest(descriptions: int, declared: int, length: int = 0) -> bytes:
        spaces = "".join(f' xmlns:n{number}="urn:{"u" * length}{number}"' for number in range(declared))
        inner = "<q:Description/>" * descriptions
        return f'<o:o xmlns:o="urn:o"{spaces}><q:RDF xmlns:q="{RDF.strip("{}")}" xmlns:n0="urn:near">{inner}</q:RDF></o:o>'.encode()

    packet = camera()
    root = xmp.parsed(xmp.joined(packet, rest(100, 100)))[1]
    assert root is not None
    copies = list(xmp.descriptions_of(root))[-100:]
    assert {len(one.attributes) for one in copies} == {102}
    assert {one.getAttribute("xmlns:n0") for one in copies} == {"urn:near"}
    # each by itself is within the bounds of a packet, and what all copies would declare is not
    for descriptions, declared, length in ((2_000, 2_000, 0), (30_000, 3, 0), (2_000, 2, 9_000)):
        assert xmp.parsed(rest(descriptions, declared, length))[1] is not None
        with pytest.raises(ValueError, match="it has too many parts"):
            xmp.joined(packet, rest(descriptions, declared, length))


def test_damaged_files_are_read_or_refused(fuzz: int) -> None:
    whole = other_program()
    packet = camera('<n:HasExtendedXMP xmlns:n="http://ns.adobe.com/xmp/note/">' + "A" * 32 + "</n:HasExtendedXMP>")
    for damaged in mutations(packet, fuzz, seed=0):
        attempt(lambda damaged=damaged: extended.whole(damaged, bodies(whole)), ValueError)  # type: ignore[misc]
        attempt(lambda damaged=damaged: extended.divided(damaged + b" "), ValueError)  # type: ignore[misc]
