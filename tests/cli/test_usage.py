"""What a command says to who leaves a word out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from calotype.cli.main import main


@pytest.mark.parametrize(
    ("words", "missing", "usage"),
    [
        ("degrade", "SPEC", "calotype degrade SPEC IN OUT"),
        ("degrade gray", "IN", "calotype degrade SPEC IN OUT"),
        ("degrade gray photos", "OUT", "calotype degrade SPEC IN OUT"),
        ("restore", "MODEL", "calotype restore MODEL IN [OUT]"),
        ("restore run", "IN", "calotype restore MODEL IN [OUT]"),
        ("upscale run", "IN", "calotype upscale MODEL IN [OUT]"),
        ("translate run", "IN", "calotype translate MODEL IN [OUT]"),
        ("restore --prior run", "IN", "calotype restore --prior MODEL IN OUT"),
        ("restore --prior run photo.png", "OUT", "calotype restore --prior MODEL IN OUT"),
        ("data check", "SOURCE", "calotype data check SOURCE"),
        ("data prepare", "SOURCE", "calotype data prepare SOURCE OUT"),
        ("data prepare photos", "OUT", "calotype data prepare SOURCE OUT"),
        ("sample", "RUN", "calotype sample RUN"),
        ("latents plane", "RUN", "calotype latents plane RUN"),
        ("evaluate", "SUBJECT", "calotype evaluate SUBJECT"),
    ],
)
def test_a_missing_word_is_shown_among_all_that_the_command_takes(
    capsys: pytest.CaptureFixture[str], words: str, missing: str, usage: str
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"calotype: {missing} is missing: {usage}; calotype ")
    assert said.err.count("\n") == 1


COMMANDS = (
    ["train", "--resume"],
    ["sample"],
    ["evaluate"],
    ["neighbors"],
    ["latents", "plane"],
    ["restore", "IN", "OUT"],
    ["complete", "--images", "mnist5k"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_mistyped_run_gets_one_answer(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dcgan-digits-0001", "vae-photos-0001", "wgan-z-0001", "zebra-0001", "zoo-0001"):
        (Path("runs") / name).mkdir(parents=True)
        (Path("runs") / name / "config.json").touch()
    words = ["restore", "NAME", *command[1:]] if command[0] == "restore" else [*command, "NAME"]
    words = ["complete", "NAME", *command[1:]] if command[0] == "complete" else words
    for typed in ("runs/dcgan-digit-0001", "dcgan-digits-001", "runs/dcgan-digit-0001/model"):
        assert main([typed if word == "NAME" else word for word in words]) == 2
        assert capsys.readouterr().err == f"calotype: {typed} does not exist: did you mean {Path('runs/dcgan-digits-0001')}?\n"
    assert main(["nothing" if word == "NAME" else word for word in words]) == 2
    assert re.match("calotype: nothing does not exist: give .*\n$", capsys.readouterr().err)


def test_no_source_is_proposed_that_would_be_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("empty", "photos1", "photos2", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "photos2" / "a.png").touch()
    (tmp_path / "other" / "a.png").touch()
    (tmp_path / "photo.jpg").touch()
    for typed, hint in (("photos", f" (did you mean {tmp_path / 'photos2'}?)"), ("nonexist", ""), ("empt", "")):
        assert main(["data", "check", str(tmp_path / typed)]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"calotype: no data set or path '{tmp_path / typed}'{hint}: accepted are")
