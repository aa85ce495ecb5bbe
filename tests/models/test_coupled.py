"""Coupled GANs: what they learn from, what binds a pair, and whether a short training binds any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from calotype.capabilities import DrawsPairs
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.losses.adversarial import LOSSES
from calotype.models import CoupledGAN, CoupledGANConfig, build
from calotype.types import Batch, Condition, ImageSpec, Noise, Source, Step
from tests.small import changed, small, split_of

EDGES = Source(1, degradation="edges", paired=False)
SPEC = ImageSpec(28, 1, source=EDGES)


def model_of(spec: ImageSpec = SPEC, **settings: Any) -> CoupledGAN:
    torch.manual_seed(0)
    return CoupledGAN(CoupledGANConfig(**{"width": 4, "latent": 5, **settings}), spec)


def batch_of(n: int = 4) -> Batch:
    images = torch.rand(2, n, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(images[0], Condition(source=images[1]))


def losses(model: CoupledGAN, batch: Batch) -> dict[str, Tensor]:
    step = Step(0, torch.Generator().manual_seed(0))
    return {player.name: player.loss(batch, step)["loss"] for player in model.players()}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, r"two kinds of pictures that are not paired: .*`data\.paired=False`"),
        (replace(EDGES, paired=True), "not paired"),
        (Source(1, 2, degradation="downsample:2", paired=False), "pairs of one size, which downsample:2 of other pictures does not give"),
        (Source(1, 1, ("sigma",), "noise:0-55", paired=False), "pairs of one size"),
    ],
)
def test_two_sides_of_one_size_that_are_not_paired_are_needed(source: Source | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        model_of(replace(SPEC, source=source))


def test_pairs_are_drawn_from_one_noise_and_the_first_is_the_sample() -> None:
    model = model_of(ImageSpec(16, 3, source=EDGES)).eval()
    assert isinstance(model, DrawsPairs)
    assert model.starts_from is None
    first, second = model.sample_pairs(Noise(3, seed=2))
    assert first.shape == (3, 3, 16, 16)
    assert second.shape == (3, 1, 16, 16)
    assert torch.equal(model.sample(Noise(3, seed=2)), first)
    assert torch.equal(model.decode(Noise(3, seed=2).normal(*model.latent_shape)), first)
    assert torch.allclose(model.sample_pairs(Noise(1, seed=2, start=2))[1], second[2:], atol=1e-5)
    with pytest.raises(UserError, match="without labels"):
        model.sample_pairs(Noise(1), Condition(torch.tensor([3])))


@pytest.mark.parametrize("loss", ["non_saturating", "least_squares", "hinge", "relativistic_pairing"])
def test_the_loss_is_the_sum_of_those_of_both_domains(loss: Any) -> None:
    model, batch = model_of(loss=loss, spectral=False), batch_of()
    both, function = losses(model, batch), LOSSES[loss].function
    fake = model._pairs(batch, Step(0, torch.Generator().manual_seed(0)))
    real = batch.image, batch.condition.source
    none = batch.image[:0]
    alone = [(lambda x, side=side: model.discriminator(*((x, none) if side == 0 else (none, x)))) for side in (0, 1)]
    for role in ("discriminator", "generator"):
        expected = sum(function(role, alone[side](fake[side]), alone[side](real[side])) for side in (0, 1))
        assert float(both[role]) == pytest.approx(float(expected), abs=1e-5)


def test_the_generators_step_takes_the_pairs_that_the_discriminators_saw() -> None:
    model, batch = model_of(), batch_of()
    discriminator, generator = model.players()
    step = Step(0, torch.Generator().manual_seed(0))
    discriminator.loss(batch, step)
    state = step.rng.get_state()
    first = generator.loss(batch, step)["loss"]
    assert torch.equal(step.rng.get_state(), state)
    assert not step.cache
    again = generator.loss(batch, step)["loss"]  # where nothing is shared it draws its own
    assert not torch.equal(step.rng.get_state(), state)
    assert not torch.equal(first, again)


def test_each_domain_is_judged_by_its_own_images() -> None:
    model, batch = model_of(), batch_of()
    swapped = Batch(batch.condition.source, Condition(source=batch.image))  # type: ignore[arg-type]
    assert not torch.allclose(losses(model, batch)["discriminator"], losses(model, swapped)["discriminator"], atol=1e-5)
    with pytest.raises(ValueError, match="two sides"):
        losses(model, Batch(batch.image))


def test_watching_looks_at_both_domains_and_changes_nothing() -> None:
    model, batch = model_of(), batch_of()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    step = Step(0, torch.Generator().manual_seed(0))
    found = model.watch(batch, batch, step)
    assert {"d_real", "d_fake", "d_holdout", "d_accuracy", "d_auc"} <= found.keys()
    assert torch.allclose(found["d_real"], found["d_holdout"])
    other = model.watch(batch, Batch(batch.image, Condition(source=-batch.condition.source)), step)  # type: ignore[operator]
    assert not torch.allclose(other["d_real"], other["d_holdout"], atol=1e-6)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_settings_of_the_other_network_are_told() -> None:
    assert CoupledGANConfig().idle(SPEC) == {}
    assert CoupledGANConfig("coupled", "digits").idle(SPEC).keys() == {"width", "spectral"}


@pytest.mark.parametrize("network", ["dcgan", "digits"])
def test_either_network_takes_steps(network: str) -> None:
    config = changed(small("cogan", 4), model=changed(small("cogan").model, network=network))
    trainer = Trainer(config, split_of("cogan"), TrainState(steps=4), torch.device("cpu"), World())
    before = {name: t.clone() for name, t in trainer.model.named_parameters()}
    for _ in range(2):
        trainer.step(watch=True)
    assert trainer.all_finite()
    assert [name for name, t in trainer.model.named_parameters() if torch.equal(t, before[name])] == []
    assert isinstance(build(config.model, trainer.loader.spec), CoupledGAN)
