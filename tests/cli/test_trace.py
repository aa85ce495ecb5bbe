"""Pictures that every command writes, and ``calotype trace``, which reads what they say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.cli import main
from calotype.engine.run import Run
from calotype.models import build
from calotype.tasks import sample
from calotype.types import ImageSpec
from tests.cli.exported import export
from tests.small import TINY_GAN, small

SILENT = "calotype: --provenance none: nothing in the files says that Calotype made them\n"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def said(err: str) -> str:
    """What stands on stderr besides how far the work has come."""
    return "".join(line for line in err.splitlines(keepends=True) if line.startswith("calotype: "))


def making(path: str) -> tuple[str, str]:
    (found,) = calotype.trace(path)
    assert found.origin is not None, found.problem
    return found.origin.marker.making, found.origin.source_type or found.origin.marker.source_type


@pytest.fixture
def gan(runs: Path) -> str:
    return export("gan", runs / "gan", 1, None)


def test_samples_are_traced_to_the_model_that_drew_them(gan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "sample", gan, "--count", "5", "--seed", "2", "--batch-size", "2", "--dir", "each", "--out", "grid.png")[0] == 0
    code, out, err = run(capsys, "trace", "each/000003.png", "grid.png", "--model", gan)
    assert (code, err) == (0, "")
    assert out.count("drawn anew by") == 2
    assert out.count("the same bit for bit") == 2
    assert "each/000003.png: drawn by a model, by Calotype" in out
    assert "seed 2, number 3" in out
    assert "seed 2, images 0 to 4 in rows" in out
    assert calotype.load(gan).weights in out
    code, out, _ = run(capsys, "trace", "each/000003.png", "--model", gan, "--json")
    (facts,) = json.loads(out)["files"]
    assert (code, facts["remade"], facts["psnr"], facts["cells"]) == (0, "the same", None, [])
    assert (facts["marker"]["seed"], facts["marker"]["index"], facts["marker"]["batch"]) == (2, 3, [0, 5, 2])
    assert facts["source_type"] == "trainedAlgorithmicMedia"


def test_a_class_and_options_are_drawn_again(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, spec = small("flow-matching", width=8, embedding=8), ImageSpec(8, 1, ("cat", "dog"))
    Run(runs / "flow").export(build(config.model, spec), config, spec, 0, runs / "flow")
    asked = ("--label", "dog", "--option", "steps=2", "guidance=1.5", "solver=heun")
    assert run(capsys, "sample", "flow", "--count", "2", "--dir", "dogs", *asked)[0] == 0
    code, out, err = run(capsys, "trace", "dogs/000001.png", "--model", "flow")
    assert (code, err) == (0, "")
    assert "the same bit for bit" in out
    assert "class dog, guidance 1.5, solver heun, steps 2" in out


@pytest.mark.parametrize(("form", "least"), [("png", 99.0), ("webp", 10.0), ("jpg", 10.0), ("gif", 99.0), ("tif", 99.0)])
def test_a_grid_in_any_format_is_traced(gan: str, form: str, least: float, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "sample", gan, "--count", "4", "--out", f"grid.{form}")[0] == 0
    (found,) = json.loads(run(capsys, "trace", f"grid.{form}", "--model", gan, "--json")[1])["files"]
    assert (found["psnr"] or 100) >= least
    assert (found["remade"] == "the same") == (least == 99.0)


def test_what_is_no_trace_gets_one_line_and_exit_code_2(gan: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sample", gan, "--count", "1", "--out", "grid.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save("plain.png")
    other = export("dcgan", runs / "dcgan", 1, None)
    for words, tells in (
        (("plain.png",), "plain.png: carries no marker of Calotype"),
        (("missing.png",), "missing.png: cannot be read (No such file or directory)"),
        (("grid.png", "--model", other), "grid.png: was made by other weights"),
        ((), "IMAGE is missing"),
        (("grid.png", "--model", "nowhere"), "nowhere does not exist"),
    ):
        code, out, err = run(capsys, "trace", *words)
        assert (code, out) == (2, "")
        assert err.startswith("calotype: ")
        assert tells in err
        assert err.count("\n") == 1
    code, out, err = run(capsys, "trace", "plain.png", "grid.png", "missing.png")
    assert code == 2
    assert out.startswith("grid.png: drawn by a model")
    assert err.splitlines()[-1] == "calotype: 2 of 3 pictures cannot be traced"
    assert len(err.splitlines()) == 3
    code, out, _ = run(capsys, "trace", "plain.png", "grid.png", "--json")
    assert code == 2
    assert [sorted(one)[0] for one in json.loads(out)["files"]] == ["error", "cells"]


def test_a_sample_that_is_not_what_the_model_draws_ends_with_1(gan: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sample", gan, "--count", "1", "--dir", "each")
    (found,) = calotype.trace("each/000000.png")
    assert found.origin is not None
    calotype.pictures.save(Image.fromarray(np.zeros((24, 24), np.uint8)), Path("other.png"), found.origin.marker)
    code, out, err = run(capsys, "trace", "other.png", "--model", gan)
    assert (code, err) == (1, "")
    assert "not the same, PSNR" in out


def test_the_recipe_can_be_left_out_and_the_marker_not_silently(gan: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "sample", gan, "--count", "1", "--dir", "a", "--out", "a.png", "--provenance", "minimal")
    assert (code, said(err)) == (0, "")
    for path in ("a.png", "a/000000.png"):
        data = Path(path).read_bytes()
        assert calotype.load(gan).weights.encode() not in data
        assert b'"seed"' not in data
        assert making(path) == ("sample", "trainedAlgorithmicMedia")
    code, out, _ = run(capsys, "trace", "a.png", "--model", gan)
    assert code == 0
    assert "its marker does not say which weights made it" in out
    code, _, err = run(capsys, "sample", gan, "--count", "1", "--dir", "b", "--out", "b.png", "--provenance", "none")
    assert (code, said(err)) == (0, SILENT)
    for path in ("b.png", "b/000000.png"):
        assert b"alotype" not in Path(path).read_bytes()
    code, _, err = run(capsys, "sample", gan, "--count", "1", "--out", "c.bmp")
    assert (code, said(err)) == (0, "calotype: c.bmp: BMP holds no XMP data: nothing in the file says that Calotype made it\n")


def test_every_command_that_writes_pictures_marks_them(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composite = "compositeWithTrainedAlgorithmicMedia"
    spec = ImageSpec(24, 1, ("a", "b"))
    for recipe in ("vae", "pixelcnn", "flow-matching"):
        config = small(recipe)
        Run(runs / recipe).export(build(config.model, spec), config, spec, 0, runs / recipe)
    (runs / "in").mkdir()
    for number in range(20):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 24), np.uint8)).save(f"in/{number}.png")
    for kind in "ab":
        shutil.copytree("in", f"classes/{kind}")
    lines = {
        "sample vae --count 2": ("sample", "trainedAlgorithmicMedia"),
        "complete pixelcnn --images in/0.png --samples 1 --label a": ("completion", composite),
        "neighbors vae --data in --count 2 --nearest 2": ("overview", composite),
        "neighbors in/0.png --data in --nearest 2": ("comparison", ""),
        "latents reconstruct vae --images in/0.png --label a": ("overview", composite),
        "latents interpolate vae --seeds 1 2 --steps 3": ("decoding", "trainedAlgorithmicMedia"),
        "latents interpolate vae --images in/0.png in/1.png --steps 3 --label a": ("overview", composite),
        "latents plane vae --side 2": ("decoding", "trainedAlgorithmicMedia"),
        "latents neighbors vae --data classes --count 2 --nearest 2 --label a": ("overview", composite),
    }
    for number, (line, wanted) in enumerate(lines.items()):
        code, _, err = run(capsys, *line.split(), "--out", f"{number}.png")
        assert code == 0, (line, err)
        assert making(f"{number}.png") == wanted, line
        code, _, err = run(capsys, *line.split(), "--out", "none.png", "--provenance", "none")
        assert err.endswith(SILENT)
        assert b"alotype" not in Path("none.png").read_bytes()
    assert run(capsys, "degrade", "noise:25", "in/0.png", "noisy.png")[0] == 0
    assert making("noisy.png") == ("degradation", "")
    assert (
        run(
            capsys,
            "restore",
            "--prior",
            "flow-matching",
            "in/0.png",
            "out",
            "--task",
            "inpaint",
            "--score",
            "--samples",
            "2",
            "--steps",
            "2",
        )[0]
        == 0
    )
    for name in ("mean.png", "std.png", "samples/000001.png", "overview.png"):
        assert making(f"out/{name}") == ("overview" if name == "overview.png" else "inpainting", composite)
    (found,) = calotype.trace("out/samples/000001.png")
    assert found.origin is not None
    assert (found.origin.marker.index, found.origin.marker.options["picture"]) == (1, 0)


def test_the_grids_of_a_run_are_traced_to_its_last_model(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "PIXELS", 2 * 28**2)  # of large images fewer are drawn at once than a training draws for its grid
    assert run(capsys, "train", *TINY_GAN, "--log.grid", "9", "--report", "False", "--device", "cpu", "--out", "r")[0] == 0
    code, out, _ = run(capsys, "trace", "r/samples/step-000000004.png", "--model", "r")
    assert code == 0
    assert "images 0 to 8 in rows" in out
    assert "the same bit for bit" in out
