"""What pictures say of their making: in every format, beside what they said before, and whether it can be believed."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

import calotype
from calotype.data.parts import png_chunks
from calotype.engine.display import Display
from calotype.errors import DamagedError
from calotype.models import stored
from calotype.pictures import to_picture, to_uint8
from calotype.provenance import embed, xmp
from calotype.provenance.marker import SOURCE_TYPES, STRENGTH, Making, Marker, parse
from calotype.tasks.files import Picture, open_picture, save_picture
from calotype.types import Source
from tests.cli.exported import export
from tests.fuzz import attempt, mutations
from tests.tasks.test_sample import generator

CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
FULL = Marker(
    "sample",
    weights="ab" * 32,
    recipe="dcgan",
    seed=3,
    index=5,
    batch=(0, 64, 64),
    label='seven "<&>\u00fc\n',
    options={"steps": 4, "guidance": 3.0, "solver": "heun"},
    machine="cpu",
)
RESTORED = Marker("restoration", weights="cd" * 32, seed=0, index=0)
CAMERA = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<r:Description r:about="uuid:1" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:lens="http://example.org/lens/" tiff:Orientation="6"
 tiff:Make="Maker" lens:Name="&lt;50 mm&gt;" xmlns:g="http://ns.google.com/photos/1.0/camera/" g:MicroVideoOffset="9"/>
<r:Description r:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:creator><r:Seq><r:li>Zo\u00eb</r:li></r:Seq></dc:creator><xmp:Thumbnails><r:Alt/></xmp:Thumbnails>{more}</r:Description>
</r:RDF></x:xmpmeta><?xpacket end="w"?>"""
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)


def camera(more: str = "") -> bytes:
    return CAMERA.replace("{more}", more).encode()


def packet_in(data: bytes) -> bytes:
    """The packet of a file, found without any reader of pictures."""
    start, end = data.index(b"<?xpacket begin"), data.index(b'<?xpacket end="w"?>')
    return data[start : end + 19]


def types_in(packet: bytes) -> list[str | None]:
    return [one.text for one in ElementTree.fromstring(packet).iter(f"{IPTC}DigitalSourceType")]


def markers_in(packet: bytes) -> list[str | None]:
    found = ElementTree.fromstring(packet).find(".//{urn:calotype:provenance:}markers")
    assert found is not None
    return [one.text for one in found.iter(f"{RDF}li")]


def test_a_marker_comes_back_as_it_went() -> None:
    assert parse(FULL.text) == FULL
    assert FULL.text.isascii()
    assert parse(Marker("overview").text) == Marker("overview")
    assert FULL.at("minimal") == Marker("sample")
    assert FULL.at("none") is None
    assert (replace(FULL, cells=9).one(2).index, replace(FULL, cells=9).one(2).cells) == (7, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seed":3', '"seed":4'),
        ('"index":5', '"index":6'),
        ("abab", "abac"),
        ('"sample"', '"decoding"'),
        ('"seed":3,', ""),
        ("}", ',"x":1}'),
    ],
)
def test_a_marker_that_was_altered_is_refused(old: str, new: str) -> None:
    changed = FULL.text.replace(old, new, 1) if old != "}" else FULL.text[:-1] + new
    assert changed != FULL.text
    with pytest.raises(DamagedError, match="altered"):
        parse(changed)
    for text in ("", "{", "[]", '{"checksum":1}'):
        with pytest.raises(DamagedError, match="altered"):
            parse(text)


def test_every_making_has_a_source_type_that_is_known() -> None:
    assert set(SOURCE_TYPES) == set(Making.__args__)
    assert set(SOURCE_TYPES.values()) <= set(STRENGTH)
    wanted = {"sample": "trainedAlgorithmicMedia", "completion": "compositeWithTrainedAlgorithmicMedia"}
    wanted |= {"inpainting": "compositeWithTrainedAlgorithmicMedia", "restoration": "algorithmicallyEnhanced"}
    assert {name: SOURCE_TYPES[name] for name in wanted} == wanted  # type: ignore[index]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
def test_every_format_says_it_to_a_reader_that_knows_nothing_of_calotype(suffix: str, tmp_path: Path) -> None:
    for marker in (FULL, RESTORED):
        calotype.pictures.save(to_picture(PIXELS), place := tmp_path / f"a{suffix}", marker)
        packet = packet_in(place.read_bytes())
        assert types_in(packet) == [CODES + marker.source_type]
        assert markers_in(packet) == [marker.text]
        with Image.open(place) as image:
            found = embed.origin_of(image)
        assert found == embed.Origin(marker, (), marker.source_type)
    calotype.pictures.save(to_picture(PIXELS), place)
    assert b"xpacket" not in place.read_bytes()


def test_pillow_reads_it_as_xmp(tmp_path: Path) -> None:
    pytest.importorskip("defusedxml")
    calotype.pictures.save(to_picture(PIXELS), tmp_path / "a.png", FULL)
    with Image.open(tmp_path / "a.png") as image:
        assert FULL.source_type in str(image.getxmp())


def test_a_png_file_says_it_as_text_too_and_a_gif_file_as_its_comment(tmp_path: Path) -> None:
    calotype.pictures.save(to_picture(PIXELS), tmp_path / "a.png", FULL)
    data = (tmp_path / "a.png").read_bytes()
    texts = [data[at : at + length] for kind, at, length in png_chunks(data) if kind == b"tEXt"]
    assert texts == [b"Calotype\0" + FULL.text.encode()]
    calotype.pictures.save(to_picture(PIXELS), tmp_path / "a.gif", FULL)
    with Image.open(tmp_path / "a.gif") as image:
        found = embed.origin_of(image)
        assert image.info["comment"] == FULL.text.encode()
    assert found == embed.Origin(FULL)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_of_16_bits_say_it(suffix: str, tmp_path: Path) -> None:
    deep = Picture(PIXELS.astype(np.uint16) * 257, xmp=xmp.kept(camera()), marker=RESTORED)
    place = tmp_path / f"a{suffix}"
    assert save_picture(deep, place) == ()
    assert types_in(packet_in(place.read_bytes())) == [CODES + "algorithmicallyEnhanced"]
    if suffix == ".tif":
        with tifffile.TiffFile(place) as file:
            assert RESTORED.source_type in str(file.pages[0].tags[700].value)  # type: ignore[union-attr]
    again = open_picture(place.read_bytes(), place.name)
    assert again.notes == ()
    assert b"Zo" in again.xmp
    np.testing.assert_array_equal(again.pixels, deep.pixels)
    assert calotype.trace(place)[0].origin == embed.Origin(RESTORED, (), "algorithmicallyEnhanced")


def test_what_a_picture_said_before_is_kept_and_extended(tmp_path: Path) -> None:
    stream = io.BytesIO()
    to_picture(PIXELS).save(stream, "JPEG", xmp=camera())
    picture = open_picture(stream.getvalue(), "a.jpg")
    assert picture.notes == ()
    for suffix in (".jpg", ".png", ".webp", ".tif", ".avif"):
        place = tmp_path / f"b{suffix}"
        assert save_picture(replace(picture, marker=RESTORED), place) == ()
        packet = packet_in(place.read_bytes())
        tree = ElementTree.fromstring(packet)
        assert [one.text for one in tree.iter(f"{RDF}li")] == ["Zo\u00eb", RESTORED.text]
        (first, second, own) = tree.iter(f"{RDF}Description")
        assert first.get("{http://ns.adobe.com/tiff/1.0/}Make") == "Maker"
        assert first.get("{http://example.org/lens/}Name") == "<50 mm>"
        assert {one.get(f"{RDF}about") for one in (first, second, own)} == {"uuid:1"}
        for gone in (b"Orientation", b"Thumbnails", b"MicroVideo"):
            assert gone not in packet
        assert types_in(packet) == [CODES + "algorithmicallyEnhanced"]
    assert save_picture(picture, tmp_path / "c.jpg") == ()  # without a marker it is kept all the same
    assert b"Calotype" not in (tmp_path / "c.jpg").read_bytes()
    assert b"Maker" in (tmp_path / "c.jpg").read_bytes()
    assert "no XMP data" in save_picture(picture, tmp_path / "c.bmp")[0]


@pytest.mark.parametrize("form", ["{}", "attribute", "resource"])
@pytest.mark.parametrize(
    ("before", "making", "after"),
    [
        ("digitalCapture", "restoration", "algorithmicallyEnhanced"),
        ("digitalCapture", "inpainting", "compositeWithTrainedAlgorithmicMedia"),
        ("digitalCapture", "degradation", "digitalCapture"),
        ("trainedAlgorithmicMedia", "restoration", "trainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", "degradation", "trainedAlgorithmicMedia"),
        ("compositeWithTrainedAlgorithmicMedia", "enlargement", "compositeWithTrainedAlgorithmicMedia"),
        ("algorithmicallyEnhanced", "sample", "trainedAlgorithmicMedia"),
    ],
)
def test_a_source_type_is_said_once_and_never_more_weakly(form: str, before: str, making: Any, after: str) -> None:
    space, packet = IPTC.strip("{}"), camera()
    if form == "attribute":
        packet = packet.replace(b" tiff:Make", f' xmlns:i="{space}" i:DigitalSourceType="{CODES}{before}" tiff:Make'.encode())
    elif form == "resource":
        packet = camera(f'<i:DigitalSourceType xmlns:i="{space}" r:resource="{CODES}{before}"/>')
    else:
        packet = camera(f'<i:DigitalSourceType xmlns:i="{space}">{CODES}{before}</i:DigitalSourceType>')
    made = xmp.marked(packet, Marker(making))
    assert xmp.stated(made).source_type == after
    assert made.count(b"DigitalSourceType>" if making != "degradation" else b"DigitalSourceType") in (1, 2)
    assert made.count(CODES.encode()) == 1


def test_all_that_was_made_of_a_picture_is_told_in_its_order() -> None:
    packet = xmp.marked(xmp.marked(b"", FULL), RESTORED)
    assert xmp.stated(packet) == xmp.Statement("trainedAlgorithmicMedia", (FULL.text, RESTORED.text))
    for number in range(30):
        packet = xmp.marked(packet, replace(RESTORED, index=number))
    assert len(xmp.stated(packet).markers) == xmp.EARLIER + 1
    assert parse(xmp.stated(packet).markers[-1]).index == 29


@pytest.mark.parametrize(
    "packet",
    [
        b"<x",
        b"\xff",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>'.encode("utf-16"),
        b"<a>" * 20_000 + b"</a>" * 20_000,
        b"<a>" + b" " * xmp.LARGEST + b"</a>",
        camera().replace(b"xmlns:tiff", b"xmlns:tuff"),
    ],
    ids=["open", "bytes", "entities", "wide", "deep", "large", "prefix"],
)
def test_broken_packets_are_left_out_and_never_cost_the_picture(packet: bytes, tmp_path: Path) -> None:
    with suppress(ValueError):
        assert xmp.kept(packet) == b""
    stream = io.BytesIO()
    to_picture(PIXELS).save(stream, "WEBP", xmp=packet)
    picture = open_picture(stream.getvalue(), "a.webp")
    assert picture.xmp == b""
    save_picture(replace(picture, marker=RESTORED), tmp_path / "b.webp")
    assert types_in(packet_in((tmp_path / "b.webp").read_bytes())) == [CODES + "algorithmicallyEnhanced"]


def test_a_packet_that_a_format_cannot_hold_is_left_out_and_the_marker_is_not(tmp_path: Path) -> None:
    whole = camera(f"<!--{'x' * 70_000}-->")  # no property, which could go elsewhere
    notes = save_picture(Picture(PIXELS, xmp=whole, marker=RESTORED), tmp_path / "a.jpg")
    assert notes == ("JPEG could not hold its XMP data: left out",)
    assert markers_in(packet_in((tmp_path / "a.jpg").read_bytes())) == [RESTORED.text]
    assert "nothing in the file says" in save_picture(Picture(PIXELS, marker=RESTORED), tmp_path / "a.bmp")[-1]


@pytest.fixture
def gan(runs: Path) -> str:
    return export("gan", runs / "gan", 1, None)


def test_a_sample_is_found_again_bit_for_bit_out_of_its_batch(gan: str) -> None:
    model = calotype.load(gan)
    assert model.weights == hashlib.sha256((Path(gan) / stored.WEIGHTS).read_bytes()).hexdigest()
    images = model.sample(7, seed=9, start=20, batch_size=3)
    paths = calotype.save_images(images, "each", marker=model.marker(7, seed=9, start=20, batch_size=3))
    for path, image in zip(paths, to_uint8(images), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), image[..., 0])  # the marker changed no pixel
    found = calotype.trace(paths, model)
    assert [one.remade for one in found] == ["the same"] * 7
    assert [one.origin.marker.index for one in found if one.origin] == list(range(20, 27))
    assert found[0].origin is not None
    assert found[0].origin.marker.batch == (20, 7, 3)
    moved = replace(model.marker(7, seed=9, start=20, batch_size=3).one(0), index=21)
    calotype.pictures.save(Image.open(paths[0]), Path("moved.png"), moved)
    assert calotype.trace("moved.png", gan)[0].remade == "another"


def test_a_grid_names_its_cells_and_those_that_were_changed(gan: str) -> None:
    model = calotype.load(gan)
    marker = model.marker(10, seed=1)
    calotype.save_grid(model.sample(10, seed=1), "grid.png", marker=marker)
    (found,) = calotype.trace("grid.png", model)
    assert (found.remade, found.cells) == ("the same", ())
    assert found.origin is not None
    assert (found.origin.marker.index, found.origin.marker.cells) == (0, 10)
    image = Image.open("grid.png")
    factor = image.width // (4 * 26 + 2)
    image.paste(128, (factor * (2 + 26), factor * (2 + 26), factor * 50, factor * 50))
    calotype.pictures.save(image, Path("changed.png"), marker)
    (found,) = calotype.trace("changed.png", model)
    assert (found.remade, found.cells) == ("another", (5,))
    calotype.save_grid(model.sample(10, seed=1), "row.png", columns=10, marker=marker)
    assert calotype.trace("row.png", model)[0].remade == "the same"
    calotype.save_grid(model.sample(10, seed=1), "grid.jpg", marker=marker)
    (found,) = calotype.trace("grid.jpg", model)
    assert found.remade != "the same"
    image = Image.open("grid.png")
    image.putpixel((0, 0), 254)  # between the images
    calotype.pictures.save(image, Path("gap.png"), marker)
    (found,) = calotype.trace("gap.png", model)
    assert (found.remade, found.cells) == ("nearly the same", ())


def test_a_lossy_file_is_nearly_the_same(gan: str) -> None:
    model = calotype.load(gan)
    image, marker = to_uint8(model.sample(1))[0], model.marker(1)
    touched = np.where(np.arange(24)[:, None, None] < 3, image ^ 1, image)
    calotype.pictures.save(to_picture(touched), Path("a.png"), marker.one(0))
    (found,) = calotype.trace("a.png", model)
    assert found.remade == "nearly the same"
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / (3 / 24)))
    calotype.pictures.save(to_picture(image[:-1]), Path("b.png"), marker.one(0))
    assert calotype.trace("b.png", model)[0].notes == ("it has not the size of what the model draws",)


def test_what_cannot_be_traced_is_said_and_not_guessed(gan: str, runs: Path) -> None:
    model, other = calotype.load(gan), calotype.load(export("dcgan", runs / "dcgan", 1, None))
    calotype.save_grid(model.sample(2), "a.png", marker=model.marker(2))
    Image.fromarray(PIXELS).save("plain.png")
    Path("text.png").write_text("no picture")
    calotype.save_grid(model.sample(2), "minimal.png")
    calotype.save_grid(model.sample(2), "none.png", marker=None)
    data = Path("a.png").read_bytes()
    at = data.index(b'"index":0')
    Path("altered.png").write_bytes(rewritten(data[: at + 8] + b"1" + data[at + 9 :]))
    stripped = Image.open("a.png")
    calotype.pictures.save(stripped.copy(), Path("stripped.png"))
    found = {
        one.file: one for one in calotype.trace(["a.png", "plain.png", "text.png", "none.png", "altered.png", "stripped.png", "x"], other)
    }
    assert "was made by other weights" in found["a.png"].problem
    for name in ("plain.png", "none.png", "stripped.png"):
        assert found[name].problem.startswith("carries no marker of Calotype")
    assert "cannot be read" in found["text.png"].problem
    assert "altered" in found["altered.png"].problem
    assert "cannot be read" in found["x"].problem
    (minimal,) = calotype.trace("minimal.png", model)
    assert minimal.problem == ""
    assert minimal.notes == ("its marker does not say which weights made it",)


def rewritten(data: bytes) -> bytes:
    """A PNG file with right checksums of its chunks."""
    out = data[:8]
    for kind, at, length in png_chunks(data):
        body = data[at : at + length]
        out += struct.pack(">I", length) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def test_text_and_xmp_that_differ_are_told(runs: Path) -> None:
    info = embed.png_info(embed.png_chunks(xmp.marked(b"", RESTORED), FULL))
    Image.fromarray(PIXELS).save("a.png", pnginfo=info)
    assert "differ" in calotype.trace("a.png")[0].problem
    weaker = xmp.marked(b"", FULL).replace(b"trainedAlgorithmicMedia</", b"digitalCapture</")
    Image.fromarray(PIXELS).save("b.jpg", xmp=weaker)
    assert "do not say trainedAlgorithmicMedia" in calotype.trace("b.jpg")[0].problem


@pytest.mark.parametrize("batch", [(0, 1, 0), (0, 1, 10**9), (5, 1, 1), (0, 0, 1)])
def test_a_marker_that_asks_for_too_much_is_refused(gan: str, batch: tuple[int, ...]) -> None:
    model = calotype.load(gan)
    calotype.pictures.save(to_picture(to_uint8(model.sample(1))[0]), Path("a.png"), replace(model.marker(1).one(0), batch=batch))
    assert "what it says of its batch cannot be" in calotype.trace("a.png", model)[0].problem


def test_restorations_say_which_and_keep_what_the_picture_said(runs: Path) -> None:
    sources = {
        "denoise": ("restoration", Source(3, 1, ("sigma",), "noise:0-55")),
        "upscale": ("enlargement", Source(3, 2, (), "downsample:2")),
        "inpaint": ("inpainting", Source(3, 1, ("mask",), "mask:box")),
        "pix2pix": ("translation", Source(3, 1, (), "invert")),
    }
    Image.fromarray(np.tile(PIXELS, (2, 2, 1))).save("in.jpg", xmp=camera())
    mask = np.zeros((48, 48), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save("mask.png")
    for recipe, (making, source) in sources.items():
        folder = export(recipe, runs / recipe, 3, source)
        more: dict[str, Any] = {"mask": "mask.png"} if recipe == "inpaint" else {}
        calotype.restore(folder, "in.jpg", f"{recipe}.png", seed=4, display=Display(), **more)
        (found,) = calotype.trace(f"{recipe}.png", folder)
        assert found.problem == ""
        assert found.origin is not None
        marker = found.origin.marker
        assert (marker.making, marker.seed, marker.index) == (making, 4, 0)
        assert found.origin.source_type == SOURCE_TYPES[making]  # type: ignore[index]
        assert b"Maker" in packet_in(Path(f"{recipe}.png").read_bytes())
        assert "is made anew" in found.notes[0]


def test_a_restored_sample_remains_one(gan: str, runs: Path) -> None:
    model = calotype.load(gan)
    calotype.save_images(model.sample(1), "each", marker=model.marker(1))
    folder = export("denoise", runs / "denoise", 1, Source(1, 1, ("sigma",), "noise:0-55"))
    (outcome,) = calotype.restore(folder, "each/000000.png", "b.jpg", sigma=10, display=Display())
    assert outcome.notes == []
    (found,) = calotype.trace("b.jpg")
    assert found.origin is not None
    assert [one.making for one in (*found.origin.earlier, found.origin.marker)] == ["sample", "restoration"]
    assert found.origin.marker.options == {"sigma": 10}
    assert found.origin.source_type == "trainedAlgorithmicMedia"


@pytest.mark.parametrize("level", ["full", "minimal", "none"])
def test_restoring_says_as_much_as_is_wanted(level: Any, runs: Path) -> None:
    said: list[str] = []

    class Told(Display):
        def say(self, line: str) -> None:
            said.append(line)

    folder = export("denoise", runs / "denoise", 3, Source(3, 1, ("sigma",), "noise:0-55"))
    Image.fromarray(PIXELS).save("in.png")
    calotype.restore(folder, "in.png", "out.png", provenance=level, display=Told())
    found = calotype.trace("out.png")[0].origin
    if level == "none":
        assert found is None
        assert said == ["calotype: `provenance=none`: nothing in the files says that Calotype made them"]
    else:
        assert said == []
        assert found is not None
        assert (found.marker == Marker("restoration")) == (level == "minimal")
        assert (found.marker.weights == "") == (level == "minimal")


def test_the_label_and_the_options_are_those_that_were_asked_for() -> None:
    flow = generator("flow-matching")
    marker = flow.marker(2, label="3", steps=2, guidance=None)
    assert (marker.label, marker.options) == ("3", {"steps": 2})


def test_damaged_packets_are_read_or_refused(fuzz: int) -> None:
    whole = xmp.marked(camera(f'<i:DigitalSourceType xmlns:i="{IPTC.strip("{}")}">{CODES}digitalCapture</i:DigitalSourceType>'), FULL)
    for read in (xmp.kept, xmp.stated, lambda packet: xmp.marked(packet, RESTORED)):
        for damaged in (*mutations(whole, fuzz, seed=0), b"<a " + b'b="" ' * 170_000 + b"/>", b"<a>" + b"<b/>" * 250_000 + b"</a>"):
            attempt(lambda read=read, damaged=damaged: read(damaged), ValueError)  # type: ignore[misc]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif"])
def test_damaged_pictures_are_traced_or_refused(suffix: str, fuzz: int, gan: str) -> None:
    model = calotype.load(gan)
    calotype.save_grid(model.sample(2), f"a{suffix}", marker=model.marker(2))
    whole = Path(f"a{suffix}").read_bytes()
    for damaged in mutations(whole, fuzz, seed=1):
        Path(f"b{suffix}").write_bytes(damaged)
        attempt(lambda: calotype.trace(f"b{suffix}", model))


def test_packets_that_could_take_a_parser_far_are_refused() -> None:
    entities = camera().replace(b"<x:xmpmeta", b'<!DOCTYPE x [<!ENTITY b "Maker">]><x:xmpmeta', 1).replace(b'"Maker"', b'"&b;"')
    many = camera("<dc:a/>" * (xmp.MOST + 1))
    for packet, tells in ((entities, "document type"), (entities.decode().encode("utf-16"), "document type"), (many, "too many parts")):
        for read in (xmp.kept, xmp.stated):
            with pytest.raises(ValueError, match=tells):
                read(packet)
    assert xmp.kept(camera("<dc:a/>" * 1000)).count(b"<dc:a/>") == 1000
