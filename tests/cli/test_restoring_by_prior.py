"""``calotype restore --prior``: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calotype.cli.main import main
from calotype.data import load
from calotype.engine.run import Run
from calotype.models import build
from calotype.types import ImageSpec, Source
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
    assert [(file["file"], file["folder"]) for file in facts["files"]] == [("000000.png", "000000"), ("000001.png", "000001")]
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
    assert [(file["file"], file["folder"]) for file in facts["files"]] == [("a.png", "a"), ("a.tif", "a.tif"), ("c.png", "c")]
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
    Path("out/mine.txt").write_text("kept")
    assert restore(capsys, *words, "--samples", "2", "--overwrite", "--count", "3")[0] == 0
    assert sorted(file.name for file in Path("out").iterdir()) == [
        "000000", "000001", "000002", "mine.txt", "overview.png", "result.json",
    ]  # fmt: skip
    Path("out/000001/mine.txt").write_text("kept")
    assert restore(capsys, *words, "--samples", "2", "--overwrite")[0] == 0
    assert {file.name for file in Path("out").iterdir()} == {
        "000001", "mine.txt", "mean.png", "std.png", "samples", "overview.png", "result.json",
    }  # fmt: skip
    assert [file.name for file in Path("out/000001").iterdir()] == ["mine.txt"]
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
        (["--task", "denoise", "--degrade", "noise:9", "--sigma", "3"], "both say how IN is degraded"),
        (["--task", "colorize", "--degrade", "gray"], "these images have none"),
        (["--degrade", "season"], "these images have none"),
        (["--degrade", "blur:1+noise:5+season"], "these images have none"),
        (["--task", "denoise", "--score", "--mask", "half"], "--mask is for --task inpaint and says nothing of denoise"),
        (["--task", "inpaint", "--score", "--scale", "2"], "--scale is for --task super-resolve"),
        (["--task", "super-resolve", "--score", "--blur", "1.6"], "--blur is for --task deblur"),
        (["--degrade", "blur:1", "--mask", "half"], "both say how IN is degraded"),
        (["--score"], "what was done to the pictures?"),
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


QUICK = ["--samples", "2", "--steps", "1", "--method", "ddrm"]


def test_a_folder_is_restored_whole_and_of_a_set_the_first_twenty(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    for index in range(23):
        Image.fromarray(np.full((28, 28), 10 * index, np.uint8)).save(f"in/{index}.png")
    assert restore(capsys, "--prior", prior, "in", "a", "--task", "inpaint", *QUICK)[0] == 0
    assert len(json.loads(Path("a/result.json").read_text())["files"]) == 23
    assert restore(capsys, "--prior", prior, "mnist5k", "b", "--degrade", "mask:half", *QUICK)[0] == 0
    facts = json.loads(Path("b/result.json").read_text())
    assert facts["images"] == 20
    assert facts["task"] is None
    assert facts["calibration"]["factor"] is not None


def test_where_nothing_is_missing_that_is_said_and_the_rest_is_written(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in ("20", "2"):
        words = ["--prior", prior, "mnist5k", count, "--degrade", "mask:0.00001", "--count", count, *QUICK]
        code, out, err = restore(capsys, *words)
        assert code == 0, err
        assert "nothing is missing" in out
        assert "PSNR" not in out
        facts = json.loads(Path(count, "result.json").read_text(), parse_constant=pytest.fail)
        assert facts["calibration"]["coverage"] is None
        assert facts["calibration"]["verdict"] == "too few images to tell"
        assert facts["mean"]["psnr"] is None


def test_pictures_that_the_prior_was_trained_on_are_told(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("mine", "other"):
        Path(folder).mkdir()
        Image.fromarray(np.full((28, 28), 90, np.uint8)).save(f"{folder}/a.png")
    run = Run(Path("run"))
    shutil.copytree(Path(prior, "model"), run.folder / "model")
    (run.folder / "checkpoints").mkdir()
    config = small("flow-matching", embedding=8, width=8)
    resolved = {"steps": 1, "threads": 1, "seconds_per_step": 0.0, "bf16": False}
    run.write_config(replace(config, data=replace(config.data, source="mine")), "", resolved)
    words = ["--task", "inpaint", *QUICK]
    assert "run was trained on pictures of mine" in restore(capsys, "--prior", "run", "mine", "a", "--score", *words)[2]
    assert "was trained" not in restore(capsys, "--prior", "run", "mine", "b", *words)[2]  # nothing is judged
    assert "was trained" not in restore(capsys, "--prior", "run", "other", "c", "--score", *words)[2]


def test_every_picture_has_a_folder_of_its_own_whatever_its_name(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.jpg", "a.png.jpg", "a.png-.jpg", "a.png", "A.tif", "result.json.png", "result.json/x.png", "a/mean.png.jpg"]
    for name in names:
        Path("in", name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.full((28, 28), 90, np.uint8)).save(f"in/{name}")
    code, out, err = restore(capsys, "--prior", prior, "in", "out", "--task", "inpaint", "--json", *QUICK)
    assert code == 0, err
    folders = {file["file"]: file["folder"] for file in json.loads(out)["files"]}
    assert sorted(folders) == sorted(names)
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert {file.name for file in Path("out", folder).iterdir()} >= {"mean.png", "std.png", "samples"}
    assert Path("out/result.json").is_file()


def test_sixteen_bits_become_eight_which_is_told(prior: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((28, 28), 9000, np.uint16)).save("deep.png")
    code, out, err = restore(capsys, "--prior", prior, "deep.png", "out", "--task", "inpaint", "--json", *QUICK)
    assert code == 0
    file = json.loads(out)["files"][0]
    assert (file["file"], file["folder"], file["notes"]) == ("deep.png", ".", ["results have 8 of its 16 bits"])
    assert "deep.png: results have 8 of its 16 bits" in err


@pytest.mark.parametrize("told", ['{"files": [{"folder": "../mine"}]}', '{"files": [{"folder": 3}]}', "[1]", "no JSON"])
def test_nothing_outside_is_removed_whatever_an_old_result_says(
    prior: str, runs: Path, capsys: pytest.CaptureFixture[str], told: str
) -> None:
    for folder in ("mine/samples", "out"):
        Path(folder).mkdir(parents=True)
    for file in ("mine/mean.png", "mine/samples/000000.png"):
        Path(file).write_bytes(b"kept")
    Path("out/result.json").write_text(told)
    assert (
        restore(capsys, "--prior", prior, "mnist5k", "out", "--task", "inpaint", "--score", "--count", "1", "--overwrite", *QUICK)[0] == 0
    )
    assert Path("mine/mean.png").is_file()
    assert Path("mine/samples/000000.png").is_file()


def test_a_restorer_is_no_prior(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small("denoise")
    spec = ImageSpec(24, 3, source=Source(3, 1, ("sigma",), "noise:0-55"))
    Run(runs / "den").export(build(config.model, spec), config, spec, 0, runs / "den")
    code, _, err = restore(capsys, "--prior", "den", "mnist5k", "out", "--task", "denoise")
    assert (code, err) == (2, "calotype: den makes pictures of pictures, and a prior draws them: leave out --prior, or name a generator\n")
    assert not Path("out").exists()
