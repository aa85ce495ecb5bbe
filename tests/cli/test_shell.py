"""What surrounds a command: streams that are closed, full or poor in characters, folders that are gone, and errors nobody foresaw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from calotype.cli import main
from calotype.errors import UserError
from calotype.files import cache_folder, expanded
from tests.cli.test_cli import TINY

MAIN = sys.modules["calotype.cli.main"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="names and streams of POSIX")


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line for the shell, in which $C is the command."""
    command = f"{sys.executable} -m calotype"
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "C": command, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=120,
    )


@POSIX
@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("$C recipes 2>&-", 0, ""),
        ("$C recipes >&-", 0, ""),
        ("$C recipes <&- >&- 2>&-", 0, ""),
        ("$C nope 2>&-", 2, ""),
        ("$C nope >&-", 2, "calotype: unknown command 'nope'"),
        ("$C recipes >/dev/full", 1, "No space left on device"),
        ("$C evaluate 'n\u00f6pe'", 2, "calotype: n\\xf6pe does not exist"),
        ("mkdir x; cd x; rmdir ../x; $C recipes", 2, "the working folder is gone"),
    ],
)
def test_streams_and_folders_that_are_not_there(tmp_path: Path, line: str, code: int, says: str) -> None:
    ended = shell(line, tmp_path, PYTHONIOENCODING="ascii", PYTHONPATH=os.pathsep.join(sys.path))
    assert ended.returncode == code
    said = ended.stderr.decode()
    assert says in said
    assert len(said.splitlines()) == (1 if says else 0)


@POSIX
def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """Else what a library writes to stream 2 would go into a file that was opened later."""
    code = "from calotype.cli.main import main; main(['-V']); stream = open('x', 'wb'); raise SystemExit(stream.fileno() < 3)"
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-', tmp_path, PYTHONPATH=os.pathsep.join(sys.path)).returncode == 0


@POSIX
def test_a_run_whose_name_is_not_utf8_is_trained_judged_and_resumed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"r\xff")
    assert main(["train", *TINY, "--out", name, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["status"] in ("PASS", "WARN", "FAIL", "CANNOT TELL")
    assert (runs / name / "report" / "report.html").read_text(encoding="utf-8")
    assert main(["train", "--resume", name, "--steps", "6"]) == 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err


def test_an_error_that_nobody_foresaw_is_one_line_and_its_trace_is_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(words: list[str]) -> int:
        raise ZeroDivisionError("of\nlines")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(MAIN, "_command", broken)
    assert main(["recipes", "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    (trace,) = tmp_path.iterdir()
    assert str(trace) in err
    assert "ZeroDivisionError: of" in err
    assert "in broken" in trace.read_text()
    assert json.loads(out) == {"error": err.removeprefix("calotype: ").rstrip("\n"), "exit_code": 1}
    assert main(["recipes"]) == 1
    assert str(trace) in capsys.readouterr().err  # one file for each place
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    monkeypatch.setattr("calotype.errors._TRACES", {})
    assert main(["recipes"]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "test_shell.py:" in err
    assert out == ""


@pytest.mark.parametrize(("error", "code", "says"), [(MemoryError(), 1, "not enough memory"), (KeyboardInterrupt(), 130, "stopped")])
def test_other_ends(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(MAIN, "_command", broken)
    assert main(["recipes"]) == code
    assert says in capsys.readouterr().err


def test_with_json_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere\x1b[2K\n", "--json"]) == 2
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["exit_code"] == 2
    assert err == f"calotype: {said['error']}\n"
    assert "nowhere\ufffd[2K" in err


def test_home_folders_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert expanded("~") == Path.home()
    assert expanded("a/~b") == Path("a/~b")
    for name in ("~nosuchuser/x", "a\0b"):
        with pytest.raises(UserError):
            expanded(name)
    monkeypatch.setenv("CALOTYPE_CACHE", "~/c")
    assert cache_folder() == Path.home() / "c"
    monkeypatch.delenv("CALOTYPE_CACHE")

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="set CALOTYPE_CACHE"):
        cache_folder()
