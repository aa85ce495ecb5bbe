"""What is said to be compiled is what a step runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from calotype.engine import device as machine
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer, TrainState
from calotype.models import MODELS
from calotype.recipes import named
from tests.small import ONE_OF_EACH, small, split_of

CPU = torch.device("cpu")
LEFT_ALONE = {"classifier"}  # called in parts that are mere sequences of layers


class Counting:
    """A compiler that changes nothing and counts how often what it was given is run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self.runs += 1
            return graph.forward(*args)

        return run


def trainer_of(name: str, compile_: str = "on") -> Trainer:
    config = small(name)
    config = replace(config, train=replace(config.train, compile=compile_, precision="fp32"))  # type: ignore[arg-type]
    return Trainer(config, split_of(name), TrainState(steps=100), CPU, World())


def test_every_family_is_here() -> None:
    assert {type(named(name).model) for name in ONE_OF_EACH} == set(MODELS)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_what_is_compiled_is_what_a_step_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[nn.Module, Counting] = {}
    original = nn.Module.compile

    def counted(module: nn.Module, **options: Any) -> None:
        counts[module] = Counting()
        original(module, backend=counts[module], **options)

    monkeypatch.setattr(nn.Module, "compile", counted)
    torch._dynamo.reset()
    trainer, plain = trainer_of(name), trainer_of(name, "off")
    assert plain.compiled == []
    assert [trainer.model.get_submodule(part) for part in trainer.compiled] == list(counts)
    assert bool(counts) == (name not in LEFT_ALONE)
    ours, theirs = trainer.step(watch=True), plain.step(watch=True)
    assert all(count.runs for count in counts.values())
    for term in theirs:
        assert torch.allclose(ours[term], theirs[term], rtol=1e-3, atol=1e-3), term


def test_asking_what_is_called_changes_nothing() -> None:
    trainer = trainer_of("glow", "off")
    before = {key: tensor.clone() for key, tensor in trainer.state().items()}
    assert machine.called(trainer.model, trainer.loader.batch_at(0)) == [""]
    assert all(torch.equal(before[key], tensor) for key, tensor in trainer.state().items())


def test_a_loss_that_differentiates_gradients_is_left_alone() -> None:
    assert trainer_of("wgan-gp").compiled == []
