"""What a tracker is told is what the log holds, a resumed run goes on in it, and none of them stops a training."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from calotype.config import Config, TrackerName
from calotype.engine import tracker
from calotype.engine.display import Display
from calotype.engine.log import Log
from calotype.engine.run import Run
from calotype.engine.tracker import TrackedLog, Tracker
from calotype.engine.train import resume, train
from calotype.errors import UserError
from tests.small import tiny_gan


class Heard(Display):
    """What a training says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def configured(steps: int, name: TrackerName = "tensorboard") -> Config:
    config = tiny_gan(steps)
    return replace(config, log=replace(config.log, tracker=name))


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """All numbers in the event files, by TensorBoard's own reader."""
    events = EventAccumulator(str(run.folder / tracker.FOLDER), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def logged(run: Run) -> dict[str, list[tuple[int, float]]]:
    told: dict[str, list[tuple[int, float]]] = {}
    for record in run.log().read():
        for name, value in record.items():
            if "event" not in record and name != "step" and value is not None:
                told.setdefault(name, []).append((record["step"], pytest.approx(value, rel=1e-5, abs=1e-6)))
    return told


def test_event_files_hold_the_log_and_a_resumed_run_goes_on_in_them(tmp_path: Path) -> None:
    result = train(configured(8), out=tmp_path / "run", display=Display())
    assert scalars(result.run) == logged(result.run)
    assert len(scalars(result.run)["generator/loss"]) == 4
    events = EventAccumulator(str(tmp_path / "run" / tracker.FOLDER), size_guidance={"images": 0})
    events.Reload()
    assert events.Images("samples")[-1].step == 8
    config = configured(12)
    resume(tmp_path / "run", config, display=Display())
    assert scalars(result.run) == logged(result.run)
    assert [step for step, _ in scalars(result.run)["generator/loss"]] == [2, 4, 6, 8, 10, 12]


def test_steps_that_are_taken_again_are_there_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    told = tracker.tracked(run, configured(4), 0, print)
    log = TrackedLog(run.log().path, told)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": float(step)})
    told.rewind(1)
    log.write({"event": "rollback", "step": 3, "to": 1})
    for step in (2, 3):
        log.write({"step": step, "loss": 10.0 * step, "nothing": None})
    told.close()
    assert scalars(run) == {"loss": [(1, 1.0), (2, 20.0), (3, 30.0)]}


class Broken(ModuleType):
    """A tracker that fails at one of its calls."""

    def __init__(self, fails: str) -> None:
        super().__init__("wandb")
        self.fails, self.calls = fails, []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*given: Any, **named: Any) -> Any:
            self.calls.append((name, given, named))
            if name == self.fails:
                raise ConnectionError("no network\nand more")
            return self

        return call


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_tracker_that_throws_is_said_once_and_stops_nothing(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Broken(fails))
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    heard = Heard()
    result = train(configured(6, "wandb"), out=tmp_path / "run", display=heard)
    assert result.complete
    assert len(logged(result.run)["generator/loss"]) == 3
    said = [line for line in heard.said if line.startswith("the tracker")]
    assert said == ["the tracker failed (ConnectionError: no network): nothing more is told to it, the run goes on"]


def test_a_resumed_run_is_the_same_one_to_a_hosted_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    known = []
    for steps in (4, 6):
        fine = Broken("nothing")
        monkeypatch.setitem(sys.modules, "wandb", fine)
        config = configured(steps, "wandb")
        train(config, out=tmp_path / "run", display=Display()) if steps == 4 else resume(tmp_path / "run", config, display=Display())
        opened = next(named for name, _, named in fine.calls if name == "init")
        known.append((opened["id"], opened["name"], opened["resume"], opened["config"]["recipe"]))
        numbers = [given[0] for name, given, _ in fine.calls if name == "log" and "generator/loss" in given[0]]
        assert [row["step"] for row in numbers] == ([2, 4] if steps == 4 else [6])
    assert known[0] == known[1]
    assert known[0][1:] == ("run", "allow", "gan")


def test_a_hosted_tracker_gets_names_and_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Broken("nothing")
    monkeypatch.setitem(sys.modules, "wandb", fine)
    config = configured(4, "wandb")
    data = replace(config.data, source="/home/somebody/pets", partner="classes:cat,dog")
    config = replace(config, data=data, train=replace(config.train, start="/home/somebody/runs/first/model"))
    tracker.backend("wandb", Run(tmp_path), config, 0)
    sent = fine.calls[0][2]["config"]
    assert (sent["data"]["source"], sent["data"]["partner"], sent["train"]["start"]) == ("pets", "classes:cat,dog", "first")
    assert "somebody" not in str(sent)


def test_a_record_that_is_no_number_stops_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Broken("nothing"))
    said: list[str] = []
    told = tracker.tracked(Run(tmp_path), configured(4, "wandb"), 0, said.append)
    told.write({"step": 1, "loss": "none"})
    told.write({"step": 2, "loss": 1.0})
    assert len(said) == 1


def test_a_package_that_is_missing_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"`log.tracker=trackio` needs the package trackio \(pip install trackio\)"):
        train(configured(4, "trackio"), out=tmp_path / "run", display=Display())
    assert not (tmp_path / "run").exists()


def test_no_tracker_is_no_folder(tmp_path: Path) -> None:
    log = TrackedLog(tmp_path / "log.jsonl", Tracker(None, print))
    log.write({"step": 1, "loss": 2.0})
    assert Log(log.path).read() == [{"step": 1, "loss": 2.0}]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
