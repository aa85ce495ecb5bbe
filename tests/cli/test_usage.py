"""What a command says to who leaves a word out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calotype import pictures
from calotype.cli.main import main
from calotype.engine.run import Run
from calotype.models import build
from tests.small import small, spec_of


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
        assert (
            capsys.readouterr().err.splitlines()[-1].startswith(f"calotype: no data set or path '{tmp_path / typed}'{hint}: accepted are")
        )


def test_results_that_nobody_named_replace_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, spec = small("vae"), spec_of("vae")
    Run(tmp_path).export(build(config.model, spec), config, spec, 1, tmp_path / "vae")
    commands = {
        "samples": ["sample", "vae", "--count", "2"],
        "neighbors": ["neighbors", "vae", "--count", "2", "--data", "mnist5k"],
        "reconstruct": ["latents", "reconstruct", "vae", "--images", "mnist5k", "--count", "2"],
        "interpolate": ["latents", "interpolate", "vae", "--seeds", "1", "2"],
        "plane": ["latents", "plane", "vae", "--side", "2"],
    }
    for name, words in commands.items():
        Path(f"{name}.png").write_bytes(b"mine")
        for _ in range(2):
            assert main(words) == 0
        assert Path(f"{name}.png").read_bytes() == b"mine"
        assert sorted(path.name for path in tmp_path.glob(f"{name}*")) == [f"{name}-2.png", f"{name}-3.png", f"{name}.png"]
        assert main([*words, "--out", f"{name}.png"]) == 0  # what is named is meant
        assert Path(f"{name}.png").read_bytes() != b"mine"


def test_a_report_on_a_folder_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (120, 8, 8, 1), np.uint8)
    Path("made").mkdir()
    for i, image in enumerate(pixels):
        pictures.to_picture(image).save(f"made/{i}.png")
    Path("report").mkdir()
    assert main(["evaluate", "made", "--data", "mnist5k"]) == 0
    assert not list(Path("report").iterdir())
    assert Path("report-2/report.html").is_file()


def test_the_help_of_a_restoration_by_a_prior_needs_no_prior(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--prior", "--help"], ["--prior", "run", "-h"], ["--help", "--prior"]):
        with pytest.raises(SystemExit) as ended:
            main(["restore", *words])
        told = capsys.readouterr().out
        assert ended.value.code in (0, None)
        assert "--samples" in told
    with pytest.raises(SystemExit):
        main(["restore", "--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--task", "--samples", "--method"))


@pytest.mark.parametrize("kind", ["reconstruct", "interpolate", "neighbors", "plane"])
def test_the_help_says_where_a_picture_goes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    # what a formatter wraps in parentheses loses its comment, and with it its help
    with pytest.raises(SystemExit):
        main(["latents", kind, "--help"])
    said = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    assert re.search(rf"--out PATH the picture to write, replaced where it exists; else .*{kind}\.png", said)
