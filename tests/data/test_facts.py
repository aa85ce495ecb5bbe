"""What the header of a prepared file says is believed only where it can be true."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import encode, smooth

from calotype.cli.check_text import describe
from calotype.data import check, load, prepare
from calotype.data.images import Skipped, distinct, fingerprint
from calotype.data.prepared import read_prepared
from calotype.engine.run import Run
from calotype.errors import DamagedError, UserError
from calotype.files import safe_name
from calotype.recipes.choice import of_check
from tests.fuzz import attempt, mutations

PREAMBLE = struct.Struct("<16sQQ32s")
Header = dict[str, Any]


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """A prepared file of twelve labeled pictures and one that could not be used."""
    for n in range(12):
        place = tmp_path / f"set/{'cat' if n % 3 else 'dog'}/{n}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode(smooth(8, 8, n), "PNG"))
    (tmp_path / "set/cat/x.png").write_bytes(b"no")
    prepare(str(tmp_path / "set"), tmp_path / "set")
    return (tmp_path / "set.calotype").read_bytes()


def header_of(data: bytes) -> Header:
    _, place, size, _ = PREAMBLE.unpack_from(data)
    return json.loads(data[place : place + size])  # type: ignore[no-any-return]


def with_header(data: bytes, header: Header | bytes) -> bytes:
    """The file with another header, of which every checksum is right."""
    magic, place, _, _ = PREAMBLE.unpack_from(data)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return PREAMBLE.pack(magic, place, len(text), hashlib.sha256(text).digest()) + data[PREAMBLE.size : place] + text


def with_labels(data: bytes, labels: np.ndarray) -> bytes:
    header = header_of(data)
    start = header["labels"]
    changed = data[:start] + labels.astype("<i8").tobytes() + data[start + 8 * len(labels) :]
    digest = np.frombuffer(data, np.uint8, 32 * len(labels), header["digests"]).reshape(-1, 32)
    header["fingerprint"] = fingerprint(header["shape"], digest, labels, header["classes"])
    return with_header(changed, header)


WRONG: dict[str, Callable[[Header], object]] = {
    f"{field} is {value!r}": lambda h, field=field, value=value: h.update({field: value})  # type: ignore[misc]
    for field, values in {
        "version": (2, "1", None),
        "name": (None, 3, ["a"]),
        "shape": (
            None,
            12,
            [12, 8, 8],
            [12, 8, 8, 3.0],
            ["12", 8, 8, 3],
            [10**12, 8, 8, 3],
            [-12, 8, 8, 3],
            [0, 8, 8, 3],
            [10**30, 8, 8, 3],
        ),
        "classes": (None, "catdog", ["cat", 3], [["cat"], "dog"], ["cat"], [], {}),
        "labels": (None, -8, 10**15, 4096.0, "6400", True),
        "digests": (None, 0, -1, 10**15, 2**70),
        "files": ([0], [0, -1], [0, 10**15], ["a", "b"], 5, [10**6, 1]),
        "fingerprint": (None, 5, "", "0" * 64),
        "holdout": (-1, 13, 2.5, "3", True, [1]),
        "others": (None, -1, "0", 0.5),
        "skipped": (None, 3, "none", [3], [{"name": "a"}], [{"name": 3, "reason": "b"}], [["a", "b"]]),
        "tiles": ([], 3, [12, 12], [5, 3, 12], [0, 12], [5], [5, "12"], [5, 13]),
    }.items()
    for value in values
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_fields_are_found(whole: bytes, tmp_path: Path, what: str) -> None:
    header = header_of(whole)
    WRONG[what](header)
    (tmp_path / "a.calotype").write_bytes(with_header(whole, header))
    for read in (load, check):
        with pytest.raises(UserError, match=r"a\.calotype is damaged: .*; write it again"):
            read(str(tmp_path / "a.calotype"))


@pytest.mark.parametrize("field", ["version", "name", "shape", "classes", "labels", "digests", "fingerprint", "holdout", "skipped"])
def test_missing_fields_are_found(whole: bytes, tmp_path: Path, field: str) -> None:
    header = header_of(whole)
    del header[field]
    (tmp_path / "a.calotype").write_bytes(with_header(whole, header))
    with pytest.raises(DamagedError, match=f"wrong in {field}"):
        read_prepared(tmp_path / "a.calotype")


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b"{", b"[" * 100_000, b'{"version": 1e999}', b"\xff\xfe", b'"' + b"\\ud800" * 9 + b'"'])
def test_a_header_that_is_none(whole: bytes, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.calotype").write_bytes(with_header(whole, text))
    with pytest.raises(DamagedError, match="its header is"):
        read_prepared(tmp_path / "a.calotype")


def test_labels_beyond_the_classes(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.calotype"
    for labels in (np.full(12, 2), np.full(12, -1), np.full(12, 2**40)):
        path.write_bytes(with_labels(whole, labels))
        with pytest.raises(DamagedError, match="classes that it does not have"):
            read_prepared(path)
    path.write_bytes(with_labels(whole, np.arange(12) % 2))
    assert load(str(path), holdout=0).train.labels.tolist() == [0, 1] * 6  # type: ignore[union-attr]


def test_files_of_earlier_releases_open(whole: bytes, tmp_path: Path) -> None:
    """The oldest ones had no names of files, no number of others and no tiles, and entries that nobody reads any more are no harm."""
    header = header_of(whole)
    _, place, _, _ = PREAMBLE.unpack_from(whole)
    start, length = header.pop("files")
    del header["others"]
    old = whole[:start] + whole[place:]
    old = PREAMBLE.pack(whole[:16], place - length, *PREAMBLE.unpack_from(whole)[2:]) + old[PREAMBLE.size :]
    (tmp_path / "old.calotype").write_bytes(with_header(old, header | {"from": "somewhere"}))
    before, now = load(str(tmp_path / "old.calotype")), load(str(tmp_path / "set.calotype"))
    assert before.fingerprint == now.fingerprint
    assert before.train.skipped == now.train.skipped == (Skipped("cat/x.png", now.train.skipped[0].reason),)
    assert before.train.files == ()


def test_names_are_never_paths(whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = ("mnist5k-0001/../../../../escaped", "..", ".", "", "/etc", "\\\\host\\c", ".hidden")
    for name in (*paths, "a\nb\x1b[2K", "nul", "x" * 5000, "a\0b"):
        (tmp_path / "a.calotype").write_bytes(with_header(whole, header_of(whole) | {"name": name}))
        found = load(str(tmp_path / "a.calotype")).train.name
        run = Run.create(None, f"dcgan-{found}")
        assert run.folder.parent == Path("runs")
        assert len(found) <= 80
        assert Run.create(None, name).folder.parent == Path("runs")
    assert {path.name for path in tmp_path.iterdir()} == {"a.calotype", "set", "set.calotype", "runs"}
    assert all(os.path.normpath(path) == str(path) for path in Path("runs").iterdir())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gan-mnist5k", "gan-mnist5k"),
        ("my_recipe.2", "my_recipe.2"),
        ("Größe", "Gr-e"),
        ("CON", "images-CON"),
        ("com1.tar.gz", "images-com1.tar.gz"),
        ("comet", "comet"),
        ("a/../../b", "a-b"),
        (". . .", "images"),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name
    assert safe_name(name) == name


@pytest.mark.parametrize("classes", [["\x1b[31mcat", "\x07[31mcat"], ["\udcff[31mcat", "\udcfe[31mcat"]])
def test_text_in_a_header_is_made_printable(whole: bytes, tmp_path: Path, classes: list[str]) -> None:
    header = header_of(whole)
    header["classes"] = classes
    header["skipped"] = [{"name": "a\nb", "reason": "\x1b]0;title\x07"}]
    digest = np.frombuffer(whole, np.uint8, 32 * 12, header["digests"]).reshape(-1, 32)
    labels = np.frombuffer(whole, "<i8", 12, header["labels"])
    header["fingerprint"] = fingerprint(header["shape"], digest, labels, header["classes"])
    (tmp_path / "a.calotype").write_bytes(with_header(whole, header))
    train = load(str(tmp_path / "a.calotype")).train
    assert train.classes == ("\ufffd[31mcat", "\ufffd[31mcat (2)")
    assert train.skipped == (Skipped("a\ufffdb", "\ufffd]0;title\ufffd"),)
    found = check(str(tmp_path / "a.calotype"))
    lines = "\n".join(describe(found, of_check(found)))
    assert "\x1b" not in lines
    assert "\x07" not in lines


def test_a_long_list_of_what_was_left_out_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.data.facts.BYTES", 16 * 1000)
    (tmp_path / "set").mkdir()
    for n in range(100):
        (tmp_path / f"set/{n:03}.png").write_bytes(b"no" if n else encode(smooth(8, 8), "PNG"))
    skipped = prepare(str(tmp_path / "set"), tmp_path / "a").skipped
    assert 10 < len(skipped) < 50
    assert skipped[-1].name == f"{100 - len(skipped)} more files"


def test_distinct_names_stay_distinct() -> None:
    assert distinct(["a", "b"]) == ("a", "b")
    assert distinct(["\x00", "\ufffd", "\x01", "\ufffd (2)"]) == ("\ufffd (3)", "\ufffd", "\ufffd (4)", "\ufffd (2)")
    assert distinct(["a", "a", "a (2)", "a"]) == ("a", "a (3)", "a (2)", "a (4)")
    assert len(set(distinct("\x01" * (n % 7) for n in range(3000)))) == 3000


def test_fuzz_prepared_files(whole: bytes, tmp_path: Path, fuzz: int) -> None:
    path = tmp_path / "a.calotype"

    def read() -> None:
        split = load(str(path))
        assert len(split.train) + len(split.holdout) > 0
        check(str(path))

    for data in mutations(whole, fuzz, 0):
        path.write_bytes(data)
        attempt(read, UserError)
    text = json.dumps(header_of(whole)).encode()
    for header in mutations(text, fuzz, 1):
        path.write_bytes(with_header(whole, header))
        attempt(read, UserError)
