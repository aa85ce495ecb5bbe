"""The loop on a model whose every step can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calotype.config import Data, Optimizer, Schedule
from calotype.data import load
from calotype.engine import trainer as under_test
from calotype.engine.distributed import World
from calotype.engine.optim import EMA_EVERY
from calotype.engine.shown import grid
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import TrainingError
from calotype.pictures import to_uint8
from calotype.types import Batch, ImageSpec, Model, Player, Step
from tests.small import small, split_of, tiny_gan


class Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, 4.0]))


class Toy(Model):
    """Two players that roll down their own slopes: the gradient of the first is (3, 4), of the second (1, 1)."""

    bf16_pays = False

    def __init__(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        super().__init__()
        self.spec = ImageSpec(28, 1)
        self.a, self.b = Weight(), Weight()
        self.options = first, second
        self.seen: list[tuple[str, Tensor]] = []

    def players(self) -> Sequence[Player]:
        return (
            Player("a", self.a, self.slope("a", self.a, torch.tensor([3.0, 4.0])), **self.options[0]),
            Player("b", self.b, self.slope("b", self.b, torch.ones(2)), **self.options[1]),
        )

    def slope(self, name: str, module: Weight, gradient: Tensor) -> Any:
        def loss(batch: Batch, step: Step) -> dict[str, Tensor]:
            self.seen.append((name, batch.image))
            return {"loss": (module.w * gradient).sum()}

        return loss


def toy(
    monkeypatch: pytest.MonkeyPatch, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **options: Any
) -> Trainer:
    monkeypatch.setattr(under_test, "build", lambda config, spec: Toy(first or {}, second or {}))
    config = tiny_gan(100)
    train = replace(config.train, **{name: options.pop(name) for name in ("ema", "ema_images") if name in options})
    schedule = options.pop("schedule", Schedule())
    config = replace(config, optimizer=Optimizer("sgd", lr=0.1, **options), schedule=schedule, train=train)
    return Trainer(config, load("mnist5k"), TrainState(steps=100), torch.device("cpu"), World())


def weights(trainer: Trainer) -> list[float]:
    return [round(float(x), 5) for p in trainer.model.parameters() for x in p.detach()]


def test_one_step_of_each_player(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch)
    trainer.step()
    assert weights(trainer) == [2.7, 3.6, 2.9, 3.9]
    assert (trainer.progress.step, trainer.progress.seen) == (1, 8)


def test_a_pace_scales_the_rate_of_its_player_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, second={"lr_mult": 5.0})
    trainer.step()
    assert weights(trainer) == [2.7, 3.6, 2.5, 3.5]


def test_the_schedule_and_a_retreat_scale_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, schedule=Schedule("linear"))
    trainer.progress.step, trainer.progress.lr_scale = 50, 0.5  # half of the budget is spent, and one rollback lies behind
    trainer.step()
    assert weights(trainer) == [2.925, 3.9, 2.975, 3.975]


def test_clipping_shortens_the_whole_gradient_of_a_player(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, clip=2.5)  # the gradient of the first has norm 5, that of the second 1.41
    log = trainer.step(watch=True)
    assert weights(trainer) == [2.85, 3.8, 2.9, 3.9]
    assert float(log["a/gradient_norm"]) == pytest.approx(5.0)


def test_l1_pulls_towards_zero_and_l2_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, l1=0.5)
    trainer.step()
    assert weights(trainer) == [2.65, 3.55, 2.85, 3.85]
    trainer = toy(monkeypatch, weight_decay=1.0)
    trainer.step()
    assert weights(trainer) == [2.4, 3.2, 2.6, 3.5]


def test_repeated_turns_get_fresh_batches_and_count_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, first={"repeats": 3})
    trainer.step()
    assert weights(trainer)[:2] == [2.1, 2.8]
    assert isinstance(trainer.model, Toy)
    assert [name for name, _ in trainer.model.seen] == ["a", "a", "a", "b"]
    images = [image for _, image in trainer.model.seen]
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[3])
    assert trainer.progress.seen == 24
    assert torch.equal(images[2], trainer.loader.batch_at(16).image)


def test_a_lazy_player_plays_seldom_and_weighs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, second={"every": 4})
    for _ in range(4):
        trainer.step()
    assert weights(trainer) == [1.8, 2.4, 2.6, 3.6]  # once with four times the gradient


def test_after_is_called_after_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    trainer = toy(monkeypatch, first={"repeats": 2, "after": lambda: calls.append(1)})
    trainer.step()
    assert len(calls) == 2


def test_the_average_lags_behind_or_is_the_model_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, ema=1.0)  # the half-life is all that was seen
    for _ in range(EMA_EVERY):
        trainer.step()
    # the average of the start and the end, a half-life apart
    assert float(trainer.average.state_dict()["b.w"][0]) == pytest.approx((3.0 + 3.0 - 0.1 * EMA_EVERY) / 2)
    assert trainer.best is trainer.average
    assert toy(monkeypatch, ema=0.0).best is not trainer.average


@pytest.mark.parametrize(
    ("first", "second", "batches"),
    [
        ({}, {}, [1] * 8),
        ({"repeats": 3}, {}, [3] * 8),
        ({}, {"every": 4, "repeats": 5}, [5, 1, 1, 1, 5, 1, 1, 1]),
        ({"every": 4, "repeats": 5}, {"every": 2}, [5, 0, 1, 0, 5, 0, 1, 0]),
    ],
)
def test_the_half_life_of_the_average_is_counted_in_images_of_all_turns(
    monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], second: dict[str, Any], batches: list[int]
) -> None:
    """After 8 and 12 steps of 8 images a batch, by hand; the half-life is 100 images, or a half of those seen."""
    for options, half_life in (({"ema": 1e9, "ema_images": 100}, lambda seen: 100.0), ({"ema": 0.5}, lambda seen: 0.5 * seen)):
        trainer = toy(monkeypatch, first, second, **options)
        trainer.progress.steps = 12
        average = start = float(trainer.model.state_dict()["b.w"][0])
        assert start == 3.0
        for until in (8, 12):
            images = 8 * sum(batches[: until - trainer.progress.step])
            while trainer.progress.step < until:
                trainer.step()
            assert trainer.progress.seen == 8 * sum((batches * 2)[:until])
            kept = 0.5 ** (images / half_life(trainer.progress.seen))
            average = kept * average + (1 - kept) * float(trainer.model.state_dict()["b.w"][0])
            assert float(trainer.average.state_dict()["b.w"][0]) == pytest.approx(average, abs=1e-5)


def test_a_lazy_player_with_several_turns_leaves_no_image_out(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch, second={"every": 2, "repeats": 3})
    drawn: list[int] = []
    whole = trainer.loader.batch_at

    def batch_at(seen: int) -> Batch:
        drawn.append(seen)
        return whole(seen)

    monkeypatch.setattr(trainer.loader, "batch_at", batch_at)
    for _ in range(4):
        trainer.step()
    assert drawn == list(range(0, 64, 8))
    assert trainer.progress.seen == 64


def test_players_must_own_every_parameter_once() -> None:
    model = Toy({}, {})
    both = model.players()
    under_test.check_ownership(model, both)
    with pytest.raises(TrainingError, match=r"owned by nobody \['b.w'\]"):
        under_test.check_ownership(model, both[:1])
    with pytest.raises(TrainingError, match=r"owned twice \['a.w'\]"):
        under_test.check_ownership(model, (*both, both[0]))


def test_a_shared_layer_has_one_name() -> None:
    model = Toy({}, {})
    players = model.players()
    model.again = model.a
    with pytest.raises(TrainingError, match=r"registered once: again\.w is known already"):
        under_test.check_ownership(model, players)


def test_a_break_is_seen_in_the_loss_the_gradient_and_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = toy(monkeypatch)
    trainer.step()
    assert trainer.all_finite()
    with torch.no_grad():
        trainer.model.state_dict()["a.w"].fill_(float("inf"))
    assert not trainer.all_finite()
    trainer = toy(monkeypatch)
    with torch.no_grad():
        trainer.model.state_dict()["b.w"].fill_(float("nan"))
    trainer.step()
    with torch.no_grad():
        trainer.model.state_dict()["b.w"].fill_(0.0)
    assert not trainer.all_finite()  # the loss was not finite, although the weights are again


def test_held_out_sources_are_shown_with_their_truth_even_where_training_has_none() -> None:
    config = small("cyclegan")
    trainer = Trainer(config, split_of("cyclegan"), TrainState(6), torch.device("cpu"), World())
    assert trainer.holdout is not None
    for loader, paired in ((trainer.loader, False), (trainer.holdout, True)):
        batch = loader.batch_at(0)
        assert batch.condition.source is not None
        assert torch.equal(batch.condition.source, -batch.image) == paired
    sheet = np.asarray(grid(trainer))[::3, ::3]  # 28 pixels a side and gaps of 2, enlarged to 480 pixels
    source, made, truth = (sheet[2:30, left : left + 28] for left in (2, 32, 62))
    assert (source == 255 - truth).all()
    assert not (made == truth).all()


@pytest.mark.parametrize("degrade", ["noise:0-9", "mask:box", "noise:0-9+mask:box"])
def test_the_maps_of_a_gray_source_are_not_shown_as_its_colors(degrade: str) -> None:
    config = small("inpaint" if "mask" in degrade else "denoise")
    config = replace(config, data=Data("mnist5k", degrade=degrade))
    trainer = Trainer(config, load("mnist5k"), TrainState(6), torch.device("cpu"), World())
    assert trainer.holdout is not None
    source = trainer.holdout.batch_at(0).condition.source
    assert source is not None
    assert source.shape[1] == 1 + degrade.count(":")
    shown = np.asarray(grid(trainer))[::3, ::3][2:30, 2:30]
    np.testing.assert_array_equal(shown, to_uint8(source[:1, :1])[0, :, :, 0])
