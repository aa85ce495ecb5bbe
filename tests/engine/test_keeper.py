"""Scores and verdicts while a run trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import calotype
from calotype.config import Config, Logging
from calotype.engine import train as engine
from calotype.engine.keeper import Keeper
from calotype.errors import UserError
from calotype.metrics.features import pick
from calotype.metrics.frechet import Moments, frechet
from calotype.pictures import to_uint8
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
    images = to_uint8(calotype.load(result.run.best).sample(80, seed=1, batch_size=100))
    (space,) = pick(None, calotype.load(result.run.best).spec)
    real = calotype.data.load("mnist5k").train.pixels
    again = frechet(Moments.of(space.of(images).features), Moments.of(space.of(real).features))
    assert again == pytest.approx(best["FD"], rel=1e-4)


def test_taking_scores_changes_nothing_and_a_resume_takes_them_again(runs: Path) -> None:
    calotype.train(config(), out=runs / "with")
    calotype.train(config(evaluate=100), out=runs / "without")
    assert same(final_state(runs / "with"), final_state(runs / "without"))

    calotype.train(config(steps=8), out=runs / "half")
    calotype.resume(runs / "half", config(steps=12))
    assert [s["step"] for s in scores(runs / "half")] == [3, 6, 9, 12]


def test_patience_ends_a_run_that_no_longer_improves(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([5.0, 4.0, 4.5, 4.2, 1.0, 1.0, 1.0])

    def look(self: Keeper) -> dict[str, object]:
        value = next(values)
        self.since += 1
        if better := value < self.best:
            self.best, self.since = value, 0
        return {"event": "score", "step": self.trainer.progress.step, "FD": value, "bias": 0.1, "n": 80, "best": better}

    monkeypatch.setattr(Keeper, "look", look)
    result = calotype.train(config(steps=100, patience=2), out=runs / "run")
    assert (result.step, result.early, result.complete) == (12, True, True)
    assert final_state(runs / "run")  # and it is saved


def test_patience_needs_scores_and_scores_need_images(runs: Path) -> None:
    with pytest.raises(UserError, match="--evaluate-every"):
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
