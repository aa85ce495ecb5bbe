"""What is judged: weights inside a run know the run, and a run's own division of its images is never refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import calotype
from calotype import pictures
from calotype.config import Config, Logging
from calotype.engine.run import Run
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.generator import draw, open_candidate
from calotype.evaluation.request import Request
from calotype.evaluation.target import SELECTED, settings_of
from tests.small import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that keeps its best weights."""
    config = replace(small("dcgan", steps=8), log=Logging(every=2, checkpoints=4, grid=4, evaluate=4, evaluate_images=100))
    return calotype.train(config, out=tmp_path_factory.mktemp("runs") / "run").run


def test_the_best_weights_of_a_run_are_judged_with_its_images_and_its_log(run: Run) -> None:
    last, best, plain = (draw(open_candidate(path, Request(count=20)), 0) for path in (run.folder, run.best, run.model))
    assert (last.name, best.name, plain.name) == ("run", "run/best", "run")
    assert best.train is not None
    assert best.holdout is not None
    assert (len(best.train), len(best.holdout)) == (4500, 500)
    assert best.records == last.records == plain.records
    assert (best.recipe, best.train_seed) == ("dcgan", 0)
    assert best.notes == (SELECTED,)
    assert SELECTED not in last.notes + plain.notes
    assert (plain.images == last.images).all()
    assert plain.settings == last.settings != best.settings  # not one run judged twice
    scored = [r["step"] for r in last.records if r.get("event") == "score" and r["best"]]
    assert best.about["training"].startswith(f"{scored[-1]} steps")
    assert last.about["training"].startswith("8 steps")


def test_a_report_on_the_best_weights_has_scores(run: Run) -> None:
    report = evaluate(run.best, count=100, short=True)
    assert report.subject == "run/best"
    assert report.scores
    assert report.curves is not None
    assert any("look better" in note for note in report.notes)


def test_weights_taken_out_of_a_run_stand_alone(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.best, tmp_path / "best")
    alone = open_candidate(tmp_path / "best", Request(count=20))
    assert (alone.name, alone.train, alone.records, alone.settings) == ("best", None, [], "")


def test_the_command_names_the_subject_as_the_user_did(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder.parent)
    full = evaluate("run/model", count=100, short=True, seed=3)
    assert full.command == "calotype evaluate run/model --count 100 --seed 3"
    assert full.short
    assert evaluate(run.folder, short=True).command == f"calotype evaluate {run.folder} --seed 0"


def test_duplicates_of_the_own_source_are_told_and_not_refused(tmp_path: Path) -> None:
    """A source of few different images: nearly every held-out image is a training image too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 8, 8, 1), np.uint8)
    (tmp_path / "source").mkdir()
    for i in range(200):
        pictures.to_picture(images[i % 20]).save(tmp_path / f"source/{i:03d}.png")
    config = small("gan", steps=2, width=8, latent=4, depth=1)
    config = replace(config, data=replace(config.data, source=str(tmp_path / "source")))
    made = calotype.train(config, out=tmp_path / "run").run
    subject = open_candidate(made.folder, Request(count=20))
    assert subject.holdout is not None
    assert len(subject.holdout) == 20
    assert any("20 of 20 held-out images are duplicates of training images" in note for note in subject.notes)


def test_settings_are_those_that_decide_what_a_run_computes() -> None:
    config = small("dcgan")

    def changed(part: str, **values: object) -> Config:
        return replace(config, **{part: replace(getattr(config, part), **values)})  # type: ignore[arg-type]

    same = [changed("train", seed=7), changed("log", every=9, checkpoints=3, evaluate=5)]
    others = [
        changed("train", steps=7),
        changed("train", steps=None, minutes=1.0),
        changed("train", batch=9),
        changed("model", latent=9),
        changed("optimizer", lr=3e-5),
        changed("data", flip=True),
        changed("log", evaluate=5, patience=2),
        replace(config, recipe="other"),
    ]
    assert {settings_of(c) for c in same} == {settings_of(config)}
    marks = [settings_of(c) for c in (config, *others)] + [settings_of(config, "best")]
    assert len(set(marks)) == len(marks)
    assert all(len(mark) == 12 for mark in marks)


def test_a_model_folder_inside_another_is_found_as_sample_finds_it(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.model, tmp_path / "taken" / "model")
    subject = open_candidate(tmp_path / "taken", Request(count=4))
    assert subject.generator is not None
