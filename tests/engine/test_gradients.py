"""Gradients of one player alone: as autograd computes them, of sharded parameters as well, and in parts of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from calotype.config import Config, Optimizer, Schedule
from calotype.engine import feasible
from calotype.engine.distributed import World
from calotype.engine.gradients import Owned
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import TrainingError, UserError
from tests.small import final_state, same, small, spec_of, split_of


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 6))
    return generator, nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))


@pytest.fixture
def alone() -> Iterator[object]:
    """A group of one process, and the mesh of it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def trainer_of(config: Config) -> Trainer:
    return Trainer(config, split_of(config.recipe), TrainState(steps=100), torch.device("cpu"), World())


def full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


@pytest.mark.parametrize("sharded", [False, True])
def test_gradients_are_those_of_autograd_and_no_other_parameter_gets_any(sharded: bool, request: pytest.FixtureRequest) -> None:
    plain_g, plain_d = pair()
    generator, discriminator = pair()
    if sharded:
        mesh = request.getfixturevalue("alone")
        for module in (generator[1], generator, discriminator):  # type: ignore[index]
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    z = torch.randn(5, 4)
    owned, judging = Owned("generator", generator), Owned("discriminator", discriminator)
    assert owned.sharded == sharded
    for _ in range(2):  # the graph of the images serves both players
        fake, plain_fake = generator(z), plain_g(z)
        judging.backward(discriminator(fake.detach()).mean())
        expected = torch.autograd.grad(plain_d(plain_fake.detach()).mean(), list(plain_d.parameters()))
        assert all(torch.equal(full(a), b) for a, b in zip(judging.gradients(), expected, strict=True))
        judging.clear()
        owned.backward(discriminator(fake).mean())
        expected = torch.autograd.grad(plain_d(plain_fake).mean(), list(plain_g.parameters()))
        assert all(float(g.abs().max()) > 0 for g in expected)
        assert all(torch.equal(full(a), b) for a, b in zip(owned.gradients(), expected, strict=True))
        assert all(p.grad is None for p in discriminator.parameters())
        owned.clear()


def test_a_parameter_without_a_part_in_the_loss_gets_zeros_and_a_loss_without_parameters_is_an_error() -> None:
    generator, discriminator = pair()
    owned = Owned("generator", generator)
    owned.backward(generator[0](torch.randn(5, 4)).mean())  # type: ignore[index]
    gradients = owned.gradients()
    assert float(gradients[0].abs().max()) > 0
    assert float(gradients[-1].abs().max()) == 0
    owned.clear()
    owned.backward(discriminator(torch.randn(5, 6)).mean())
    with pytest.raises(TrainingError, match="the loss of generator does not depend on its parameters"):
        owned.gradients()


@pytest.mark.parametrize("name", ["dcgan", "flow-matching", "rpgan"])
def test_a_sharded_player_takes_the_step_of_one_that_is_whole(name: str, alone: object) -> None:
    config = small(name)
    config = replace(config, optimizer=replace(config.optimizer, clip=0.5, l1=1e-4))
    config = replace(config, train=replace(config.train, channels_last=False))  # which FSDP2 does not take
    whole, sharded = (trainer_of(config) for _ in range(2))
    for player in sharded.players:
        fully_shard(player.module, mesh=alone)  # type: ignore[arg-type]
    sharded.claim()
    assert all(owned.sharded for owned in sharded.owned.values())
    for _ in range(2):
        logs = [trainer.step(watch=True) for trainer in (whole, sharded)]
    assert {k: float(v) for k, v in logs[0].items()} == {k: float(v) for k, v in logs[1].items()}
    for (key, a), b in zip(whole.model.named_parameters(), sharded.model.parameters(), strict=True):
        assert torch.equal(a, full(b)), key


def accumulated(name: str, parts: int, **model: Any) -> Trainer:
    config = small(name, **model)
    train = replace(config.train, batch=8, accumulate=parts, precision="fp32")
    return trainer_of(replace(config, train=train, optimizer=Optimizer("sgd", lr=0.1)))


def test_a_batch_in_parts_gives_the_gradient_of_the_whole() -> None:
    whole, parts = accumulated("upscale", 1), accumulated("upscale", 4)
    logs = [trainer.step(watch=True) for trainer in (whole, parts)]
    assert whole.progress == parts.progress
    assert float(logs[0]["restorer/loss"]) == pytest.approx(float(logs[1]["restorer/loss"]), rel=1e-5)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


GAMES: dict[str, tuple[str, dict[str, Any]]] = {  # that draw nothing but latents, of 16 numbers: they come alike in parts
    "pairs by class, both penalties": ("rpgan", {"generator.norm": "none", "latent": 16}),
    "two steps of the critic": ("dcgan", {"norm": "none", "latent": 16, "critic_steps": 2}),
    "by layer": ("dcgan", {"norm": "layer", "latent": 16, "critic_steps": 2, "loss": "hinge"}),
}


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("game", GAMES)
def test_a_game_in_parts_is_that_of_the_whole_batch(game: str, parts: int) -> None:
    name, model = GAMES[game]
    whole, divided = accumulated(name, 1, **model), accumulated(name, parts, **model)
    before = [p.clone() for p in whole.model.parameters()]
    logs = [trainer.step(watch=True) for trainer in (whole, divided)]
    for player in ("discriminator", "generator"):
        assert float(logs[0][f"{player}/loss"]) == pytest.approx(float(logs[1][f"{player}/loss"]), rel=1e-4)
        assert float(logs[0][f"{player}/gradient_norm"]) == pytest.approx(float(logs[1][f"{player}/gradient_norm"]), rel=1e-3)
    for a, b, start in zip(whole.model.parameters(), divided.model.parameters(), before, strict=True):
        torch.testing.assert_close(a - start, b - start, rtol=1e-3, atol=1e-6)


def test_a_game_in_parts_is_another_where_images_of_a_batch_meet() -> None:
    model = {"norm": "batch", "latent": 16, "critic_steps": 2}
    whole, divided = (accumulated("dcgan", parts, **model) for parts in (1, 4))
    logs = [trainer.step(watch=True) for trainer in (whole, divided)]
    assert float(logs[0]["discriminator/loss"]) != pytest.approx(float(logs[1]["discriminator/loss"]), rel=1e-3)


def test_players_of_a_batch_in_parts_share_no_graph() -> None:
    trainer = accumulated("dcgan", 2)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    log = trainer.step(watch=True)
    assert all(bool(torch.isfinite(v)) for v in log.values())
    assert any(not torch.equal(before[k], v) for k, v in trainer.model.state_dict().items() if k.startswith("generator"))


@pytest.mark.parametrize("name", ["dcgan", "wgan-gp", "vae"])
def test_a_run_in_parts_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    config = small(name)
    config = replace(config, schedule=Schedule(), train=replace(config.train, batch=8, accumulate=2, steps=4))
    whole = train(config, out=tmp_path / "whole")
    half = train(replace(config, train=replace(config.train, steps=2)), out=tmp_path / "half")
    resumed = resume(half.run.folder, config)
    states = [
        {k: v for k, v in final_state(r.run.folder).items() if not k.startswith("average/")}  # which also moves where a run ends
        for r in (whole, resumed)
    ]
    assert same(*states)


def test_a_batch_that_parts_cannot_share_is_said() -> None:
    with pytest.raises(UserError, match="batch 8 cannot be shared by 3 parts"):
        accumulated("vae", 3)
    config = small("gan")
    config = replace(config, train=replace(config.train, batch=2, accumulate=2))
    with pytest.raises(UserError, match=r"give a `train\.batch` of 4"):
        feasible.require_room(config, spec_of("gan"), torch.device("cpu"), World())


@pytest.mark.parametrize("name", ["dcgan", "wgan-gp", "rpgan", "flow-matching", "vae"])
def test_the_order_of_the_weights_in_memory_changes_no_step(name: str) -> None:
    """Fused optimizers go through parameter and gradient as they lie in memory, and a penalty's gradient may lie otherwise."""
    config = small(name)
    config = replace(config, train=replace(config.train, precision="fp32"), optimizer=Optimizer("adam", lr=1e-3, betas=(0.0, 0.99)))
    config = replace(config, schedule=Schedule())
    either = [trainer_of(replace(config, train=replace(config.train, channels_last=last))) for last in (True, False)]
    for trainer in either:
        trainer.step()
    for player in either[0].players:
        changed, same_sign = 0, 0
        first = {id(p): n for n, p in either[0].model.named_parameters()}
        others = dict(either[1].model.named_parameters())
        start = dict(trainer_of(config).model.named_parameters())
        for parameter in either[0].owned[player.name].parameters:
            key = first[id(parameter)]
            a, b = parameter - start[key], others[key] - start[key]
            moved = (a.abs() > 1e-4) & (b.abs() > 1e-4)
            changed += int(moved.sum())
            same_sign += int((a.sign() == b.sign())[moved].sum())
        assert same_sign > 0.97 * changed > 0  # Adam's first step is the sign of the gradient
