"""Epochs, minutes and steps become the number of steps that spends them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.config import Config, More, Training
from calotype.data import Split
from calotype.engine import timing
from calotype.engine import trainer as loop
from calotype.engine.budget import steps_of
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.models import build
from calotype.types import Batch, ImageSpec, Model, Player
from tests.small import final_state, same, small, split_of

CPU = torch.device("cpu")


def lazily(monkeypatch: pytest.MonkeyPatch, every: dict[str, int]) -> None:
    """Let players play at every n-th step only."""

    def lazy(config: Any, spec: ImageSpec) -> Model:
        model = build(config, spec)
        players = model.players

        def seldom() -> Sequence[Player]:
            return [replace(p, every=every.get(p.name, 1)) for p in players()]

        model.players = seldom  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(loop, "build", lazy)


def drawn(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images of each batch that training draws from now on."""
    sizes: list[int] = []
    whole = trainer.loader.batch_at

    def batch_at(seen: int) -> Batch:
        batch = whole(seen)
        sizes.append(len(batch.image))
        return batch

    monkeypatch.setattr(trainer.loader, "batch_at", batch_at)
    return sizes


def trainer_of(config: Config, split: Split) -> Trainer:
    return Trainer(config, split, TrainState(steps=100), CPU, World())


@pytest.mark.parametrize("epochs", [0.001, 0.02, 0.05])
@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("gan", {}),
        ("vae", {}),
        ("wgan-gp", {}),
        ("wgan-gp", {"generator": 3}),
        ("wgan-gp", {"discriminator": 2}),
        ("gan", {"discriminator": 4, "generator": 3}),
    ],
)
def test_an_epoch_is_as_many_images_as_there_are_to_train_on(
    monkeypatch: pytest.MonkeyPatch, name: str, every: dict[str, int], epochs: float
) -> None:
    lazily(monkeypatch, every)
    config, split = small(name), split_of(name)
    trainer = trainer_of(config, split)
    assert {p.name for p in trainer.players} >= every.keys()
    sizes = drawn(trainer, monkeypatch)
    wanted = epochs * len(split.train)
    last = 0
    for _ in range(steps_of(Training(epochs=epochs), trainer)):
        last = len(sizes)
        trainer.step()
    assert sum(sizes[:last]) < wanted <= sum(sizes) == trainer.progress.seen
    # and as many again from there
    start, before = trainer.progress.step, sum(sizes)
    for _ in range(steps_of(More(epochs=epochs), trainer) - start):
        last = len(sizes)
        trainer.step()
    assert sum(sizes[:last]) - before < wanted <= sum(sizes) - before
    assert trainer.progress.seen == sum(sizes)


def test_minutes_are_steps_by_the_time_of_one() -> None:
    trainer = trainer_of(small("gan"), split_of("gan"))
    trainer.progress.step = 100
    assert steps_of(Training(minutes=2), trainer, seconds_per_step=0.05) == 2400
    assert steps_of(More(minutes=2), trainer, seconds_per_step=0.05) == 2500
    assert steps_of(Training(minutes=1e-9), trainer, seconds_per_step=0.05) == 1
    assert steps_of(More(steps=7), trainer) == 107


def test_what_a_step_takes_is_remembered_or_follows_from_the_log_or_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, said = trainer_of(small("gan"), split_of("gan")), []
    monkeypatch.setattr(timing, "_seconds_per_step", lambda trainer, window, beaten: said.append(window) or 0.5)

    def end(asked: Training | More, seconds: float, timed: float, step: int) -> int:
        trainer.progress = TrainState(9, step, seconds=seconds, settings={"threads": 1, "seconds_per_step": timed, "bf16": False})
        return steps_of(asked, trainer, timing.known(trainer, asked, Display()))

    assert end(More(minutes=1), 30.0, 0.25, 100) == 100 + 240
    assert end(More(minutes=1), 30.0, 0.0, 100) == 100 + 200
    assert end(Training(minutes=1), 30.0, 0.0, 100) == 200  # counts from the beginning
    assert not said
    assert end(More(minutes=1), 0.0, 0.0, 0) == 120
    assert end(More(steps=5), 0.0, 0.0, 0) == 5
    assert said == [3.0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Training(minutes=1e9), r"`train.minutes=1e\+09` would take 6e"),
        (Training(minutes=1e300), r"`train.minutes=1e\+300` would take"),
        (Training(epochs=1e12), r"`train.epochs=1e\+12` would take"),
        (Training(epochs=1e308), r"`train.epochs=1e\+308` would take"),
        (Training(steps=10**9), r"`train.steps=1e\+09` would take 1e"),
        (More(minutes=1e9), "`more.minutes=1e"),
        (More(epochs=1e12), "`more.epochs=1e"),
        (More(steps=999_999_999), "`more.steps=1e"),
    ],
)
@pytest.mark.parametrize("name", ["gan", "wgan-gp"])
def test_a_budget_that_no_run_spends_is_one_line(name: str, asked: Training | More, says: str) -> None:
    trainer = trainer_of(small(name), split_of(name))
    trainer.progress.step = 1
    with pytest.raises(UserError, match=says) as caught:
        steps_of(asked, trainer, seconds_per_step=0.001)
    assert "999,999,999 at most: give less" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "alone", "together", "threads", "timed"),
    [
        (Training(steps=5), 9.0, 1.0, 1, []),  # a handful of steps
        (Training(steps=100), 0.01, 0.001, 1, [1]),  # a second
        (Training(steps=100), 1.0, 9.0, 1, [1, 2]),  # a busy machine
        (Training(steps=100), 1.0, 0.9, 1, [1, 2]),  # not worth it
        (Training(steps=100), 1.0, 0.5, 2, [1, 2]),
        (Training(epochs=100), 1.0, 0.5, 2, [1, 2]),
        (Training(epochs=100), 1.0, 9.0, 1, [1, 2]),
        (Training(minutes=1), 1.0, 0.5, 2, [1, 2]),
        (Training(minutes=1), 1.0, 9.0, 1, [1, 2]),
        (Training(steps=100, threads=2), 1.0, 9.0, 2, []),
    ],
)
@pytest.mark.usefixtures("two_threads")
def test_threads_are_those_that_pay_whatever_the_budget(
    monkeypatch: pytest.MonkeyPatch, asked: Training, alone: float, together: float, threads: int, timed: list[int]
) -> None:
    seen: list[int] = []

    def pace(trainer: Trainer, window: float, beaten: float = 0.0) -> float:
        seen.append(torch.get_num_threads())
        return {1: alone, 2: together}[seen[-1]]

    monkeypatch.setattr(timing, "_seconds_per_step", pace)
    config = small("gan")
    named = {name: getattr(asked, name) for name in ("minutes", "steps", "epochs", "threads")}
    config = replace(config, train=replace(config.train, **named))
    torch.set_num_threads(1 if timing.settles_threads(config, CPU, World(), 2) else 2)
    found = timing.settled(trainer_of(config, split_of("gan")), 2, Display())
    assert torch.get_num_threads() == threads
    assert seen == timed
    assert found == (0.0 if not timed else together if threads == 2 else alone)


def test_a_run_whose_first_steps_were_timed_is_the_one_that_takes_as_many_untimed(tmp_path: Path) -> None:
    timed = small("gan")
    timed = replace(timed, train=replace(timed.train, steps=None, minutes=2e-3))
    run = train(timed, out=tmp_path / "timed", display=Display())
    plain = small("gan", run.steps)
    assert run.steps > 1
    train(plain, out=tmp_path / "plain", display=Display())
    assert same(final_state(tmp_path / "timed"), final_state(tmp_path / "plain"))


def test_a_trainer_is_built_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built, build = [], loop.build
    monkeypatch.setattr(loop, "build", lambda *given: built.append(given) or build(*given))
    timed = small("gan")
    run = train(replace(timed, train=replace(timed.train, steps=None, minutes=1e-4)), out=tmp_path / "run", display=Display()).run
    assert len(built) == 1
    resume(run.folder, more=More(minutes=1e-4), display=Display())
    assert len(built) == 2


def test_threads_that_wait_for_each_other_are_not_waited_for() -> None:
    trainer, steps = trainer_of(small("gan"), split_of("gan")), []
    step = trainer.step
    trainer.step = lambda *args: steps.append(1) or step(*args)  # type: ignore[assignment,func-returns-value,method-assign]
    timing._seconds_per_step(trainer, 0.5, beaten=0.0)
    assert len(steps) == 2


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_is_recorded_for_a_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for paid, threads in ((0.1, 2), (9.0, 1)):
        torch.set_num_threads(2)
        monkeypatch.setattr(timing, "_seconds_per_step", lambda *a, paid=paid: {1: 2.0, 2: paid}[torch.get_num_threads()])
        config = small("gan", steps=20)
        config = replace(config, train=replace(config.train, threads=None))
        run = train(config, out=tmp_path / str(threads), display=Display()).run
        assert run.read_config()[1]["resolved"]["threads"] == threads
        torch.set_num_threads(2)
        resume(run.folder, more=More(steps=1), display=Display())
        assert torch.get_num_threads() == threads
        assert run.read_config()[1]["resolved"]["threads"] == threads
