"""``calotype detect`` from training to the table, with a GAN and a VAE of a few steps, and its mistakes in one line each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from calotype import detect
from calotype.cli.main import main
from calotype.engine.display import Display
from tests.cli.test_classifying import run
from tests.detect.test_detectors import scenes, soft, write


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of digits, the VAE that it learned from, and files."""
    folder = tmp_path_factory.mktemp("detect")
    words = ["--steps", "20", "--train.batch", "16", "--train.threads", "1", "--report", "False"]
    assert main(["train", "vae", *words, "--model.width", "8", "--out", str(folder / "vae")]) == 0
    write(folder / "real", scenes(100, 0, 28))
    write(folder / "soft", soft(scenes(100, 1, 28)))
    write(folder / "few", scenes(3, 2, 28))
    write(folder / "tiny", [image.resize((10, 10)) for image in scenes(100, 3, 28)])
    (folder / "empty").mkdir()
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    code = main(["detect", "train", str(folder / "real"), str(folder / "vae"), "--count", "100", "--out", str(folder / "detector")])
    assert code == 0
    return folder


def test_a_detector_is_two_files_and_a_page(place: Path) -> None:
    folder = place / "detector"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "detector.html", "detector.safetensors"]
    facts = detect.load(folder).facts
    assert facts.generated[0].kind == "model"
    assert len(facts.generated[0].weights) == 64
    assert facts.results.overall.area > 0.9
    assert len(facts.results.robustness) == 12
    assert "one generator" in facts.trust
    page = (folder / "detector.html").read_text()
    for part in ("roc", "unknown", "degraded", "probabilities", "answers", "images", "words"):
        assert f'<section id="{part}"' in page
    assert page.count('<svg class="plot"') == 2


def test_answers_in_tables_and_as_json(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["detect", "score", str(place / "detector"), str(place / "real"), str(place / "bad.png"), "--count", "6"]
    code, out, err = run(capsys, *words, "--json", "--out", str(tmp_path / "x.csv"))
    assert code == 1
    tree = json.loads(out)
    assert [len(tree[key]) for key in ("files", "failed")] == [6, 1]
    assert set(tree["files"][0]) == {"file", "answer", "probability", "unlike", "reason", "marker", "evidence"}
    assert "1 of 7 images failed" in err
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["answer"] for row in rows[:6]] == [row["answer"] for row in tree["files"]]
    found = detect.score(place / "detector", place / "real", count=6, display=Display())
    assert [one.probability for one in found] == [row["probability"] for row in tree["files"]]
    code, out, _ = run(capsys, *words[:4])
    assert code == 0
    assert "of 100 images" in out
    assert "REAL" in out


def test_a_model_is_a_witness(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(place / "vae"), "--count", "2", "--json"]
    code, out, err = run(capsys, "detect", "score", str(place / "detector"), str(place / "real"), *model)
    assert code == 0
    assert "name real images that it did not train on with --real" in err
    assert all(one["real"] is None for row in json.loads(out)["files"] for one in row["evidence"])
    code, out, _ = run(capsys, "detect", "score", str(place / "detector"), str(place / "real"), *model, "--real", str(place / "real"))
    assert code == 0
    for row in json.loads(out)["files"]:
        assert [one["kind"].split(" ")[0] for one in row["evidence"]] == ["bits", "reconstruction"]
        for one in row["evidence"]:
            assert 0 <= one["samples"] <= 1
            assert 0 <= one["real"] <= 1


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["detect", "judge"], "choose train or score"),
        (["detect", "train"], "REAL is missing"),
        (["detect", "train", "REAL"], "there are no generated images"),
        (["detect", "train", "REAL", "FEW"], "has 3 images: a detector needs 100"),
        (["detect", "train", "FEW", "SOFT"], "has 3 images: a detector needs 100"),
        (["detect", "train", "REAL", "EMPTY"], "no images"),
        (["detect", "train", "REAL", "nowhere"], "nowhere"),
        (["detect", "train", "REAL", "TINY"], "cannot be equalized"),
        (["detect", "train", "VAE", "SOFT"], "is a model, and REAL are real images"),
        (["detect", "train", "ring", "SOFT"], "ring holds points and no images"),
        (["detect", "train", "REAL", "SOFT", "--size", "64"], "cannot be brought to 64"),
        (["detect", "train", "REAL", "SOFT", "--count", "5"], "--count"),
        (["detect", "train", "REAL", "SOFT", "--false-alarms", "0.9"], "--false-alarms"),
        (["detect", "train", "REAL", "SOFT", "--out", "REAL"], "holds other things than a detector: choose another --out"),
        (["detect", "score", "DETECTOR"], "IN is missing"),
        (["detect", "score", "REAL", "SOFT"], "is no detector: give the folder of a detector"),
        (["detect", "score", "VAE", "SOFT"], "is no detector"),
        (["detect", "score", "nowhere", "SOFT"], "nowhere does not exist"),
        (["detect", "score", "DETECTOR", "BAD"], "bad.png cannot be used"),
        (["detect", "score", "DETECTOR", "SOFT", "--real", "mnist5k"], "--model"),
        (["detect", "score", "DETECTOR", "SOFT", "--model", "SOFT"], "holds no trained model"),
        (["detect", "score", "DETECTOR", "SOFT", "--out", "x.xls"], "unknown suffix .xls"),
    ],
)
def test_a_mistake_gets_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], tells: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"BAD": "bad.png", **{name.upper(): name for name in ("real", "soft", "few", "tiny", "empty", "vae", "detector")}}
    code, out, err = run(capsys, *(str(place / names[word]) if word in names else word for word in words))
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("calotype: ")]
    assert tells in line
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_color_detectors_say_so_of_gray_images(place: Path, tmp_path: Path) -> None:
    color = [image.convert("RGB") for image in scenes(100, 5, 28)]
    tinted = [image.point([min(255, v + 12) for v in range(256)] + list(range(256)) * 2) for image in soft(color)]
    made = detect.train(
        write(tmp_path / "a", color),
        write(tmp_path / "b", tinted),
        degradations=(),
        groups=("co-occurrences",),
        display=Display(),
    )
    assert made.facts.equalizer.channels == 3
    found = detect.score(made, place / "real", count=2, display=Display())
    assert {one.answer for one in found} == {"CANNOT TELL"}
    assert "gray" in found[0].reason
