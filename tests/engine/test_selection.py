"""Scores and verdicts while a run trains."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import calotype
from calotype.config import Config, Logging
from calotype.data import Split
from calotype.data.check import batch_for
from calotype.engine import checkpoint
from calotype.engine import train as engine
from calotype.engine.display import Display, Terminal
from calotype.engine.distributed import World
from calotype.engine.images import fit_config, set_aside
from calotype.engine.run import Run
from calotype.engine.selection import NOISE, ModelSelector
from calotype.engine.trainer import Trainer
from calotype.errors import TrainingError, UserError
from calotype.metrics.features import for_selection, pick
from calotype.metrics.frechet import Moments, frechet
from calotype.pictures import to_uint8
from calotype.recipes import named
from calotype.types import mix
from tests.small import final_state, same, tiny_gan


def config(steps: int = 12, **log: int) -> Config:
    return replace(tiny_gan(steps), log=Logging(**{"every": 2, "checkpoints": 4, "grid": 4, "evaluate": 3, "evaluate_images": 80, **log}))


def scores(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("event") == "score"]


def test_scores_are_taken_and_the_best_weights_kept(runs: Path) -> None:
    result = calotype.train(config(), out=runs / "run")
    found = scores(runs / "run")
    assert [s["step"] for s in found] == [3, 6, 9, 12]
    best = min(found, key=lambda s: s["FD"])
    assert [s["best"] for s in found] == [s["FD"] < min([q["FD"] for q in found[:i]], default=1e9) for i, s in enumerate(found)]
    images = to_uint8(calotype.load(result.run.best).sample(80, seed=mix(0, NOISE), batch_size=100))
    split = calotype.data.load("mnist5k")
    space = for_selection(split.train.spec)
    again = frechet(Moments.of(space.of(images).features), Moments.of(space.of(split.train.pixels).features))
    assert again == pytest.approx(best["FD"], rel=1e-4)
    assert space.hash not in {s.hash for s in (*pick("random", split.train.spec), *pick("digits", split.train.spec))}


def test_taking_scores_changes_nothing_and_a_resume_takes_them_again(runs: Path) -> None:
    calotype.train(config(), out=runs / "with")
    calotype.train(config(evaluate=100), out=runs / "without")
    assert same(final_state(runs / "with"), final_state(runs / "without"))

    calotype.train(config(steps=8), out=runs / "half")
    calotype.resume(runs / "half", config(steps=12))
    assert [s["step"] for s in scores(runs / "half")] == [3, 6, 9, 12]


def given(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the scores be these, by the number of the score."""
    monkeypatch.setattr(ModelSelector, "_distance", lambda self: (values[self.trainer.progress.step // 3 - 1], 0.1))


def test_patience_ends_a_run_that_no_longer_improves(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [5.0, 4.0, 4.5, 4.2, *[1.0] * 40])
    result = calotype.train(config(steps=100, patience=2), out=runs / "run")
    assert (result.step, result.early, result.complete) == (12, True, True)
    assert final_state(runs / "run")  # and it is saved
    with pytest.raises(UserError, match=r"give a larger `log\.patience`"):
        calotype.resume(runs / "run")
    result = calotype.resume(runs / "run", config(steps=100, patience=30))
    assert result.step == 100


def test_a_score_that_is_infinite_is_none_to_remember(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [math.inf, math.inf, 4.0, math.inf])
    said = io.StringIO()
    result = calotype.train(config(patience=9), out=runs / "run", display=Terminal(said))
    assert (result.step, result.complete) == (12, True)
    assert [s["best"] for s in scores(runs / "run")] == [False, False, True, False]
    assert "step 3: no score, since 80 images are not finite" in said.getvalue()
    saved = checkpoint.load_newest(result.run.checkpoints)
    assert saved is not None
    assert (saved.facts["best"], saved.facts["since"]) == (4.0, 1)


def test_a_resume_remembers_the_best_score_to_the_last_digit(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [2.00000001, *[2.000000012] * 40])
    whole = calotype.train(config(steps=60, patience=4), out=runs / "whole")
    calotype.train(config(steps=8, patience=4), out=runs / "half")
    resumed = calotype.resume(runs / "half", config(steps=60, patience=4))
    assert (whole.step, resumed.step) == (15, 15)


def test_weights_that_are_not_finite_are_never_the_best(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first score every weight is NaN; the run goes back, and what it keeps is finite."""
    whole, broken = Trainer.step, []

    def step(self: Trainer, watch: bool = False) -> dict[str, torch.Tensor]:
        log = whole(self, watch)
        if self.progress.step == 6 and not broken:
            broken.append(True)
            for p in (*self.model.parameters(), *self.average.parameters()):
                p.data.fill_(torch.nan)
        return log

    monkeypatch.setattr(Trainer, "step", step)
    result = calotype.train(config(steps=12, patience=9), out=runs / "run")
    assert result.complete
    assert [s["step"] for s in scores(runs / "run")] == [3, 6, 9, 12]
    assert torch.isfinite(calotype.load(result.run.best).sample(4)).all()
    events = [r["event"] for r in result.run.log().read() if "event" in r]
    assert events.count("rollback") == 1
    # the lower rate is part of the checkpoint that the run went back to
    saved = checkpoint.load_newest(result.run.checkpoints)
    assert saved is not None
    assert (saved.facts["retries"], saved.facts["lr_scale"]) == (1, 0.5)


def test_a_run_that_is_given_up_says_so_in_its_log(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "all_finite", lambda self: self.progress.step < 5)
    with pytest.raises(TrainingError):
        calotype.train(config(steps=12), out=runs / "run")
    log = Run.open(runs / "run").log().read()
    assert [r["event"] for r in log if r.get("event") in ("rollback", "gave up")] == ["rollback"] * 3 + ["gave up"]
    assert Run.open(runs / "run").read_config()
    # killed and resumed, it knows how often it went back already
    with pytest.raises(TrainingError, match="after 3 retries"):
        calotype.resume(runs / "run")


def test_patience_needs_scores_and_scores_need_images(runs: Path) -> None:
    with pytest.raises(UserError, match=r"`log\.evaluate=N`"):
        calotype.train(replace(config(), log=Logging(patience=3)), out=runs / "a")
    assert not (runs / "a").exists()
    with pytest.raises(UserError, match="64"):
        calotype.train(config(evaluate_images=50), out=runs / "b")
    assert not (runs / "b").exists()


def test_live_verdicts_are_logged_as_they_begin(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"event": "verdict", "step": 4, "name": "vanishing-gradient", "status": "WARN", "says": "it is stuck"}

    class Watcher:
        def __init__(self, records: object) -> None:
            pass

        def see(self, record: dict[str, float]) -> list[dict[str, object]]:
            assert isinstance(record["d_auc"], float)
            return [event] if record["step"] == 4 else []

    said: list[str] = []

    class Ear(engine.Display):
        def say(self, line: str) -> None:
            said.append(line)

    monkeypatch.setattr(engine, "Watcher", Watcher)
    calotype.train(config(evaluate=100), out=runs / "run", display=Ear())
    lines = [json.loads(line) for line in (runs / "run/log.jsonl").read_text().splitlines()]
    assert event in lines
    assert "step 4: it is stuck" in said


def batch_of(config: Config, split: Split) -> int:
    return fit_config(config, split, World(), Display()).train.batch


def test_a_batch_is_made_of_the_images_that_are_not_set_aside() -> None:
    config = named("resnet")
    split = calotype.data.load("mnist5k")
    few = replace(split, train=split.train.take(slice(0, config.train.batch + 10)))
    aside = replace(config, data=replace(config.data, flip=False, validation=0.5))
    assert batch_of(aside, few) == batch_for(len(set_aside(aside.data, few.train)[0])) < config.train.batch
    assert batch_of(replace(aside, data=replace(aside.data, validation=0.0)), few) == config.train.batch
