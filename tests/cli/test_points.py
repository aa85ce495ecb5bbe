"""Points from training to report: what is drawn and counted, and what only images can be asked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.cli.main import main
from calotype.config import Data
from calotype.engine.display import Display
from calotype.engine.train import resume, train
from calotype.errors import UserError
from calotype.evaluation.evaluate import require_alike
from calotype.evaluation.ranking import obstacles
from tests.small import final_state, same, tiny_gan

WIDTHS = ["--model.generator.width", "8", "--model.discriminator.width", "8", "--train.threads", "1"]
TINY = ["gan", "--data", "ring", "--steps", "20", *WIDTHS]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points") / "run"
    assert main(["train", *TINY, "--log.every", "5", "--log.checkpoints", "5", "--out", str(folder)]) == 0
    return folder


def test_a_training_shows_points_over_time_and_ends_with_counted_modes(ring: Path) -> None:
    steps = sorted(path.name for path in (ring / "samples").iterdir())
    assert steps == [f"step-{step:09d}.png" for step in range(0, 21, 5)]
    assert Image.open(ring / "samples" / steps[0]).size == (480, 480)
    wide, high = Image.open(ring / "over-time.png").size
    assert wide > high > 480
    tree = json.loads((ring / "report" / "report.json").read_text())
    scores = {score["name"]: score for score in tree["scores"]}
    assert set(scores) >= {"modes hit", "high-quality share"}
    assert (scores["modes hit"]["baseline"], scores["modes hit"]["n"]) == (8, 2_500)
    assert scores["high-quality share"]["baseline"] == pytest.approx(0.989, abs=0.01)
    verdicts = {verdict["name"]: verdict["status"] for verdict in tree["verdicts"]}
    assert (verdicts["mode-collapse"], verdicts["oscillation"]) == ("FAIL", "NOT APPLICABLE")
    assert "copying" not in verdicts  # which would take features of images
    page = (ring / "report" / "report.html").read_text()
    assert 'id="points"' in page
    assert 'id="over-time"' in page


def test_samples_are_a_scatter_plot_and_numbers_in_units_of_the_testbed(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, npy = tmp_path / "points.png", tmp_path / "points.npy"
    code, said, _ = run(capsys, "sample", str(ring), "--count", "30", "--seed", "4", "--out", str(out), "--npy", str(npy))
    assert (code, said) == (0, f"30 points in {out}, {npy}\n")
    assert Image.open(out).size == (480, 480)
    places = np.load(npy)
    drawn = calotype.load(ring).sample(30, seed=4)
    assert (places.shape, places.dtype) == ((30, 2), np.float32)
    assert np.allclose(places, drawn.flatten(1).numpy() * 1.25, atol=1e-6)
    assert run(capsys, "trace", str(out))[0] == 0


def test_a_model_by_itself_is_judged_as_its_run_is(ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("evaluate", str(ring / "model"), "--count", "100", "--out", str(tmp_path / "report"), "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    scores = {score["name"]: score["value"] for score in json.loads(out)["scores"]}
    report = calotype.evaluate(ring, count=100)
    assert scores == {score.name: score.value for score in report.scores}
    assert obstacles([report, report]) == []  # all reports on a testbed can be compared


def test_a_resumed_run_of_points_is_the_one_that_never_stopped(tmp_path: Path) -> None:
    config = replace(tiny_gan(6), data=Data("grid"))
    whole = train(config, out=tmp_path / "whole", display=Display()).run.folder
    stopped = train(config, out=tmp_path / "stopped", display=Display()).run.folder
    shutil.rmtree(stopped / "checkpoints" / "step-000000006")  # as if it had been killed after step 4
    shown = stopped / "samples" / "step-000000002.png"
    kept = shown.read_bytes()
    shown.write_bytes(kept[:50])
    assert resume(shutil.copytree(stopped, tmp_path / "damaged"), display=Display()).complete  # a picture that cannot be shown is left out
    assert Image.open(tmp_path / "damaged/over-time.png").size < Image.open(whole / "over-time.png").size
    shown.write_bytes(kept)
    assert resume(stopped, display=Display()).complete
    assert same(final_state(whole), final_state(stopped))
    assert (whole / "over-time.png").read_bytes() == (stopped / "over-time.png").read_bytes()


def test_sampling_points_one_by_one_is_refused(ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "sample", str(ring), "--dir", str(tmp_path / "each"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--npy in place of --dir" in err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no pictures"):
        calotype.save_grid(calotype.load(ring).sample(4), tmp_path / "grid.png")


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        ("evaluate RUN --data mnist5k", "whose modes are known: leave out --data"),
        ("evaluate RUN --features random", "leave out --features"),
        ("evaluate RUN --size 32", "leave out --size"),
        ("evaluate RUN --count 99", "hundreds of points"),
        ("restore --prior RUN mnist5k out --task inpaint --score", "makes points of ring and no images"),
        ("latents plane RUN", "makes points of ring and no images"),
        ("neighbors RUN", "makes points of ring and no images"),
        ("neighbors ring", "ring holds no image that can be read"),
    ],
)
def test_what_only_images_can_be_asked_for_is_one_line(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, tells: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *(str(ring) if word == "RUN" else word for word in words.split()))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert tells in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        ("gan --size 32", "leave out --size"),
        ("gan --channels 3", "leave out --channels"),
        ("gan --data.fit pad", "leave out --data.fit"),
        ("gan --data.flip True", "--data.flip makes nothing"),
        ("gan --data.patch 8", "--data.patch makes nothing"),
        ("gan --data.degrade gray", "--data.degrade makes nothing"),
        ("gan --data.partner halves", "--data.partner makes nothing"),
        ("gan --model.conditional True", "no effect here without images with labels"),
        ("gan --model.augment color", "cannot be augmented"),
        ("gan --evaluate-every 10", "which points have none of"),
        ("gan --model.generator.network dcgan", "--model.generator.network mlp"),
        ("gan --model.discriminator.network dcgan", "--model.discriminator.network mlp"),
        ("dcgan", "the network dcgan makes and judges images"),
        ("stylegan2", "the network style makes and judges images"),
        ("flow-matching", "a model of the kind diffusion makes no points"),
        ("vae", "a model of the kind vae makes no points"),
        ("classifier", "a model of the kind classifier makes no points"),
        ("cogan", "--data.degrade makes nothing"),
    ],
)
def test_what_points_cannot_be_trained_with_is_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, tells: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", *words.split(), "--data", "ring", "--steps", "4")
    assert (code, out) == (2, "")
    assert tells in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_points_and_images_are_not_compared(ring: Path, tmp_path: Path) -> None:
    for paths in ([ring, tmp_path], [tmp_path, ring]):
        with pytest.raises(UserError, match=f"{ring} makes points and {tmp_path} images"):
            require_alike(paths)


def test_checking_points_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "check", "ring")
    assert (code, out.count("\n")) == (0, 1)
    assert "8 Gaussians of width 0.01" in out
    assert json.loads(run(capsys, "data", "check", "grid", "--json")[1])["kind"] == "points"
