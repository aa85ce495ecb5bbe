from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.models.coupled import CoupledGANConfig, coupled
from calotype.networks.coupled import CoupledDiscriminator, CoupledGenerator, Sides, TwoScores, of_digits
from calotype.networks.dcgan import DCGANDiscriminator, DCGANGenerator

CoupledName = Literal["dcgan", "digits"]
GRAY: Sides = ((1, 28, 28), (1, 28, 28))
either = pytest.mark.parametrize("network", ["dcgan", "digits"])


def both(sides: Sides = GRAY, network: CoupledName = "dcgan", spectral: bool = False) -> tuple[CoupledGenerator, CoupledDiscriminator]:
    torch.manual_seed(0)
    return coupled(CoupledGANConfig(network=network, latent=5, width=4, spectral=spectral), sides)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        generator, discriminator = of_digits(GRAY, latent=100)
    assert (count(generator), count(discriminator)) == (7_842_694, 427_593)


@pytest.mark.parametrize(
    ("network", "size", "channels"),
    [
        ("dcgan", 8, (3, 1)),
        ("dcgan", 28, (1, 1)),
        ("dcgan", 33, (1, 3)),
        ("dcgan", 64, (3, 3)),
        ("digits", 28, (1, 1)),
        ("digits", 28, (3, 1)),
    ],
)
def test_pairs_have_the_shapes_of_their_domains(network: CoupledName, size: int, channels: tuple[int, int]) -> None:
    sides = (channels[0], size, size), (channels[1], size, size)
    generator, discriminator = both(sides, network)
    images = generator(torch.randn(3, 5))
    assert [x.shape[1:] for x in images] == list(sides)
    assert all(x.dtype == torch.float32 and float(x.detach().abs().max()) <= 1 for x in images)
    logits = discriminator(images[0], images[1][:2])
    assert logits.shape == (5,)
    assert logits.dtype == torch.float32


def test_digits_are_of_one_size_alone() -> None:
    with pytest.raises(UserError, match=r"makes images of 28 pixels, not 32: take `model\.network=dcgan`"):
        both(((1, 32, 32), (1, 32, 32)), "digits")


def test_only_one_layer_of_each_domain_is_its_own() -> None:
    generator, discriminator = both()
    alone = DCGANGenerator((1, 28, 28), latent=5, width=4), DCGANDiscriminator((1, 28, 28), width=4, norm="none")
    for network, single in zip((generator, discriminator), alone, strict=True):
        assert count(network) == count(single) + count(network.own[1])
        assert isinstance(network.own[0], nn.Conv2d | nn.ConvTranspose2d)
    assert not torch.equal(*(layer.weight for layer in generator.own))  # type: ignore[arg-type]


def moved(network: nn.Module, part: nn.Module, outputs: Tensor | tuple[Tensor, ...], again: object) -> list[bool]:
    """Which outputs change with the first weight of a part."""
    with torch.no_grad():
        next(part.parameters()).add_(1.0)
        after = again()  # type: ignore[operator]
    return [not torch.allclose(a, b) for a, b in zip(outputs, after, strict=True)]


@either
def test_a_domain_is_changed_by_its_own_layer_and_both_by_shared_ones(network: CoupledName) -> None:
    generator, discriminator = both(network=network)
    generator.eval()
    z, images = torch.randn(2, 5), torch.randn(2, 1, 28, 28)
    draw = lambda: generator(z)  # noqa: E731
    judge = lambda: discriminator(images, images).split(2)  # noqa: E731
    assert moved(generator, generator.own[1], draw(), draw) == [False, True]
    assert moved(generator, generator.shared, draw(), draw) == [True, True]
    assert moved(discriminator, discriminator.own[0], judge(), judge) == [True, False]
    assert moved(discriminator, discriminator.shared, judge(), judge) == [True, True]


@either
def test_images_are_judged_one_by_one_and_of_their_own_domain(network: CoupledName) -> None:
    discriminator = both(network=network)[1]
    first, second = torch.randn(3, 1, 28, 28), torch.randn(2, 1, 28, 28)
    logits = discriminator(first, second)
    assert torch.allclose(logits[1:2], discriminator(first[1:2], second[:0]), atol=1e-5)
    assert torch.allclose(logits[3:], discriminator(first[:0], second), atol=1e-5)
    assert not torch.allclose(discriminator(first, first[:0]), discriminator(first[:0], first), atol=1e-3)


@pytest.mark.parametrize(("network", "spectral"), [("dcgan", False), ("dcgan", True), ("digits", False)])
def test_every_parameter_gets_a_gradient(network: CoupledName, spectral: bool) -> None:
    generator, discriminator = both(network=network, spectral=spectral)
    assert spectral == any("parametrizations" in name for name, _ in discriminator.named_parameters())
    loss = discriminator(*generator(torch.randn(4, 5))).square().mean()
    for one in (generator, discriminator):
        grads = torch.autograd.grad(loss, list(one.parameters()), retain_graph=True)
        assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_two_scores_are_one_logit() -> None:
    head, features = TwoScores(6), torch.randn(4, 6)
    beliefs = head.scores(features).softmax(1)
    assert torch.allclose(head(features).sigmoid(), beliefs[:, 1], atol=1e-6)


@either
def test_float32_logits_and_images_under_autocast_in_any_layout(network: CoupledName) -> None:
    generator, discriminator = both(network=network)
    generator.eval()
    z = torch.randn(4, 5)
    plain = discriminator(*generator(z))
    for one in (generator, discriminator):
        one.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert torch.allclose(discriminator(*generator(z)), plain, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z)
        logits = discriminator(*images)
    assert {images[0].dtype, images[1].dtype, logits.dtype} == {torch.float32}
    assert torch.allclose(logits, plain, atol=0.1)
