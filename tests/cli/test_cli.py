"""The commands as a user types them: what they print, their exit codes, and one line for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calotype.cli import main
from calotype.cli.main import COMMANDS

TINY = ["gan", "--steps", "4", "--model.width", "8", "--train.batch", "8", "--train.threads", "1", "--log.grid", "4", "--device", "cpu"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_train_then_sample_from_the_model_folder_alone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "train", *TINY, "--out", "a", "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["step"], result["complete"]) == (4, True)
    assert Image.open(result["grid"]).size[0] >= 56
    (runs / "a" / "model").rename(runs / "moved")
    code, out, _ = run(capsys, "sample", "moved", "--count", "5", "--seed", "2", "--out", "g.png", "--dir", "d", "--npy", "x.npy", "--json")
    assert code == 0
    images = np.load("x.npy")
    assert images.shape == (5, 28, 28, 1)
    assert images.dtype == np.uint8
    assert [np.array_equal(np.asarray(Image.open(p)), images[i, ..., 0]) for i, p in enumerate(sorted((runs / "d").iterdir()))] == [
        True
    ] * 5
    assert json.loads(out)["written"] == ["g.png", "d", "x.npy"]


def test_runs_are_numbered(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        code, out, _ = run(capsys, "train", *TINY, "--json")
        assert code == 0
        assert json.loads(out)["run"] == f"runs/gan-mnist5k-{number:04d}"


def test_a_run_repeats_from_its_own_config_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", *TINY, "--out", "a")[0] == 0
    assert run(capsys, "train", "--config", "a/config.json", "--out", "b")[0] == 0
    assert (runs / "a/model/model.safetensors").read_bytes() == (runs / "b/model/model.safetensors").read_bytes()
    code, out, _ = run(capsys, "train", "dcgan", "--show-config", "--optimizer.lr", "0.5")
    assert code == 0
    assert json.loads(out)["optimizer"]["lr"] == 0.5
    assert not (runs / "runs").exists()


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["tarin"], "unknown command 'tarin'"),
        (["train", "dcgna"], "did you mean dcgan?"),
        (["train", "gan", "--model.widht", "3"], "--model.widht"),
        (["train", "gan", "--train.batch", "zero"], "--train.batch"),
        (["train", "gan", "--train.batch", "0"], "train.batch"),
        (["train", "gan", "--size", "4"], "data.size"),
        (["train", "gan", "--minutes", "1", "--steps", "2"], "exactly one budget"),
        (["train", "gan", "--data", "mnist5"], "mnist5k"),
        (["train", "gan", "--data", "empty", "--steps", "1"], "empty"),
        (["train", "gan", "--data", "broken", "--steps", "1"], "broken"),
        (["train", "gan", "--steps", "1", "--train.batch", "4501"], "4501"),
        (["train", "gan", "--device", "tpu", "--steps", "1"], "unknown device"),
        (["train", "gan", "--resume", "a"], "one of RECIPE, --resume"),
        (["train", "--resume", "nowhere"], "nowhere is not a run"),
        (["train", "--resume", "empty"], "empty is not a run"),
        (["train", "--config", "nowhere.json"], "nowhere.json"),
        (["train", "--config", "bad.json"], "not valid JSON"),
        (["train", "gan", "--steps", "1", "--out", "occupied"], "not empty"),
        (["train", "gan", "--steps", "1", "--out", "bad.json/run"], "cannot create"),
        (["train", "gan", "--steps", "1", "--model.conditional", "True", "--data", "plain", "--size", "8"], "labels"),
        (["sample", "nowhere"], "holds no trained model"),
        (["sample", "empty"], "holds no trained model"),
        (["sample", "empty", "--count", "0"], "--count"),
        (["sample", "empty", "--out", "no/such/grid.png"], "no folder"),
        (["sample"], "RUN"),
        (["data", "chekc"], "data check"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "prepare", "empty", "out.calotype"], "empty"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str) -> None:
    for folder in ("empty", "occupied", "broken", "plain"):
        (runs / folder).mkdir()
    (runs / "occupied/notes.txt").write_text("mine")
    (runs / "broken/a.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    for index in range(80):
        Image.new("L", (8, 8), index).save(runs / f"plain/{index}.png")
    (runs / "bad.json").write_text("{")
    before = sorted(runs.rglob("*"))
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("calotype: ")]
    assert len(lines) == 1
    assert tells in lines[0]
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["data", "check"], ["data", "prepare"], ["train", "wgan-gp"]])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    try:
        code = main([*words, "--help"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 0
    assert f"calotype {' '.join(words[:1])}".strip() in capsys.readouterr().out


def test_recipes_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "recipes", "--json")
    assert code == 0
    listed = json.loads(out)
    assert {"gan", "dcgan", "lsgan", "wgan", "wgan-gp", "sngan", "hinge", "rpgan"} < listed.keys()
    assert all(listed.values())


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_saves_and_prints_the_command_that_resumes(runs: Path) -> None:
    words = [sys.executable, "-m", "calotype", "train", *TINY, "--steps", "1000000", "--log.checkpoints", "1000000", "--out", "a"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (runs / "a/log.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "calotype train --resume a" in out
    reached = int(out.split("stopped at step ")[1].split(" ")[0].replace(",", ""))
    assert (runs / f"a/checkpoints/step-{reached:09d}/manifest.json").is_file()


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, calotype; assert 'torch' not in sys.modules; import calotype.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
