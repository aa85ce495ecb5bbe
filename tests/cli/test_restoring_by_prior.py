"""``calotype restore --prior``: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calotype.cli.main import main
from calotype.data import load
from calotype.engine.run import Run
from calotype.models import build
from calotype.types import ImageSpec
from tests.small import small

DIGITS = ImageSpec(28, 1, tuple("0123456789"))


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that learned nothing: what is tested is what the command makes of its samples."""
    config = small("flow-matching", embedding=8, width=8)
    torch.manual_seed(0)
    model = build(config.model, DIGITS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("prior")
    Run(folder).export(model, config, DIGITS, 0, folder / "model")
    return str(folder)


def restore(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["restore", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_set_is_spoiled_restored_and_scored(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prior", prior, "mnist5k", "out", "--task", "inpaint", "--mask", "lower", "--score"]
    code, out, err = restore(capsys, *words, "--count", "2", "--samples", "3", "--steps", "2", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts == json.loads(Path("out/result.json").read_text())
    assert facts["degradation"] == "mask:lower"
    mean = facts["mean"]
    assert set(mean["baselines"]) >= {"input", "mean fill"}
    assert "missing pixels only" in mean["convention"]
    for file in facts["files"]:
        assert set(file["baselines"]) == set(mean["baselines"])
        assert file["convention"] == mean["convention"]
    assert mean["psnr"] == pytest.approx(np.mean([file["psnr"] for file in facts["files"]]), abs=1e-3)
    assert mean["baselines"]["input"]["ssim"] == pytest.approx(
        np.mean([file["baselines"]["input"]["ssim"] for file in facts["files"]]), abs=1e-3
    )
    assert facts["failed"] == []
    assert facts["calibration"]["verdict"] == "too few images to tell"
    assert facts["calibration"]["pixels"] == 2 * 14 * 28
    assert 0 <= facts["calibration"]["coverage"] <= 1
    assert [file["file"] for file in facts["files"]] == ["000000", "000001"]
    assert facts["residual"] <= facts["noise"]
    truth = load("mnist5k", holdout=0.1).holdout.pixels[1, ..., 0]
    for name in ("mean", "samples/000002"):
        made = np.asarray(Image.open(f"out/000001/{name}.png"))
        assert np.array_equal(made[:14], truth[:14])
    assert np.asarray(Image.open("out/000001/std.png"))[:14].max() == 0
    assert facts["columns"] == ["truth", "measured", "mean", "sample", "sample", "sample", "std"]
    assert Image.open("out/overview.png").width > 7 * 28


def test_a_picture_with_a_hole_is_filled_beside_its_samples(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((28, 28), 90, np.uint8)
    hole = np.zeros((28, 28), np.uint8)
    hole[5:20, 8:15] = 255
    Image.fromarray(pixels).save("in.png")
    Image.fromarray(hole).save("hole.png")
    words = ["--prior", prior, "in.png", "out", "--task", "inpaint", "--mask", "hole.png", "--samples", "2", "--steps", "2"]
    code, out, err = restore(capsys, *words)
    assert code == 0, err
    assert "residual" in out
    assert "intervals" not in out  # there is no truth
    made = np.asarray(Image.open("out/mean.png"))
    assert (made[hole == 0] == 90).all()
    assert (made[hole > 0] != 90).any()
    assert "calibration" not in json.loads(Path("out/result.json").read_text())


def test_a_small_picture_is_measured_at_its_own_size(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((14, 14), 60, np.uint8)).save("in.png")
    words = ["--prior", prior, "in.png", "out", "--task", "super-resolve", "--samples", "2", "--steps", "2", "--method", "ddrm"]
    assert restore(capsys, *words)[0] == 0
    assert Image.open("out/mean.png").size == (28, 28)


def test_what_cannot_be_used_is_told_and_the_others_are_restored(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save("in/a.png")
    Image.fromarray(pixels.T.copy()).save("in/a.tif")
    Image.fromarray(pixels).save("in/c.png")
    Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:60])
    Image.fromarray(pixels[:20]).save("in/d.png")
    words = ["--prior", prior, "in", "out", "--task", "inpaint", "--samples", "2", "--steps", "2"]
    code, out, err = restore(capsys, *words, "--json")
    assert code == 1
    assert "2 of 5 pictures failed" in err
    facts = json.loads(out)
    assert [file["file"] for file in facts["files"]] == ["a", "a.tif", "c"]
    assert {file["file"]: file["error"].split(":")[0] for file in facts["failed"]}.keys() == {"b.png", "d.png"}
    assert "28x20 pixels" in next(file["error"] for file in facts["failed"] if file["file"] == "d.png")
    for name, given in (("a", pixels), ("a.tif", pixels.T), ("c", pixels)):
        assert np.array_equal(np.asarray(Image.open(f"out/{name}/mean.png"))[:, :14], given[:, :14])
    # the truth may have any size
    code, out, err = restore(capsys, *words[:2], "in", "scored", *words[4:], "--score", "--json")
    assert [file["file"] for file in json.loads(out)["failed"]] == ["b.png"]
    assert Image.open("scored/d/mean.png").size == (28, 28)


def test_results_are_replaced_when_asked_for_only(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prior", prior, "mnist5k", "out", "--task", "inpaint", "--score", "--count", "1", "--steps", "1"]
    assert restore(capsys, *words, "--samples", "3")[0] == 0
    before = Path("out/mean.png").read_bytes()
    code, _, err = restore(capsys, *words, "--samples", "2")
    assert code == 2
    assert "out is not empty" in err
    assert Path("out/mean.png").read_bytes() == before
    assert restore(capsys, *words, "--samples", "2", "--overwrite")[0] == 0
    assert sorted(file.name for file in Path("out/samples").iterdir()) == ["000000.png", "000001.png"]
    code, _, err = restore(capsys, *words[:2], "out/mean.png", *words[3:], "--overwrite")
    assert code == 2
    assert "where results go" in err


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["--task", "colorize"], "knows no color"),
        (["--task", "denoise"], "Give the standard deviation of the noise with --sigma"),
        (["--task", "inpaint", "--mask", "nothing.png"], "white where pixels are missing"),
        (["--task", "super-resolve", "--scale", "3", "--score"], "cannot be made 3 times smaller"),
        (["--task", "super-resolve"], "28x28 pixels: this prior restores 28x28, for which it takes 14x14"),
        (["--task", "denoise", "--degrade", "noise:9", "--sigma", "3"], "both say how IN is spoiled"),
        (["--task", "colorize", "--degrade", "gray"], "knows no color"),
        (["--task", "deblur", "--score", "--method", "inversion"], "has --method dps"),
        (["--task", "inpaint", "--samples", "1"], "two samples"),
        (["--task", "inpaint", "--label", "ten"], "unknown label"),
        (["--task", "sharpen"], "none of inpaint"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    prior: str, runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str
) -> None:
    code, _, err = restore(capsys, "--prior", prior, "mnist5k", "out", "--count", "1", *words)
    assert code == 2
    assert tells in err
    assert err.count("\n") == 1
    assert not Path("out").exists()
