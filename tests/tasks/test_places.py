"""What is read of folders and archives whatever their files are called, and the names of what is made of them."""

from __future__ import annotations

import os
import random
import signal
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType

import numpy as np
import pytest
from PIL import Image

from calotype import degrade
from calotype.engine.display import Display
from calotype.errors import UserError
from calotype.tasks.batch import Outcome, degrade_files
from calotype.tasks.inputs import open_inputs
from calotype.tasks.places import result_names, targets

SPOIL = degrade.parse("invert")


def write(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 8), value, np.uint8)).save(path, "GIF" if path.suffix == ".gif" else "PNG")


def archive(path: Path, *names: str) -> Path:
    """A zip archive whose members are pictures of these names, as they are."""
    write(path.with_suffix(".png"))
    with zipfile.ZipFile(path, "w") as members:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name
            members.writestr(info, path.with_suffix(".png").read_bytes())
    return path


def made(source: Path, out: Path) -> dict[str, Outcome]:
    with open_inputs(str(source), out) as inputs:
        outcomes = degrade_files(SPOIL, inputs, targets(inputs, out, "replace"), 0, None, Display())
    return {outcome.file: outcome for outcome in outcomes}


@contextmanager
def guarded(seconds: int = 60) -> Iterator[None]:
    """For what might never end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it does not end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_names_that_meet_are_told_apart_and_choosing_them_ends(tmp_path: Path) -> None:
    for value, name in enumerate(("a.gif", "a.png", "a.gif.png", "a.gif.png.png")):
        write(tmp_path / "in" / name, 20 * value)
    with guarded():
        outcomes = made(tmp_path / "in", tmp_path / "out")
    places = {name: outcome.written for name, outcome in outcomes.items()}
    assert {name: place.name for name, place in places.items() if place and name != "a.gif"} == {
        name: name for name in ("a.png", "a.gif.png", "a.gif.png.png")
    }
    assert len(set(places.values())) == 4
    values = [int(np.asarray(Image.open(str(places[name]))).mean()) for name in ("a.gif", "a.png", "a.gif.png", "a.gif.png.png")]
    assert values == [255 - 20 * value for value in range(4)]


def test_every_result_has_a_name_of_its_own_on_every_file_system() -> None:
    rng = random.Random(0)
    parts = ["a", "A", "ä", "a\u0308", "ß", "ss", "x" * 252, "ü" * 126, "\udcff", ".gif", ".png", ".PNG", ".jpg", ".png", " ", "-2"]
    names = sorted({"".join(rng.choices(parts, k=rng.randint(1, 4))) + rng.choice([".gif", ".png"]) for _ in range(2000)})
    names += [f"{rng.choice(names)}/{name}" for name in names[:500]]
    with guarded():
        found = result_names(names)
    assert found.keys() == set(names)
    folded = [name.casefold() for name in found.values()]
    assert len(set(folded)) == len(folded)
    for place in map(PurePosixPath, found.values()):
        assert max(len(os.fsencode(part)) for part in place.parts) <= 255
        assert place.suffix.lower() in (".png", ".jpg")
    folders = {str(folder) for place in found.values() for folder in PurePosixPath(place).parents}
    assert not folders & set(found.values())


def test_a_name_depends_on_the_pictures_and_not_on_their_order_or_how_many_are_asked_for(tmp_path: Path) -> None:
    names = ["b.gif", "b.png", "B.png", "b.gif.png", "c.gif"]
    assert result_names(names) == result_names(names[::-1]) | {name: result_names(names)[name] for name in ("b.png", "B.png")}
    for name in ("a.gif", "a.png"):
        write(tmp_path / name)
    with open_inputs(str(tmp_path), None, 1) as inputs:
        assert targets(inputs, tmp_path / "out") == {"a.gif": tmp_path / "out/a.gif.png"}


def test_a_name_that_would_be_too_long_is_cut(tmp_path: Path) -> None:
    long = "x" * 251
    for name in (f"{long}.gif", f"{long}.png"):
        write(tmp_path / "in" / name)
    outcomes = made(tmp_path / "in", tmp_path / "out")
    assert not any(outcome.error for outcome in outcomes.values())
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert made(tmp_path / "in", tmp_path / "out").keys() == outcomes.keys()
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_folders_are_no_place_for_results(tmp_path: Path) -> None:
    for name in ("in/a.png/x.jpg", "in/a.gif"):
        write(tmp_path / name)
    outcomes = made(tmp_path / "in", tmp_path / "out")
    assert {name: outcome.error for name, outcome in outcomes.items()} == {"a.gif": "", "a.png/x.jpg": ""}
    assert (tmp_path / "out/a.gif.png").is_file()
    assert (tmp_path / "out/a.png/x.jpg").is_file()


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        ("", "(no name)", "a member without a name"),
        (".", ".", "a member without a name"),
        ("a/.", "a/.", "a member without a name"),
        ("../evil.png", "../evil.png", "its name leads out of the archive"),
        ("a/../../evil.png", "a/../../evil.png", "its name leads out of the archive"),
        ("..\\evil.png", "../evil.png", "its name leads out of the archive"),
        ("/tmp/evil.png", "/tmp/evil.png", "its name leads out of the archive"),
        ("\\tmp\\evil.png", "/tmp/evil.png", "its name leads out of the archive"),
        ("C:evil.png", "C:evil.png", "its name leads out of the archive"),
        ("C:\\evil.png", "C:/evil.png", "its name leads out of the archive"),
        ("evil.png\0.txt", "evil.png", "its name holds a NUL"),
        ("d/" * 2500 + "evil.png", "d/" * 2500 + "evil.png", "its name is too long"),
    ],
)
def test_members_whose_name_is_no_place_are_left_out_and_named(tmp_path: Path, name: str, shown: str, reason: str) -> None:
    outcomes = made(archive(tmp_path / "a.zip", name, "good/12:30.png", "./b.png"), tmp_path / "out/deep")
    assert {file: outcome.error for file, outcome in outcomes.items()} == {shown: reason, "good/12:30.png": "", "./b.png": ""}
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "a.png",
        "out/deep/b.png",
        "out/deep/good/12-30.png",
    ]


def test_folders_of_archives_and_names_of_files_are_no_reason_to_complain(tmp_path: Path) -> None:
    with open_inputs(str(archive(tmp_path / "a.zip", "./", "../", "a/", "a\\", "a/b.png"))) as inputs:
        assert (inputs.names, inputs.skipped) == (("a/b.png",), ())
    for name in ("C:a.png", "12:30.png"):
        write(tmp_path / "in" / name)
    with open_inputs(str(tmp_path / "in")) as inputs:
        assert (inputs.names, inputs.skipped) == (("12:30.png", "C:a.png"), ())


def test_names_out_of_an_archive_are_ones_that_every_system_takes(tmp_path: Path) -> None:
    names = ["CON.png", "nul/a.png", "dir./e.png", "dir/e.png", "good/12:30.png", "com1 .gif", "Grün?.png", "x /y .png", "plain.png"]
    outcomes = made(archive(tmp_path / "a.zip", *names), tmp_path / "out")
    places = {name: str(outcome.written.relative_to(tmp_path / "out")) for name, outcome in outcomes.items() if outcome.written}
    assert places == {
        "CON.png": "images-CON.png",
        "nul/a.png": "images-nul/a.png",
        "dir./e.png": "dir/e.png",
        "dir/e.png": "dir/e.png.png",
        "good/12:30.png": "good/12-30.png",
        "com1 .gif": "images-com1 .png",
        "Grün?.png": "Grün-.png",
        "x /y .png": "x/y .png",
        "plain.png": "plain.png",
    }
    own = ["CON.png", "dir./12:30.png"]
    assert result_names(own) == {name: name for name in own}  # which the user's own system holds


def test_links_to_nothing_count_where_they_are_called_pictures(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("nothing")
    (tmp_path / "notes").symlink_to("nothing")
    (tmp_path / "loop").symlink_to(tmp_path)
    with open_inputs(str(tmp_path)) as inputs:
        assert inputs.names == ("a.png",)
        assert [(skipped.name, skipped.reason) for skipped in inputs.skipped] == [("b.png", "a link to nothing")]


def test_folders_that_cannot_be_read_are_named_and_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refusing(place: Path) -> object:
        if place.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(place)

    write(tmp_path / "closed/a.png")
    write(tmp_path / "open/a.png")
    monkeypatch.setattr(os, "scandir", refusing)
    with open_inputs(str(tmp_path)) as inputs:
        assert inputs.names == ("open/a.png",)
        assert [(skipped.name, skipped.reason) for skipped in inputs.skipped] == [
            ("closed/", "the folder cannot be read: Permission denied")
        ]


def test_results_in_the_folder_or_linked_into_it_are_no_pictures(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png")
    write(tmp_path / "in/out/b.png")
    write(tmp_path / "in/out/deep/c.png")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/out/deep")
    (tmp_path / "in/d.png").symlink_to(tmp_path / "in/out/b.png")
    with open_inputs(str(tmp_path / "in"), tmp_path / "in/out") as inputs:
        assert inputs.names == ("a.png",)
    with open_inputs(str(tmp_path / "in"), tmp_path / "in/output") as inputs:
        assert len(inputs.names) >= 4


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_that_are_no_text_are_worked_on_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from calotype.cli import main

    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"\xff\x1b[31m.png")
    write(tmp_path / "in" / name)
    for words in ((str(tmp_path / "in" / name), str(tmp_path / "one") + "/"), (str(tmp_path / "in"), str(tmp_path / "many"))):
        assert main(["degrade", "invert", *words]) == 0
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        (said.out + said.err).encode()
        assert (Path(words[1]) / name).is_file()
        assert main(["degrade", "invert", *words]) == 2
        said = capsys.readouterr()
        assert "\x1b" not in said.err
        said.err.encode()


def test_a_source_whose_name_no_file_can_have_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"), open_inputs("x" * 300):
        pass
