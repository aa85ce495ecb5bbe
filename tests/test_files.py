"""Writing that no link can divert, one reader of JSON, and text from outside."""

import json
import os
from pathlib import Path

import pytest

from calotype import files
from calotype.data.download import continue_download
from calotype.data.load import _alone
from calotype.engine.log import Log
from calotype.engine.run import Run
from calotype.errors import CalotypeError, DamagedError, UserError, printable
from calotype.files import not_linked, read_json, write_atomic, write_json


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{}",
        b"{",
        b"[1]",
        b"3",
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 9223372036854775808}',
        b'{"a": "\\ud800"}',
        b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a": ' + b'{"a":' * 200_000,
    ],
)
def test_whatever_is_no_json_object_is_damaged_and_says_so_in_one_line(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"x\.json is damaged") as caught:
        read_json(path)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_missing_file_and_a_large_one_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DamagedError, match="cannot be read"):
        read_json(tmp_path / "none.json")
    with pytest.raises(DamagedError, match="cannot be read"):
        read_json(tmp_path)
    monkeypatch.setattr(files, "JSON_BYTES", 20)
    (path := tmp_path / "long.json").write_text(json.dumps({"a": "b" * 20}))
    with pytest.raises(DamagedError, match="more than"):
        read_json(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    value = {"text": "héllo \x1b 😀", "numbers": [1, -(2**63), 2**63 - 1, 0.5, 1e-300], "none": None, "yes": True}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_planted_under_any_guessed_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / f".x.json.{os.getpid()}.tmp").symlink_to(victim)
    (tmp_path / "x.json").symlink_to(victim)
    write_atomic(tmp_path / "x.json", lambda stream: stream.write(b"new"))
    assert victim.read_text() == "safe"
    assert (tmp_path / "x.json").read_text() == "new"
    assert not (tmp_path / "x.json").is_symlink()


def test_a_link_under_a_name_that_is_known_beforehand_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (victim := tmp_path / "victim").write_text("safe")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked for it"))
    names = ("lock", "log.jsonl", "a.part", ".lock")

    def added(path: Path) -> None:
        with open(path, "a", opener=not_linked) as stream:
            stream.write("more")

    def locked(path: Path) -> None:
        with _alone(path.parent, path.name):
            pass

    for target in (victim, tmp_path / "nothing"):
        for name in names:
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).symlink_to(target)
        with pytest.raises(OSError, match="is a link, which is not followed: remove it"):
            added(tmp_path / "lock")
        with pytest.raises(UserError, match=r"lock is a link, which is not followed: remove it"):
            locked(tmp_path / "lock")
        with pytest.raises(CalotypeError, match=r"log.jsonl is a link"):
            Log(tmp_path / "log.jsonl").write({"step": 1})
        with pytest.raises(UserError, match=r"\.lock is a link"):
            Run(tmp_path).lock()
        with pytest.raises(OSError, match=r"a.part is a link"):
            continue_download("http://127.0.0.1:9/a", tmp_path / "a.part")
    assert victim.read_text() == "safe"
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").write_text("kept")
    locked(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == "kept"  # a lock says nothing, so that it need not be emptied
    added(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == "keptmore"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"pipe"):  # not waited for
        added(tmp_path / "pipe")


def test_control_characters_never_reach_a_terminal() -> None:
    hostile = "a\x1b[31m\n\r\t\x07\x9b\u2028\u202e\udc80b"
    shown = printable(hostile)
    assert shown.startswith("a\ufffd[31m")
    assert shown.endswith("b")
    assert shown.isprintable()
    shown.encode()
    assert printable("Größe 图 👩\u200d🔬") == "Größe 图 👩\u200d🔬"


def test_many_values_in_few_bytes_are_refused_before_they_take_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []
    monkeypatch.setattr(files.json, "loads", lambda *args, **more: parsed.append(args))
    for text in (b'{"x": [' + b"[]," * files.JSON_VALUES + b"[]]}", '{"x": [' + "{}," * files.JSON_VALUES + "{}]}"):
        with pytest.raises(ValueError, match="too many lists and objects"):
            files.parse_json(text)
    assert not parsed


def test_a_file_without_end_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2 << 20))
    assert files.read_bytes(tmp_path / "a", 2 << 20) == bytes(2 << 20)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        files.read_bytes(tmp_path / "a", 1 << 20)
    with pytest.raises(OSError, match="it is a folder"):
        files.read_bytes(tmp_path, 1)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(OSError, match="it is no ordinary file"):
                files.read_bytes(path, 1)
