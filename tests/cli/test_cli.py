"""The commands as a user types them: what they print, their exit codes, and one line for every mistake."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calotype.cli import main, sample
from calotype.cli.main import COMMANDS
from calotype.config import Training, to_json
from calotype.engine.run import Run
from calotype.errors import CalotypeError
from calotype.models import build
from calotype.recipes import named
from calotype.types import ImageSpec
from scripts import demo
from tests.small import TINY_GAN, small

TINY = [
    *TINY_GAN,
    "--train.batch",
    "8",
    "--train.threads",
    "1",
    "--log.grid",
    "4",
    "--device",
    "cpu",
]


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


def test_a_run_goes_on_from_the_command_that_is_printed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", *TINY, "--report", "False", "--out", "a b")[0] == 0
    quiet = ("--report", "False", "--json")
    assert run(capsys, "train", "--resume", "a b", "--steps", "4")[0] == 2
    code, _, err = run(capsys, "train", "--resume", "a b", "--steps", "2")
    assert code == 2
    assert "complete at step 4, and its budget counts from the beginning: to go on, calotype train --resume 'a b' --more-minutes 1" in err
    code, out, _ = run(capsys, "train", "--resume", "a b", "--more-steps", "3", *quiet)
    assert (code, json.loads(out)["step"]) == (0, 7)
    code, out, _ = run(capsys, "train", "--resume", "a b", "--more.epochs=0.003", *quiet)
    assert (code, json.loads(out)["step"]) == (0, 9)
    code, out, _ = run(capsys, "train", "--resume", "a b", "--more-minutes", "1e-9", *quiet)
    assert (code, json.loads(out)["step"]) == (0, 10)
    for words, tells in (
        (("--more-steps", "1", "--steps", "20"), "--more-steps goes on from where the run is, and --steps counts from its beginning"),
        (("--more-steps", "1", "--steps", "10"), "--more-steps goes on from where the run is, and --steps counts from its beginning"),
        (("--more-steps", "1", "--more-minutes", "1"), "exactly one budget, got --more-minutes and --more-steps"),
        (("--more-steps", "0"), "steps: give a whole number from 1"),
        (("--minutes", "1", "--steps", "20"), "exactly one budget, got --minutes and --steps"),
        (("--optimizer.lr", "1", "--more-steps", "1"), "keeps its settings (optimizer.lr"),
    ):
        code, _, err = run(capsys, "train", "--resume", "a b", *words)
        assert (code, tells in err) == (2, True), err


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
        (["train", "DCGAN"], "did you mean dcgan?"),
        (["train", "vae", "--model.widht", "3"], "unknown option --model.widht: did you mean --model.width?"),
        (["train", "gan", "--model.generator.widht", "3"], "unknown option --model.generator.widht: did you mean --model.generator.width?"),
        (["train", "gan", "--model.generator.network", "vae"], "--model.generator.network: 'vae' is none of mlp, dcgan"),
        (["train", "gan", "--optimizer.lrr", "3"], "unknown option --optimizer.lrr: did you mean --optimizer.lr?"),
        (["train", "gan", "--stepz=3", "--seed", "2"], "unknown option --stepz: did you mean --steps?"),
        (["train", "gan", "--lr", "3"], "unknown option --lr: did you mean --optimizer.lr?"),
        (["train", "denoise", "--data.turn", "True"], "unknown option --data.turn: did you mean --data.rot90?"),
        (["train", "gan", "--zzz", "4"], "unknown option --zzz: calotype train --help lists the options"),
        (["train", "gan", "-x"], "unknown option -x: calotype train --help lists the options"),
        (["train", "gan", "--steps", "1.5"], "--steps: '1.5' is not a whole number"),
        (["train", "gan", "--optimizer.lr", "fast"], "--optimizer.lr: 'fast' is not a number"),
        (["train", "gan", "--optimizer.betas", "0.5", "x"], "--optimizer.betas cannot take '0.5' 'x'"),
        (["train", "gan", "--optimizer.betas", "0.5"], "--optimizer.betas needs 2 values"),
        (["train", "gan", "--model.conditional", "yes"], "--model.conditional: 'yes' is neither True nor False"),
        (["train", "gan", "--channels", "2"], "--channels: '2' is none of 1, 3"),
        (["train", "gan", "--model.loss", "hing"], "(did you mean hinge?)"),
        (["train", "gan", "--train.batch"], "--train.batch needs a value"),
        (["train", "--show-config", "dcgan"], "'dcgan' belongs to no option; RECIPE comes first"),
        (["train", "gan", "--train.batch", "zero"], "--train.batch"),
        (["train", "gan", "--train.batch", "0"], "train.batch"),
        (["train", "gan", "--size", "4"], "--size: give a whole number from 8 to 1,024, not 4"),
        (["train", "gan", "--steps", "1", "--train.threads", "5000"], "processor cores, not 5000"),
        (["train", "gan", "--minutes", "1", "--steps", "2"], "exactly one budget"),
        (["train", "gan", "--minutes", "4", "--steps", "2"], "exactly one budget, got --minutes and --steps"),  # 4 is the recipe's
        (["train", "gan", "--train.epochs=2", "--train.minutes=4.0"], "exactly one budget, got --minutes and --epochs"),
        (["train", "--config", "good.json", "--epochs", "1", "--steps", "3"], "exactly one budget, got --steps and --epochs"),
        (["train", "gan", "--epochs", "1e8"], "--epochs 1e+08 would take 7.03e+09 steps, and a run takes 999,999,999 at most: give less"),
        (["train", "gan", "--steps", "1000000000"], "--steps: give a whole number from 1 to 999,999,999, not 1000000000"),
        (["train", "gan", "--more-steps", "3"], "--more-steps continues a run: name it with --resume RUN"),
        (["train", "--more.minutes", "3"], "--more-minutes continues a run: name it with --resume RUN"),
        (["train", "gan", "--data", "mnist5"], "mnist5k"),
        (["train", "gan", "--data", "empty", "--steps", "1"], "empty"),
        (["train", "gan", "--data", "broken", "--steps", "1"], "broken"),
        (["train", "gan", "--steps", "1", "--train.batch", "4501"], "4,501"),
        (["train", "gan", "--device", "tpu", "--steps", "1"], "unknown device"),
        (["train", "gan", "--resume", "a"], "one of RECIPE, --resume"),
        (["train", "gan", "--preset", "huge"], "--preset"),
        (["train", "classifier", "--preset", "published"], "classifier has no published preset"),
        (["train", "--config", "a.json", "--preset", "published"], "--preset belongs to a recipe"),
        (["train", "--resume", "nowhere"], "nowhere does not exist: give the folder"),
        (["train", "--resume", "empty"], "empty is not a run"),
        (["train", "--resume", 300 * "x"], "cannot be read (File name too long)"),
        (["train", "gan", "--steps", "1", "--out", 300 * "x"], "cannot be read (File name too long)"),
        (["train", "gan", "--steps", "1", "--out", "pipe"], "--out pipe is a file"),
        (["train", "--config", "nowhere.json"], "nowhere.json"),
        (["train", "--config", "bad.json"], "--config bad.json is no configuration: line 1 is not valid JSON"),
        (["train", "--config", "deep.json"], "--config deep.json is no configuration: it is nested too deeply"),
        (["train", "--config", "digits.json"], "--config digits.json is no configuration: it holds a number of 5000 digits"),
        (["train", "--config", "/dev/zero"], "cannot read --config /dev/zero: it is no ordinary file"),
        (["train", "--config", "pipe"], "cannot read --config pipe: it is no ordinary file"),
        (["train", "--config", "empty"], "cannot read --config empty: it is a folder"),
        (["train", "gan", "--steps", "1", "--out", "occupied"], "--out occupied is not empty: choose a new"),
        (["train", "gan", "--steps", "1", "--out", "bad.json"], "--out bad.json is a file: choose another"),
        (["train", "gan", "--steps", "1", "--out", "bad.json/run"], "cannot create"),
        (["sample", "nowhere"], "nowhere does not exist: give a run folder"),
        (["complete", "nowhere"], "--images is missing; calotype complete --help"),
        (["complete", "nowhere", "--images", "mnist5k"], "nowhere does not exist: give a run folder"),
        (["sample", "empty"], "holds no trained model"),
        (["sample", "empty", "--count", "0"], "--count"),
        (["sample", "empty", "--out", "no/such/grid.png"], "no folder"),
        (["sample", "empty", "--seed", "-1"], "--seed: give a whole number from 0 to 9,223,372,036,854,775,807, not -1"),
        (["sample", "empty", "--count", "many"], "--count: 'many' is not a whole number"),
        (["sample", "empty", "--out", "empty"], "cannot write empty: it is a folder"),
        (["sample", "empty", "--out", "bad.json/x.png"], "there is no folder bad.json"),
        (["sample", "empty", "--out", "x.foo"], "unknown suffix .foo, choose one of .png"),
        (["sample", "empty", "--out", 300 * "x"], "File name too long"),
        (["sample", "empty", "--npy", "empty"], "cannot write empty: it is a folder"),
        (["sample", "empty", "--npy", "x.png"], "unknown suffix .png, choose .npy"),
        (["sample", "empty", "--npy", "pipe"], "cannot write pipe: it is a device"),
        (["sample", "empty", "--dir", "bad.json"], "cannot write into bad.json: it is a file"),
        (["sample", "empty", "--dir", "bad.json/x"], "bad.json is a file, not a folder"),
        (["sample", "empty", "--dir", "taken"], "taken holds 000007.png already"),
        (["sample", "empty", "--option"], "--option needs NAME=VALUE"),
        (["sample", "empty", "--option", "steps"], "not 'steps'"),
        (["sample", "empty", "--option", "=3"], "not '=3'"),
        (["sample", "empty", "--option", "steps=2", "--option", "guidance=2"], "give all in one"),
        (["sample", "empty", "--option", "steps=2", "steps=3"], "steps twice"),
        (["sample", "empty", "--json=3"], "--json takes no value"),
        (["sample"], "RUN is missing"),
        (["data", "chekc"], "choose check or prepare"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "prepare", "empty", "out.calotype"], "empty"),
        (["data", "prepare", "plain", "z"], "z.calotype: it is a folder"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str) -> None:
    for folder in ("empty", "occupied", "broken", "plain", "taken", "z.calotype"):
        (runs / folder).mkdir()
    (runs / "taken/000007.png").write_text("mine")
    os.mkfifo(runs / "pipe")
    (runs / "deep.json").write_text("[" * 100_000)
    (runs / "digits.json").write_text('{"a": ' + "9" * 5000 + "}")
    (runs / "occupied/notes.txt").write_text("mine")
    (runs / "broken/a.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    for index in range(80):
        Image.new("L", (8, 8), index).save(runs / f"plain/{index}.png")
    (runs / "bad.json").write_text("{")
    (runs / "good.json").write_text(to_json(replace(named("gan"), train=Training(steps=3))))
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


@pytest.mark.skipif(not os.access("/proc", os.F_OK), reason="needs a folder that nobody can write, not even root")
@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["sample", "m", "--out", "/proc/x.png"], "cannot write /proc/x.png: the folder /proc cannot be written"),
        (["sample", "m", "--npy", "/proc/x.npy"], "cannot write /proc/x.npy: the folder /proc cannot be written"),
        (["sample", "m", "--dir", "/proc/x/y"], "cannot write into /proc/x/y: the folder /proc cannot be written"),
        (["train", "gan", "--steps", "1", "--out", "/proc/x"], "cannot create /proc/x: the folder /proc cannot be written"),
        (["data", "prepare", "mnist5k", "/proc/x"], "/proc/x.calotype: the folder /proc cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(
    runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str
) -> None:
    exported(runs / "m")
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert tells in err
    assert "sampling" not in err
    assert "no space" not in err


def test_options_of_the_model_are_told_from_good_ones_before_anything_is_written(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(runs / "m")
    code, _, err = run(capsys, "sample", "m", "--count", "2", "--dir", "d", "--option", "steps=2.5")
    assert (code, err) == (2, "calotype: sampling option steps: give a whole number from 1 to 10,000, not 2.5\n")
    assert not (runs / "d").exists()
    code, out, _ = run(capsys, "sample", "m", "--count", "2", "--dir", "d/e", "--option", "steps=1", "guidance=0.5", "--json")
    assert (code, json.loads(out)["written"]) == (0, ["d/e"])
    code, out, err = run(capsys, "sample", "m", "--count", "1", "--out", "grid", "--npy", "x", "--option", "steps=1")
    assert (code, out) == (0, "1 image in grid.png, x.npy\n")
    assert err.splitlines()[0].split() == ["sampling", "0/1", "..."]
    assert err.splitlines()[1].split() == ["sampling", "1/1", "done"]
    assert Image.open("grid.png").format == "PNG"
    before = (runs / "d/e/000001.png").read_bytes()
    assert run(capsys, "sample", "m", "--count", "2", "--dir", "d/e", "--seed", "1", "--option", "steps=1")[0] == 2
    assert (runs / "d/e/000001.png").read_bytes() == before


def test_a_picture_too_large_for_its_format_is_said_in_one_line(runs: Path) -> None:
    wide = np.zeros((1, 1, 17_000, 1), np.uint8)
    with pytest.raises(CalotypeError, match=r"grid.webp: a picture of 1 image is more than its format holds"):
        sample.write_grid(Path("grid.webp"), wide)
    assert list(runs.iterdir()) == []
    sample.write_grid(Path("grid.png"), wide)
    assert Image.open("grid.png").width == 17_004


def exported(folder: Path) -> None:
    """A folder that holds an untrained model."""
    config = small("flow-matching", width=8, embedding=8)
    spec = ImageSpec(8, 1, ("a", "b"))
    folder.mkdir()
    Run(folder).export(build(config.model, spec), config, spec, 0)


def test_only_a_run_is_offered_to_be_continued(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", *TINY, "--report", "False", "--out", "a b")[0] == 0
    code, _, err = run(capsys, "train", *TINY, "--out", "a b")
    assert code == 2
    assert "--resume 'a b'" in err
    (runs / "a b/config.json").unlink()
    code, _, err = run(capsys, "train", *TINY, "--out", "a b")
    assert code == 2
    assert "--resume" not in err


def test_truth_may_be_written_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    for word, truth in (("true", True), ("TRUE", True), ("False", False), ("false", False)):
        _, out, _ = run(capsys, "train", "gan", "--model.conditional", word, "--show-config")
        assert json.loads(out)["model"]["conditional"] is truth


def test_help_says_what_an_option_takes_and_nothing_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["sample"], ["train", "gan"], ["train", "flow-matching"], ["data", "prepare"]):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        out = capsys.readouterr().out
        assert "{None" not in out
        assert "INT" in out
    text = " ".join(out.split())
    assert "its name ends in .calotype" in text


def test_the_demo_prints_commands_that_work_as_typed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", *TINY, "--report", "False", "--out", "runs/demo")[0] == 0
    for _ in range(2):  # the run of before, and one that was interrupted
        assert demo.demo(Path("runs/demo")) == 0
        out = capsys.readouterr().out
        line = next(line for line in out.splitlines() if line.startswith("  draw "))
        name, command, *rest = shlex.split(line)
        assert (name, rest[0]) == ("draw", "sample")
        assert Path(shutil.which(command) or "").samefile(Path(sys.executable).with_name("calotype"))
        (checkpoint,) = sorted((runs / "runs/demo/checkpoints").iterdir())[-1:]
        shutil.rmtree(checkpoint)
    near = demo.command(runs / ".venv/bin/python")
    assert near == ".venv/bin/calotype"


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


def test_a_dry_run_says_what_a_training_would_take_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "resnet", "--model.width", "4", "--train.batch", "8", "--train.threads", "1", "--dry-run"]
    assert main([*words, "--epochs", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["steps"], facts["batch"], facts["threads"]) == (1125, 8, 1)
    assert facts["minutes"] == pytest.approx(1125 * facts["seconds_per_step"] / 60, abs=0.006)
    assert facts["seconds_per_step"] > 0
    assert list(tmp_path.iterdir()) == []
