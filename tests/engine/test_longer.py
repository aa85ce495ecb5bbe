"""Any run goes on from where it is: complete or not, whatever its budget was."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from calotype.config import Config, Logging, More, Training
from calotype.engine import timing
from calotype.engine.checkpoint import load_newest
from calotype.engine.run import Run
from calotype.engine.selection import ModelSelector
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer
from calotype.errors import TrainingError, UserError
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, tiny_gan


def with_budget(steps: int = 4, **asked: float) -> Config:
    config = tiny_gan(steps)
    return replace(config, train=replace(config.train, steps=None, **asked)) if asked else config


def facts(folder: Path) -> tuple[Training, int]:
    """The budget and the number of steps as config.json has them."""
    config, rest = Run.open(folder).read_config()
    return config.train, rest["resolved"]["steps"]


def killed(monkeypatch: pytest.MonkeyPatch, folder: Path, config: Config | None = None, more: More | None = None) -> None:
    """Resume a run and end before the first step."""

    def die(self: Trainer, watch: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", die)
        with pytest.raises(KeyboardInterrupt):
            resume(folder, config, more=more)


@pytest.mark.parametrize("asked", [{}, {"minutes": 0.003}, {"epochs": 0.007}])
@pytest.mark.parametrize(("more", "steps"), [(More(steps=5), 5), (More(minutes=1), 6), (More(epochs=0.008), 5)])
def test_a_complete_run_goes_on(runs: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, float], more: More, steps: int) -> None:
    monkeypatch.setattr(timing, "_seconds_per_step", lambda trainer, window, beaten: 0.03)
    came = train(with_budget(**asked), out=runs / "a").step
    state = load_newest(runs / "a/checkpoints")
    assert state is not None
    pace = state.facts["settings"]["seconds_per_step"] or state.facts["seconds"] / came
    if more.minutes:
        more = More(minutes=steps * pace / 60)
    result = resume(runs / "a", more=more)
    assert (result.step, result.steps, result.complete) == (came + steps, came + steps, True)
    budgeted, resolved = facts(runs / "a")
    assert (budgeted.steps, budgeted.minutes, budgeted.epochs, resolved) == (came + steps, None, None, came + steps)
    # what goes on is the run that was given as many steps by their number
    train(with_budget(**asked), out=runs / "b")
    again = Run.open(runs / "b").read_config()[0]
    again = replace(again, train=replace(again.train, steps=came + steps, minutes=None, epochs=None))
    resume(runs / "b", again)
    assert same(final_state(runs / "a"), final_state(runs / "b"))


def test_more_counts_from_where_an_interrupted_run_is(runs: Path) -> None:
    train(tiny_gan(8), out=runs / "a")
    interrupt(runs / "a", 6)
    assert resume(runs / "a", more=More(steps=1)).step == 7


def test_a_run_killed_after_it_was_given_more_knows_so(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny_gan(4), out=runs / "a")
    shutil.copytree(runs / "a", runs / "b")
    resume(runs / "a", more=More(steps=5))
    killed(monkeypatch, runs / "b", more=More(steps=5))
    assert resume(runs / "b").step == 9
    assert same(final_state(runs / "a"), final_state(runs / "b"))


def scored(monkeypatch: pytest.MonkeyPatch, **log: int) -> Config:
    """A training whose scores get no better after the first."""
    monkeypatch.setattr(ModelSelector, "_distance", lambda self: (2.0, 0.1))
    return replace(tiny_gan(40), log=Logging(**{"every": 2, "checkpoints": 4, "grid": 4, "evaluate": 3, "evaluate_images": 80, **log}))


def test_a_run_that_ended_early_goes_on_and_has_as_much_patience_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = scored(monkeypatch, patience=2)
    result = train(config, out=runs / "a")
    assert (result.step, result.early) == (9, True)
    with pytest.raises(UserError, match=r"larger `log.patience`, or calotype train `resume=\S*a` `more.minutes=1`$"):
        resume(runs / "a")
    shutil.copytree(runs / "a", runs / "b")
    result = resume(runs / "a", more=More(steps=31))  # as many as there were at first
    assert (result.step, result.steps, result.early) == (15, 40, True)
    assert facts(runs / "a") == (config.train, 40)
    # a kill before the next checkpoint changes nothing
    killed(monkeypatch, runs / "b", more=More(steps=31))
    assert resume(runs / "b").step == 15
    assert same(final_state(runs / "a"), final_state(runs / "b"))


def test_more_patience_survives_a_kill(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(scored(monkeypatch, patience=2), out=runs / "a")
    killed(monkeypatch, runs / "a", scored(monkeypatch, patience=5))
    assert resume(runs / "a").step == 18  # the first two of the five scores had been taken


def test_a_budget_that_is_spent_names_the_command_that_goes_on(runs: Path) -> None:
    train(tiny_gan(6), out=runs / "a b")
    for config in (None, tiny_gan(3)):
        with pytest.raises(UserError, match="complete at step 6, and its budget counts from the beginning") as caught:
            resume(runs / "a b", config)
        assert str(caught.value).endswith(f"calotype train `resume='{runs / 'a b'}'` `more.minutes=1`")


def test_minutes_of_a_run_by_steps_follow_from_its_log(runs: Path) -> None:
    train(tiny_gan(4), out=runs / "a")
    saved = load_newest(runs / "a/checkpoints")
    assert saved is not None
    minutes = 10 * saved.facts["seconds"] / 4 / 60
    assert resume(runs / "a", with_budget(minutes=minutes)).step == 10


def test_more_is_one_budget_that_fits(runs: Path) -> None:
    train(tiny_gan(4), out=runs / "a")
    before = {p: p.read_bytes() for p in (runs / "a").rglob("*") if p.is_file()}
    for more, says in (
        (More(), "none of `more.minutes`, `more.steps`, `more.epochs`"),
        (More(minutes=1, steps=2), "got `more.minutes` and `more.steps`"),
        (More(steps=0), "steps: give a whole number from 1"),
        (More(minutes=-1), "minutes: give"),
        (More(epochs=float("nan")), "epochs"),
        (More(steps=999_999_996), "999,999,999 at most"),
        (More(epochs=1e8), "999,999,999 at most"),
        (More(minutes=1e8), "999,999,999 at most"),
    ):
        with pytest.raises(UserError, match=says):
            resume(runs / "a", more=more)
    with pytest.raises(UserError, match="more steps go on from where the run is, and steps count from its beginning"):
        resume(runs / "a", tiny_gan(9), more=More(steps=2))
    assert before == {p: p.read_bytes() for p in (runs / "a").rglob("*") if p.is_file()}


def test_a_schedule_is_that_of_the_whole_budget(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the budget grows, the rate takes up its course again."""
    config = tiny_gan(4)
    config = replace(config, schedule=replace(config.schedule, kind="linear", warmup=0.0, hold=0.0, final=0.0))
    train(config, out=runs / "a")
    seen: list[float] = []
    whole = Trainer.step

    def step(self: Trainer, watch: bool = False) -> object:
        log = whole(self, watch)
        seen.append(self.optimizers["generator"].param_groups[0]["lr"] / config.optimizer.lr)
        return log

    monkeypatch.setattr(Trainer, "step", step)
    resume(runs / "a", more=More(steps=4))
    assert [rate / seen[0] for rate in seen] == pytest.approx([1, 0.75, 0.5, 0.25])
    assert seen[0] > 0


def test_a_retreat_after_going_on_keeps_the_budget(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny_gan(4), out=runs / "a")
    monkeypatch.setattr(Trainer, "all_finite", lambda self: self.progress.step < 6)
    with pytest.raises(TrainingError, match="intact at step 4"):
        resume(runs / "a", more=More(steps=4))
    monkeypatch.undo()
    monkeypatch.chdir(runs)
    assert resume(runs / "a").step == 8
    assert json.loads((runs / "a/config.json").read_text())["resolved"]["steps"] == 8
