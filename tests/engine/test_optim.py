from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from calotype.config import Optimizer, Schedule
from calotype.engine.device import statistics
from calotype.engine.gradients import norm_of
from calotype.engine.optim import ema_decay, make_optimizer, rate, update_average


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # one step from w = 1 with gradient 0.5 and rate 0.1, by hand from each method's definition
        ({"name": "sgd"}, 1 - 0.1 * 0.5),
        ({"name": "sgd", "weight_decay": 0.2}, 1 - 0.1 * (0.5 + 0.2)),
        ({"name": "sgd", "momentum": 0.9}, 1 - 0.1 * 0.5),
        ({"name": "sgd", "momentum": 0.9, "nesterov": True}, 1 - 0.1 * (0.5 + 0.9 * 0.5)),
        ({"name": "adam"}, 1 - 0.1),
        ({"name": "adamw", "weight_decay": 0.2}, 1 - 0.1 * 0.2 - 0.1),
        ({"name": "rmsprop"}, 1 - 0.1 * 0.5 / math.sqrt(0.01 * 0.25)),
        ({"name": "adagrad"}, 1 - 0.1),
    ],
)
def test_the_first_step_of_each_optimizer(options: dict[str, Any], expected: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(Optimizer(lr=0.1, **options), [weight])
    weight.grad = torch.full((3,), 0.5)
    optimizer.step()
    assert torch.allclose(weight, torch.full((3,), expected), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("constant", (1.0, 1.0, 1.0)), ("linear", (1.0, 0.6, 0.2)), ("cosine", (1.0, 0.6, 0.2))],
)
def test_schedules_run_from_one_to_their_end(kind: Any, values: tuple[float, float, float]) -> None:
    schedule = Schedule(kind, warmup=0.2, final=1.0 if kind == "constant" else 0.2)
    assert rate(schedule, 0.1) == pytest.approx(0.5)
    assert [rate(schedule, p) for p in (0.2, 0.6, 1.0)] == pytest.approx(values)


def test_the_average_forgets_half_in_one_half_life() -> None:
    assert ema_decay(0.1, 10**9, seen=10_000, fresh=1_000) == pytest.approx(0.5)
    assert ema_decay(0.1, 500, seen=10_000, fresh=500) == pytest.approx(0.5)  # capped
    assert ema_decay(0.1, 10**9, seen=64, fresh=512) < 1e-20  # the start is forgotten at once


def test_the_average_moves_floats_and_copies_counters() -> None:
    average, model = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(4.0)  # type: ignore[union-attr]
        model.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.state_dict()["running_mean"].tolist() == [1.0, 1.0]
    assert int(average.state_dict()["num_batches_tracked"]) == 7


def test_the_average_copies_the_vectors_of_spectral_normalization() -> None:
    """Means of unit vectors are shorter, and would give another largest singular value."""
    torch.manual_seed(0)
    model = spectral_norm(nn.Linear(6, 5))
    average = copy.deepcopy(model)
    kept = {name: t.clone() for name, t in average.state_dict().items()}
    with torch.no_grad():
        model.parametrizations.weight.original.copy_(torch.randn(5, 6))  # type: ignore[union-attr]
    for _ in range(50):
        model(torch.zeros(1, 6))  # iterates the vectors
    update_average(average, model, 0.75)
    old, new = average.state_dict(), model.state_dict()
    for name in ("parametrizations.weight.0._u", "parametrizations.weight.0._v"):
        assert not torch.allclose(kept[name], new[name], atol=0.1)
        assert torch.equal(old[name], new[name])
        assert float(old[name].norm()) == pytest.approx(1, abs=1e-5)
    weight = "parametrizations.weight.original"
    assert torch.allclose(old[weight], 0.75 * kept[weight] + 0.25 * new[weight])


def test_of_buffers_only_running_statistics_are_averaged() -> None:
    class Holder(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            for name in ("running_mean", "running_var", "codebook", "narrow"):
                self.register_buffer(name, torch.full((2,), value, dtype=torch.float16 if name == "narrow" else torch.float32))
            self.frozen = nn.Parameter(torch.full((2,), value), requires_grad=False)

    average, model = Holder(0.0), Holder(4.0)
    update_average(average, model, 0.75)
    found = {name: t.tolist() for name, t in average.state_dict().items()}
    assert found == {
        "frozen": [1.0, 1.0],
        "running_mean": [1.0, 1.0],
        "running_var": [1.0, 1.0],
        "codebook": [4.0, 4.0],
        "narrow": [4.0, 4.0],
    }
    assert len(statistics(model)) == 2


def test_norm_of_several_tensors_is_that_of_all_numbers() -> None:
    assert float(norm_of([torch.tensor([3.0]), torch.tensor([[4.0], [12.0]])])) == pytest.approx(13.0)


@pytest.mark.parametrize(("progress", "expected"), [(0.1, 0.5), (0.2, 1.0), (0.6, 1.0), (0.8, 0.5), (1.0, 0.0)])
def test_a_rate_that_is_held_falls_in_the_rest(progress: float, expected: float) -> None:
    assert rate(Schedule("linear", warmup=0.2, hold=0.5), progress) == pytest.approx(expected, abs=1e-9)
