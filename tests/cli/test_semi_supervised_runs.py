"""Few labels from the command line: from training to a report that judges the model as a generator and as a classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch

import calotype
from calotype.cli.main import main
from calotype.errors import UserError
from calotype.evaluation import recognition
from calotype.evaluation.schema import schema
from calotype.models import build
from calotype.models.semi_supervised import SemiSupervisedGAN
from calotype.recipes import named
from calotype.types import ImageSpec, Step

WORDS = ["train", "sgan", "--train.threads", "1", "--train.batch", "16", "--model.width", "8", "--model.discriminator-width", "4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("few-labels")
    assert main([*WORDS, "--labels", "30", "--steps", "12", "--log.every", "4", "--out", str(place / "run")]) == 0
    return place / "run"


def test_the_report_at_the_end_has_both_sides_and_the_labels_only_baseline(trained: Path) -> None:
    report = json.loads((trained / "report/report.json").read_text())
    jsonschema.validate(report, schema())
    found = report["recognition"]
    assert (found["labels"], found["n"], found["train_n"]) == (30, 500, 30)
    beside = found["labels_only"]
    assert (beside["name"], beside["n"]) == ("labels only", 500)
    assert beside["difference"] == pytest.approx((found["right"] - beside["right"]) / 500)
    assert beside["difference_interval"][0] < beside["difference"] < beside["difference_interval"][1]
    assert {"FD", "accuracy"} <= {score["name"] for score in report["scores"]}
    names = [verdict["name"] for verdict in report["verdicts"]]
    assert len(names) == len(set(names))
    assert {"mode-collapse", "accuracy-gap", "oscillation"} <= set(names)
    page = (trained / "report/report.html").read_text()
    assert "What images without labels are worth" in page
    assert "the 30 labels" in page


def test_the_model_samples_and_classifies(trained: Path, tmp_path: Path) -> None:
    assert main(["sample", str(trained), "--count", "4", "--out", str(tmp_path / "grid.png")]) == 0
    found = calotype.classify(trained, "mnist5k", count=3, top=10, display=calotype.Display())
    assert all(abs(sum(p for _, p in one.classes) - 1) < 1e-6 for one in found)
    assert found[0].unlike is not None  # it was calibrated when the training ended
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert {"accuracy_holdout", "accuracy_labels_only", "d_auc"} <= set(log[-1])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--labels", "4501"], "of which 4,501 labels cannot be known: give fewer"),
        (["--labels", "3"], "give --data.labels 10 or more"),
        (["--labels", "0"], "--labels"),
        (["--data", "ring"], "makes no points"),
        (["--labels", "20", "--data.validation", "0.1", "--evaluate-every", "5"], "leave out one of them"),
    ],
)
def test_labels_that_cannot_be_are_one_line_before_anything_is_written(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code = main([*WORDS, "--steps", "2", *words, "--out", str(out)])
    assert code == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert says.replace("--data.labels", "--labels") in err[-1]
    assert not out.exists()


def test_other_models_have_no_hidden_labels_and_no_score_of_classes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vae", "--labels", "20", "--steps", "2", "--out", str(tmp_path / "vae")]) == 2
    assert "calotype train sgan" in capsys.readouterr().err
    assert main(["evaluate", str(trained), "--cas", "--out", str(tmp_path / "report")]) == 2
    assert "cannot be asked for a class" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_without_held_out_labels_it_is_judged_as_a_generator(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("the run held no images out")

    monkeypatch.setattr(recognition, "open_target", refuse)
    report = calotype.evaluate(trained, count=80, short=True, say=lambda *_: None)
    assert report.recognition is None
    assert "FD" in {score.name for score in report.scores}
    assert any("not judged as a classifier: the run held no images out" in note for note in report.notes)


def test_erased_squares_reach_its_images() -> None:
    config = replace(named("sgan").model, width=8, discriminator_width=4, shift=0.0, scale=0.0, rotate=0.0, erase=0.5)
    model = build(config, ImageSpec(28, 1, ("a", "b")))
    assert isinstance(model, SemiSupervisedGAN)
    step = Step(0, torch.Generator().manual_seed(0))
    assert 0.2 < float((model._varied(torch.ones(8, 1, 28, 28), step) == 0).float().mean()) <= 0.25
