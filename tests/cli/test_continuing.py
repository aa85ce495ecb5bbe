"""Folders that are worked on in several goes: what is there is left alone, what was stopped says how to go on."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.cli import main
from calotype.data.decode import UnusableError
from calotype.engine.display import Display
from calotype.errors import UserError
from calotype.tasks import batch, inputs, restoring
from calotype.tasks.batch import Interrupted
from calotype.tasks.restoring import Places, most_of
from calotype.types import Source
from tests.cli.exported import export

COMMANDS = ["restore denoiser", "upscale upscaler", "translate translator", "degrade noise:25"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def here(runs: Path) -> Path:
    """Five pictures, and a model for each command."""
    export("denoise", runs / "denoiser", 3, Source(3, 1, ("sigma",), "noise:0-55"))
    export("upscale", runs / "upscaler", 3, Source(3, 2, (), "downsample:2"))
    export("cyclegan", runs / "translator", 3, Source(3, paired=False))
    (runs / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 24, 30, 3)).astype(np.uint8)
    for index, one in enumerate(pixels):
        Image.fromarray(one).save(runs / f"in/{index}.png")
    return runs


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_there_is_counted_and_left_alone(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    words = command.split()
    assert run(capsys, *words, "in", "whole")[0] == 0
    whole = {path.name: path.read_bytes() for path in Path("whole").iterdir()}
    assert run(capsys, *words, "in", "out", "--count", "2")[0] == 0
    Path("out/0.png").write_bytes(b"mine")
    Path("out/3.png").write_bytes(b"mine")
    code, out, err = run(capsys, *words, "in", "out")
    assert (code, out) == (2, "")
    assert "--overwrite to replace it, or --skip-existing to go on with the others" in err
    code, out, _ = run(capsys, *words, "in", "out", "--skip-existing")
    assert (code, out) == (0, "2 pictures in out; 3 results there already\n")
    mine = {"0.png": b"mine", "3.png": b"mine"}
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == whole | mine  # what is random included
    code, out, _ = run(capsys, *words, "in", "out", "--skip-existing")
    assert (code, out) == (0, "5 results there already, in out: nothing else was left to do\n")
    facts = json.loads(run(capsys, *words, "in", "out", "--skip-existing", "--json")[1])
    assert (facts["files"], facts["failed"], facts["existing"]) == ([], [], [f"{index}.png" for index in range(5)])


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        ("restore denoiser in out --skip-existing --overwrite", "give one of them"),
        ("degrade gray in out --skip-existing --overwrite", "give one of them"),
        ("restore denoiser in out --skip-existing --compare look.png", "leave it out with --score, --truth and --compare"),
        ("upscale upscaler in out --skip-existing --score", "leave it out with --score, --truth and --compare"),
        ("restore denoiser in out --skip-existing --truth in", "leave it out with --score, --truth and --compare"),
        ("restore denoiser in --skip-existing --degrade noise:9 --score", "--skip-existing goes with OUT"),
        ("restore denoiser in in --skip-existing", "one of the pictures to work on, which are never overwritten"),
        ("degrade gray in in --skip-existing", "one of the pictures to work on, which are never overwritten"),
    ],
)
def test_what_contradicts_it_is_told(here: Path, capsys: pytest.CaptureFixture[str], words: str, tells: str) -> None:
    before = sorted(here.rglob("*"))
    code, out, err = run(capsys, *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert tells in err
    assert sorted(here.rglob("*")) == before


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C while the picture of this number is written."""
    save, count = batch.save_picture, [0]

    def stopping(*given: object, **more: object) -> object:
        if count[0] == at:
            raise KeyboardInterrupt
        count[0] += 1
        return save(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "save_picture", stopping)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_stopped_says_how_to_go_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words = [*command.split(), "in", "a folder"]
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        code, out, err = run(capsys, *words, "--seed", "3")
    said = err.splitlines()[-1]
    goes_on = f"calotype {command} in 'a folder' --seed 3 --skip-existing"
    assert (code, out) == (130, "")
    assert said == f"calotype: stopped: 3 of 5 pictures done, in a folder; this goes on: {goes_on}"
    assert sorted(path.name for path in Path("a folder").iterdir()) == ["0.png", "1.png", "2.png"]
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        code, _, err = run(capsys, *shlex.split(goes_on)[1:])
    assert (code, err.splitlines()[-1]) == (130, f"calotype: stopped: 4 of 5 pictures done, in a folder; this goes on: {goes_on}")
    code, out, _ = run(capsys, *shlex.split(goes_on)[1:])
    assert (code, out) == (0, "a folder/4.png: " + ("60x48" if "upscale" in command else "30x24") + "; 4 results there already\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("restore denoiser in out --overwrite", "stopped: 2 of 5 pictures done, in out; the same command does all of them again"),
        ("restore denoiser in out --truth in", "stopped: 2 of 5 pictures done, in out; the same command does all of them again"),
        ("degrade gray in out --overwrite", "stopped: 2 of 5 pictures done, in out; the same command does all of them again"),
        ("restore denoiser in/0.png out.png", "stopped: 0 of 1 picture done"),
    ],
)
def test_what_cannot_go_on_says_what_was_done(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    interrupt(monkeypatch, 0 if "0.png" in words else 2)
    code, _, err = run(capsys, *words.split())
    assert (code, err.splitlines()[-1]) == (130, f"calotype: {said}")
    assert not Path("out.png").exists()
    if "0.png" in words:
        facts = json.loads(run(capsys, *words.split(), "--json")[1])
        assert facts == {"error": said, "exit_code": 130}


def test_python_skips_and_is_stopped_alike(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(**options: bool) -> list[str]:
        outcomes = calotype.restore("denoiser", "in", "out", display=Display(), **options)  # type: ignore[arg-type]
        return [outcome.file for outcome in outcomes if outcome.written]

    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        with pytest.raises(Interrupted) as stop:
            made()
    assert ([outcome.file for outcome in stop.value.outcomes], stop.value.total) == (["0.png", "1.png"], 5)
    assert made(skip_existing=True) == ["2.png", "3.png", "4.png"]
    assert made(skip_existing=True) == []
    assert len(made(overwrite=True)) == 5
    with pytest.raises(UserError, match="give one of them"):
        made(overwrite=True, skip_existing=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_picture_that_is_too_large_names_the_option_that_allows_it(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    words = command.split()
    code, _, err = run(capsys, *words, "in", "out", "--max-megapixels", "0.0007")
    assert code == 1
    assert err.count("30x24 pixels are more than the limit of 700") == err.count("or allow more with --max-megapixels") == 5
    code, _, err = run(capsys, *words, "in/0.png", "out.png", "--max-megapixels", "0.0007")
    assert code == 2
    assert "allow more with --max-megapixels" in err.splitlines()[-1]
    assert run(capsys, *words, "in", "more", "--max-megapixels", "0.00072")[0] == 0
    code, _, err = run(capsys, *words, "in", "none", "--max-megapixels", "0")
    assert (code, err.count("\n"), "--max-megapixels" in err) == (2, 1, True)


def test_pictures_in_tiles_may_be_larger_than_those_that_are_spoiled_whole(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert most_of(Places("in"), degraded=False) == 400_000_000 > most_of(Places("in"), degraded=True) == 2**26
    assert most_of(Places("in", megapixels=500), degraded=True) == 500_000_000
    monkeypatch.setattr(restoring, "MEGAPIXELS", 0.0007)
    monkeypatch.setattr(restoring, "MAX_PIXELS", 500)
    for more, limit in (([], "700"), (["--degrade", "noise:9"], "500"), (["--mask", "in/0.png"], "700")):
        assert f"more than the limit of {limit}" in run(capsys, "restore", "denoiser", "in/0.png", "out.png", *more)[2]
    with pytest.raises(UserError, match="the limit of 700"):
        calotype.restore("denoiser", "in/0.png", "out.png", display=Display())
    assert calotype.restore("denoiser", "in/0.png", "out.png", max_megapixels=0.001, display=Display())[0].written


def test_files_may_be_as_large_as_their_pictures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 100)
    for source in ("in/0.png", "in"):
        with inputs.open_inputs(source, most=720) as few:
            assert few.picture("0.png").size == (24, 30)
        with inputs.open_inputs(source, most=100) as few, pytest.raises(UnusableError, match="larger than the limit"):
            few.picture("0.png")
