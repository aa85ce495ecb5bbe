from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from calotype.config import Config
from calotype.engine import checkpoint
from calotype.engine.display import Display
from calotype.engine.run import Run
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer
from calotype.errors import TrainingError, UserError
from calotype.models.stored import finite
from tests.small import final_state, same, tiny_gan


class Said(Display):
    """Keeps what a training says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def interrupt(run: Path, keep: int) -> None:
    """Bring a finished run back to where a kill would have left it: only an early checkpoint."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > keep:
            shutil.rmtree(path)


def test_a_resumed_run_ends_like_one_that_never_stopped(runs: Path) -> None:
    config = tiny_gan(8)
    straight = train(config, out=runs / "a")
    train(config, out=runs / "b")
    interrupt(runs / "b", 6)
    result = resume(runs / "b")
    assert result.complete
    assert same(final_state(runs / "a"), final_state(runs / "b"))
    steps = [json.loads(line)["step"] for line in (runs / "b" / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 8]  # nothing twice, nothing missing
    assert straight.run.model.joinpath("model.safetensors").read_bytes() == result.run.model.joinpath("model.safetensors").read_bytes()


def test_another_seed_is_another_run(runs: Path) -> None:
    config = tiny_gan(4)
    train(config, out=runs / "a")
    train(replace(config, train=replace(config.train, seed=1)), out=runs / "b")
    assert not same(final_state(runs / "a"), final_state(runs / "b"))


def test_minutes_are_steps_that_were_counted_once(runs: Path) -> None:
    config = tiny_gan(4)
    result = train(replace(config, train=replace(config.train, steps=None, minutes=0.005)), out=runs / "a")
    facts = json.loads((runs / "a" / "config.json").read_text())
    assert facts["resolved"]["steps"] == result.steps == result.step
    again = replace(config, train=replace(config.train, steps=result.steps), log=replace(config.log, checkpoints=10**6))
    train(again, out=runs / "b")
    assert same(final_state(runs / "a"), final_state(runs / "b"))


def test_a_finished_run_can_be_given_a_larger_budget(runs: Path) -> None:
    config = tiny_gan(4)
    train(config, out=runs / "a")
    with pytest.raises(UserError, match="complete at step 4"):
        resume(runs / "a")
    longer = replace(config, train=replace(config.train, steps=6))
    assert resume(runs / "a", longer).step == 6
    assert final_state(runs / "a")["optimizer/generator/0/step"] == 6


def test_changed_settings_are_refused_with_their_difference(runs: Path) -> None:
    config = tiny_gan(4)
    train(config, out=runs / "a")
    with pytest.raises(UserError, match=r"optimizer.lr: .* -> 0.5"):
        resume(runs / "a", replace(config, optimizer=replace(config.optimizer, lr=0.5)))


def test_changed_images_are_refused(runs: Path) -> None:
    config = tiny_gan(4)
    train(config, out=runs / "a")
    facts = json.loads((runs / "a" / "config.json").read_text())
    facts["data"]["fingerprint"] = "0" * 64
    (runs / "a" / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="changed since the run began"):
        resume(runs / "a")


def test_a_folder_that_is_no_run_and_a_run_without_checkpoints(runs: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        resume(runs)
    whole = train(tiny_gan(6), out=runs / "a")
    train(tiny_gan(6), out=runs / "b")
    for path in (runs / "b" / "checkpoints").iterdir():
        shutil.rmtree(path)
    said = Said()
    assert resume(runs / "b", display=said).complete
    assert "it begins at step 0" in said.lines[0]
    assert same(final_state(runs / "a"), final_state(runs / "b"))
    for name in ("model/model.safetensors", "samples/step-000000006.png"):
        assert (runs / "a" / name).read_bytes() == (runs / "b" / name).read_bytes()
    assert [r["step"] for r in Run(runs / "b").log().read()] == [r["step"] for r in whole.run.log().read()] == [2, 4, 6]


def test_an_occupied_folder_is_left_alone(runs: Path) -> None:
    (runs / "a").mkdir()
    (runs / "a" / "thesis.txt").write_text("the only copy")
    with pytest.raises(UserError, match="not empty"):
        train(tiny_gan(2), out=runs / "a")
    assert [p.name for p in (runs / "a").iterdir()] == ["thesis.txt"]


def test_too_few_images_for_the_batch_write_nothing(runs: Path) -> None:
    config = tiny_gan(2)
    with pytest.raises(UserError, match="5,000"):
        train(replace(config, train=replace(config.train, batch=5000)), out=runs / "a")
    assert list(runs.iterdir()) == []


class Poison:
    """Turns the weights to NaN at a step, a number of times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, times: int) -> None:
        self.left = times
        original = Trainer.step

        def step(trainer: Trainer, watch: bool = False) -> dict[str, torch.Tensor]:
            log = original(trainer, watch)
            if trainer.progress.step == at and self.left:
                self.left -= 1
                with torch.no_grad():
                    next(trainer.model.parameters()).fill_(float("nan"))
            return log

        monkeypatch.setattr(Trainer, "step", step)


def test_a_run_that_breaks_once_goes_back_and_finishes(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, at=5, times=1)
    result = train(tiny_gan(8), out=runs / "a")
    assert result.complete
    assert finite(final_state(runs / "a"))
    events = [json.loads(line) for line in (runs / "a" / "log.jsonl").read_text().splitlines()]
    rollback = next(e for e in events if "event" in e)
    assert (rollback["event"], rollback["to"], rollback["lr_scale"]) == ("rollback", 4, 0.5)
    saved = checkpoint.load_newest(runs / "a" / "checkpoints")
    assert saved is not None
    assert saved.facts["lr_scale"] == 0.5


def test_a_run_that_keeps_breaking_ends_clearly_and_intact(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison = Poison(monkeypatch, at=5, times=100)
    with pytest.raises(TrainingError, match="intact at step 4"):
        train(tiny_gan(8), out=runs / "a")
    assert poison.left == 96  # the first time and three retries
    saved = checkpoint.load_newest(runs / "a" / "checkpoints")
    assert saved is not None
    assert finite(saved.tensors)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon", "rmsprop", "adagrad"])
def test_every_optimizer_resumes_exactly_with_decay_l1_and_clipping(runs: Path, name: str) -> None:
    base = tiny_gan(6)
    momentum = 0.5 if name in ("sgd", "rmsprop") else 0.0
    optimizer = replace(base.optimizer, name=name, momentum=momentum, weight_decay=0.01, l1=1e-4, clip=0.5, lr=1e-3)
    config: Config = replace(base, optimizer=optimizer)
    train(config, out=runs / "a")
    train(config, out=runs / "b")
    interrupt(runs / "b", 4)
    resume(runs / "b")
    assert same(final_state(runs / "a"), final_state(runs / "b"))
