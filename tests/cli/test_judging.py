"""``calotype evaluate``, ``compare`` and ``selftest``, and the report at the end of ``train``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import calotype
from calotype import pictures
from calotype.cli.main import main
from tests.small import TINY_GAN

TINY = [
    *TINY_GAN,
    "--model.latent",
    "4",
    "--train.batch",
    "16",
    "--train.threads",
    "1",
    "--log.every",
    "1",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits as made, trained on and held out."""
    root = tmp_path_factory.mktemp("digits")
    pixels = calotype.data.load("mnist5k").train.pixels
    order = np.random.default_rng(0).permutation(len(pixels))
    for name, rows in (("made", order[:150]), ("train", order[150:600]), ("held", order[600:750])):
        (root / name).mkdir()
        for i in rows:
            pictures.to_picture(pixels[i]).save(root / name / f"{i:05d}.png")
    return root


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_training_ends_with_a_report_and_a_full_one_takes_its_place(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "train", *TINY, "--out", "run")
    assert code == 0
    assert "mode-collapse" in out
    assert "report   run/report/report.html" in out
    short = json.loads((runs / "run/report/report.json").read_text())
    assert not short["ladder"]
    code, out, _ = run(capsys, "evaluate", "run", "--count", "150", "--json")
    assert code == 0
    tree = json.loads(out)
    assert tree["ladder"]
    assert tree == json.loads((runs / "run/report/report.json").read_text())
    assert {v["name"] for v in tree["verdicts"]} >= {"mode-collapse", "copying", "oscillation", "posterior-collapse"}


def test_a_training_without_a_report_says_nothing_of_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "train", *TINY, "--out", "run", "--report", "False", "--json")
    assert code == 0
    assert json.loads(out)["report"] is None
    assert not (runs / "run/report").exists()


def test_a_report_that_fails_does_not_fail_the_training(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("calotype.cli.train.evaluate", broken)
    code, out, err = run(capsys, "train", *TINY, "--out", "run")
    assert code == 0
    assert "ZeroDivisionError: oops" in err.rpartition("no report: ")[2]
    assert "trained 4 steps" in out


def test_a_classifier_is_trained_without_samples_and_used_as_features(
    runs: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--steps", "5", "--train.batch", "32", "--train.threads", "1", "--log.every", "1", "--out", "cls", "--data", "mnist5k"]
    code, out, _ = run(capsys, "train", "classifier", *words)
    assert code == 0
    assert "samples" not in out
    code, out, _ = run(
        capsys, "evaluate", str(folders / "made"), "--data", str(folders / "train"), "--features", "cls", "--out", "report", "--json"
    )
    assert code == 0
    assert json.loads(out)["scores"][0]["features"].startswith("cls@")


def test_a_comparison_is_one_page(runs: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = ["--data", str(folders / "train"), "--holdout", str(folders / "held"), "--features", "digits"]
    code, out, _ = run(capsys, "compare", str(folders / "made"), str(folders / "held"), *real[:2], *real[4:], "--out", "both.html")
    assert code == 0
    assert "page: both.html" in out
    page = (runs / "both.html").read_text()
    assert "made" in page
    assert "held" in page


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["evaluate"], "SUBJECT"),
        (["evaluate", "nowhere"], "nowhere does not exist"),
        (["evaluate", "made", "--count", "1"], "--count"),
        (["evaluate", "made", "--data", "nowhere"], "nowhere"),
        (["evaluate", "made", "--data", "train", "--features", "nothing"], "no features 'nothing'"),
        (["compare", "made"], "two subjects"),
        (["compare", "made", "train", "--out", "train"], "is a folder"),
        (["selftest", "--trials", "0"], "--trials"),
        (["selftest", "--data", "train"], "selftest needs"),
    ],
)
def test_a_mistake_gets_one_line(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], tells: str
) -> None:
    monkeypatch.chdir(folders)
    before = sorted(folders.rglob("*"))
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("calotype: ")]
    assert tells in line
    assert sorted(folders.rglob("*")) == before


def test_the_selftest_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "selftest", "--trials", "1", "--count", "300")
    assert code == 0
    assert "| blur of 1 pixel |" in out
