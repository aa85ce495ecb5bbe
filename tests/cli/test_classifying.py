"""``calotype classify`` and the report of a classifier, from training to the table, on the embedded digits."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save as packed

import calotype
from calotype.cli.main import main
from calotype.data import Images, load
from calotype.errors import UserError
from calotype.evaluation.schema import schema

WORDS = ["--steps", "30", "--train.batch", "32", "--train.threads", "1", "--log.every", "10", "--model.width", "4", "--model.scale", "0"]
CHOOSING = ["--data.validation", "0.1", "--log.evaluate", "10"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, and beside it digits as files."""
    place = tmp_path_factory.mktemp("classified")
    assert main(["train", "resnet", *WORDS, "--optimizer.lr", "0.01", "--out", str(place / "run")]) == 0
    held = load("mnist5k").holdout
    save(place / "digits", held, slice(0, 24))
    save(place / "others", replace(held, pixels=255 - held.pixels), slice(0, 24))  # which are in no set
    shutil.make_archive(str(place / "digits"), "zip", place / "digits")
    (place / "empty.png").write_bytes(b"no picture")
    return place


def save(folder: Path, images: Images, rows: slice, name: str = "") -> None:
    """Some images as files in class folders."""
    assert images.labels is not None
    for row in range(*rows.indices(len(images))):
        place = folder / str(images.labels[row])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.pixels[row, :, :, 0]).save(place / f"{name}{row:02d}.png")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(list(words))
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_folders_zips_files_and_data_sets_in_one_table(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    inputs = [str(trained / "digits"), str(trained / "digits.zip"), str(trained / "digits/7/00.png"), "mnist5k"]
    code, out, _ = run(capsys, "classify", str(trained / "run"), *inputs, "--count", "5", "--top", "2", "--out", str(tmp_path / "x.csv"))
    assert code == 0
    assert "16 images in" in out
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    assert list(rows[0]) == ["file", "class_1", "probability_1", "class_2", "probability_2", "unlike", "distance", "error"]
    folder, archive = rows[:5], rows[5:10]
    assert folder == archive
    alone = next(row for row in folder if row["file"].endswith("00.png")) if any(r["file"].endswith("00.png") for r in folder) else None
    for row in rows:
        assert float(row["probability_1"]) >= float(row["probability_2"]) > 0
    assert alone is None or alone["class_1"] == rows[10]["class_1"]


def test_json_is_what_python_says(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "classify", str(trained / "run/model"), str(trained / "digits"), "--top", "20", "--json")
    assert code == 0
    files = json.loads(out)["files"]
    found = calotype.classify(trained / "run", trained / "digits", top=20, display=calotype.Display())
    assert [row["file"] for row in files] == [one.file for one in found]
    for row, one in zip(files, found, strict=True):
        assert [(c["name"], c["probability"]) for c in row["classes"]] == list(one.classes)
        assert len(row["classes"]) == 10
        assert sum(c["probability"] for c in row["classes"]) == pytest.approx(1)
        assert row["unlike"] == one.unlike


def test_probabilities_are_at_the_temperature_that_stands_beside_the_weights(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(trained / "run/model", copy)
    facts = json.loads((copy / "calibration.json").read_text())
    assert facts["images"] == 500
    before = calotype.classify(copy, "mnist5k", count=4, top=10, display=calotype.Display())
    (copy / "calibration.json").write_text(json.dumps({**facts, "temperature": 2 * facts["temperature"], "distance": 0.0}))
    after = calotype.classify(copy, "mnist5k", count=4, top=10, display=calotype.Display())
    for one, other in zip(before, after, strict=True):
        assert [name for name, _ in one.classes] == [name for name, _ in other.classes]
        p, q = (np.array([value for _, value in each.classes]) for each in (one, other))
        assert q == pytest.approx(p**0.5 / (p**0.5).sum(), rel=1e-6)
        assert other.unlike
    (copy / "calibration.json").write_text(json.dumps({**facts, "energies": [-9, -1]}))  # of a version that looked at energies
    assert calotype.classify(copy, "mnist5k", count=1, display=calotype.Display())[0].unlike is None
    (copy / "calibration.json").write_text(json.dumps(facts))
    (copy / "known.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"known\.safetensors is damaged"):
        calotype.classify(copy, "mnist5k", count=1, display=calotype.Display())
    (copy / "calibration.json").unlink()
    assert calotype.classify(copy, "mnist5k", count=1, display=calotype.Display())[0].unlike is None


@pytest.mark.parametrize("damage", ["", "{}", '{"temperature": -1}', "[1]"])
def test_a_damaged_calibration_is_named(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, damage: str) -> None:
    shutil.copytree(trained / "run/model", tmp_path / "model")
    (tmp_path / "model/calibration.json").write_text(damage)
    code, _, err = run(capsys, "classify", str(tmp_path / "model"), "mnist5k", "--count", "1")
    assert code == 2
    assert err.count("\n") == 1
    assert "calibration.json" in err


def test_one_unreadable_file_harms_no_other(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "pictures"
    shutil.copytree(trained / "digits", bad)
    (bad / "7/zz.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    code, out, err = run(capsys, "classify", str(trained / "run"), str(bad), str(trained / "empty.png"), "--json")
    tree = json.loads(out)
    assert code == 1
    assert len(tree["files"]) == 24
    assert sorted(row["file"] for row in tree["failed"]) == ["7/zz.png", "empty.png"]
    assert "2 of 26 images failed" in err


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["classify"], "MODEL"),
        (["classify", "RUN"], "IN is missing"),
        (["classify", "RUN", "nowhere"], "nowhere"),
        (["classify", "RUN", "EMPTY"], "empty.png cannot be used"),
        (["classify", "nowhere", "mnist5k"], "nowhere does not exist"),
        (["classify", "RUN", "mnist5k", "--top", "0"], "--top"),
        (["classify", "RUN", "mnist5k", "--out", "x.xls"], "unknown suffix .xls"),
        (["evaluate", "RUN", "--features", "random"], "leave out --features"),
        (["evaluate", "RUN", "--holdout", "photos"], "photos has no classes"),
        (["evaluate", "RUN", "--holdout", "stacked5k"], "stacked5k has no classes"),
        (["evaluate", "RUN", "--data", "photos"], "leave out --data, or name labelled images to judge it by with --holdout"),
        (["classify", "RUN", "ring"], "ring holds points and no images"),
        (["evaluate", "RUN", "--holdout", "clothing"], "clothing has classes that run does not know (pants, t-shirt)"),
        (["compare", "RUN", "RUN2"], "is a classifier"),
        (["train", "resnet", "--data", "photos", "--size", "16"], "no labels"),
        (["train", "resnet", "--log.evaluate", "5"], "give --data.validation 0.1"),
        (["train", "resnet", "--data.validation", "0.1"], "say how often with --evaluate-every"),
        (["train", "gan", "--data.validation", "0.1"], "leave it out"),
        (["train", "resnet", "--data.validation", "0.0001", "--log.evaluate", "5"], "sets none of 4,500 images aside"),
        (["train", "resnet", "--data", "clothing", "--data.fit", "tile", "--size", "32", *CHOOSING], "leave out --data.validation"),
        (["train", "resnet", "--data.patch", "16"], "leave out --data.patch"),
        (["train", "gan", "--from", "photos"], "is the recipe transfer"),
        (["train", "--from", "photos", "--config", "f.json"], "--from photos brings all settings: leave out --config"),
        (["train", "--from", "photos", "--resume", "RUN"], "--from photos brings all settings: leave out --resume"),
    ],
)
def test_a_mistake_gets_one_line(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], tells: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "RUN2" in words:
        shutil.copytree(trained / "run/model", tmp_path / "other")
    known = {"RUN": str(trained / "run"), "EMPTY": str(trained / "empty.png"), "RUN2": "other"}
    code, out, err = run(capsys, *(known.get(word, word) for word in words))
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("calotype: ")]
    assert tells in line


def test_a_model_that_draws_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--steps", "1", "--model.generator.width", "8", "--model.discriminator.width", "8", "--report", "False"]
    assert main(["train", "gan", *words, "--out", str(tmp_path / "gan")]) == 0
    code, _, err = run(capsys, "classify", str(tmp_path / "gan"), "mnist5k")
    assert code == 2
    assert "tells no classes apart" in err


def test_the_report_stands_in_the_run_and_keeps_to_the_schema(trained: Path) -> None:
    tree = json.loads((trained / "run/report/report.json").read_text())
    jsonschema.validate(tree, schema(), jsonschema.Draft202012Validator)
    found = tree["recognition"]
    table = np.array(found["confusion"])
    assert table.shape == (10, 10)
    assert table.sum() == found["n"] == 500
    assert np.trace(table) == found["right"]
    for k, one in enumerate(found["classes"]):
        assert (one["n"], one["named"]) == (table[k].sum(), table[:, k].sum())
        assert one["recall"] == pytest.approx(table[k, k] / table[k].sum())
        assert one["recall_interval"][0] <= one["recall"] <= one["recall_interval"][1]
    assert found["own_temperature"]
    assert len(found["mistakes"]) == min(24, 500 - found["right"])
    assert all(one["label"] != one["named"] for one in found["mistakes"])
    assert {v["name"] for v in tree["verdicts"]} == {"accuracy-gap", "miscalibration", "unpredicted-class", "label-noise", "divergence"}
    assert [s["name"] for s in tree["scores"]] == ["accuracy", "calibration error", "log loss"]
    page = (trained / "run/report/report.html").read_text()
    for section in ("by-class", "confusion", "reliability", "mistakes"):
        assert f'<section id="{section}"' in page


def test_other_labelled_images_are_judged_at_the_temperature_of_the_model(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "evaluate", str(trained / "run"), "--holdout", str(trained / "others"), "--out", str(trained / "report2"), "--json"
    )
    assert code == 0
    found = json.loads(out)["recognition"]
    stored = json.loads((trained / "run/model/calibration.json").read_text())
    assert not found["own_temperature"]
    assert found["temperature"] == stored["temperature"]
    assert found["n"] == 24
    code, out, _ = run(capsys, "evaluate", str(trained / "run"), "--count", "200", "--out", str(trained / "report3"))
    assert code == 0
    assert "accuracy  " in out


def test_images_that_the_run_knows_are_told_apart_from_others(trained: Path, tmp_path: Path) -> None:
    """20 images of its calibration, 7 of its training and 24 that it never saw."""
    split = load("mnist5k")
    shutil.copytree(trained / "others", tmp_path / "mixed")
    save(tmp_path / "mixed", split.holdout, slice(0, 20), "held")
    save(tmp_path / "mixed", split.train, slice(0, 7), "train")
    report = calotype.evaluate(trained / "run", holdout=str(tmp_path / "mixed"), short=True, say=lambda *words: None)
    assert "7 held-out images are training images too and were left out" in report.notes
    assert "the model was calibrated by 20 of 44 images of mixed: its temperature is not used on them" in report.notes
    assert report.recognition is not None
    assert (report.recognition.n, report.recognition.own_temperature) == (44, True)


def test_the_best_weights_are_those_of_the_smallest_log_loss(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chosen = ["--data.validation", "0.1", "--log.evaluate", "10", "--patience", "2", "--report", "False"]
    code, _, _ = run(capsys, "train", "resnet", *WORDS, *chosen, "--out", str(tmp_path / "run"))
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line.get("event") == "score"]
    assert [line["n"] for line in scores] == [450] * 3
    losses = [line["log loss"] for line in scores]
    assert min(losses) > 0
    assert all(0 <= line["accuracy"] <= 1 for line in scores)
    assert [line["best"] for line in scores] == [loss == min(losses[: i + 1]) for i, loss in enumerate(losses)]
    assert (tmp_path / "run/best/calibration.json").is_file()


def test_a_classifier_is_calibrated_anew_in_python_as_by_its_training(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    model = tmp_path / "run/model"
    kept, known = json.loads((model / "calibration.json").read_text()), (model / "known.safetensors").read_bytes()
    for name in ("calibration.json", "known.safetensors"):
        (model / name).unlink()
    calotype.calibrate(tmp_path / "run")
    assert (model / "known.safetensors").read_bytes() == known
    found = json.loads((model / "calibration.json").read_text())
    assert found == {**kept, "temperature": pytest.approx(kept["temperature"]), "distance": pytest.approx(kept["distance"])}


def test_a_model_by_itself_is_calibrated_by_images_that_are_named(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run/model", tmp_path / "model")
    with pytest.raises(UserError, match="name labelled images that it never saw with `images`"):
        calotype.calibrate(tmp_path / "model")
    with pytest.raises(UserError, match="24 images are too few"):
        calotype.calibrate(tmp_path / "model", trained / "digits")
    found = calotype.calibrate(tmp_path / "model", "mnist5k")
    assert found.facts.images == 250
    assert found.known is not None
    assert len(found.known.directions) == 250
    assert calotype.classify(tmp_path / "model", "mnist5k", count=1, display=calotype.Display())[0].unlike is not None


def test_what_another_model_knows_is_refused_in_one_line(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run/model", tmp_path / "model")
    (tmp_path / "model/known.safetensors").write_bytes(packed({"directions": np.eye(3, dtype=np.float16)}))
    with pytest.raises(UserError, match="belongs to another model"):
        calotype.classify(tmp_path / "model", "mnist5k", count=1, display=calotype.Display())


def test_changed_data_are_no_obstacle_where_other_images_are_named(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    facts = json.loads((tmp_path / "run/config.json").read_text())
    facts["data"]["source"] = facts["config"]["data"]["source"] = str(tmp_path / "gone")
    (tmp_path / "run/config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError):
        calotype.calibrate(tmp_path / "run")
    assert calotype.calibrate(tmp_path / "run", "mnist5k").facts.images == 250
