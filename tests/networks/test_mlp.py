from __future__ import annotations

import pytest
import torch
from torch import nn

from calotype.networks.blocks import ACTIVATIONS, PIECES, ActivationName
from calotype.networks.mlp import MLPDiscriminator, MLPGenerator
from calotype.networks.norms import NormName


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 31, 31), (1, 256, 256)])
@pytest.mark.parametrize("depth", [1, 3])
def test_any_shape(shape: tuple[int, int, int], depth: int) -> None:
    generator = MLPGenerator(shape, latent=5, width=8, depth=depth)
    discriminator = MLPDiscriminator(shape, width=8, depth=depth)
    images = generator(torch.randn(3, 5))
    logits = discriminator(images)
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert logits.shape == (3,)
    assert sum(isinstance(m, nn.Linear) for m in generator.modules()) == depth + 1
    assert sum(isinstance(m, nn.Linear) for m in discriminator.modules()) == depth + 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_asked_activation_is_used(activation: ActivationName) -> None:
    kind = type(ACTIVATIONS[activation]())
    for net in (
        MLPGenerator((1, 8, 8), latent=5, width=8, depth=2, activation=activation),
        MLPDiscriminator((1, 8, 8), width=8, depth=2, activation=activation),
    ):
        assert sum(isinstance(m, kind) for m in net.modules()) == 2


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "none"])
@pytest.mark.parametrize("conditional", [False, True])
def test_every_parameter_gets_a_gradient(norm: NormName, conditional: bool) -> None:
    classes, label = (3, torch.tensor([0, 1, 2, 0])) if conditional else (0, None)
    generator = MLPGenerator((1, 8, 8), latent=5, width=8, norm=norm, classes=classes)
    discriminator = MLPDiscriminator((1, 8, 8), width=8, norm=norm, classes=classes, spectral=norm == "none", minibatch_std=True)
    images = generator(torch.randn(4, 5), label)
    loss = discriminator(images, label).square().mean() + images.mean()
    for net in (generator, discriminator):
        grads = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
        assert all(g.isfinite().all() for g in grads)
        assert sum(g.abs().max().item() > 0 for g in grads) >= len(grads) - 3 * (norm == "batch")  # biases before a batch norm


def test_labels_change_what_comes_out() -> None:
    generator = MLPGenerator((1, 8, 8), latent=5, width=8, classes=3)
    discriminator = MLPDiscriminator((1, 8, 8), width=8, classes=3)
    z, image, one, two = torch.randn(1, 5), torch.randn(1, 1, 8, 8), torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two))
    assert not torch.allclose(discriminator(image, one), discriminator(image, two))


def test_mixing_is_declared() -> None:
    for norm, spread in (("none", False), ("layer", False), ("batch", False), ("none", True)):
        torch.manual_seed(0)
        net = MLPDiscriminator((1, 8, 8), width=8, norm=norm, minibatch_std=spread)  # type: ignore[arg-type]
        image = torch.randn(2, 1, 8, 8)
        assert net.mixes_batch == (norm == "batch" or spread)
        assert torch.allclose(net(torch.cat([image, 5 * image]))[:2], net(image), atol=1e-5) != net.mixes_batch


def test_dropout() -> None:
    net = MLPDiscriminator((1, 8, 8), width=32, dropout=0.5)
    image = torch.randn(4, 1, 8, 8)
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))


def test_float32_under_autocast() -> None:
    generator, discriminator = MLPGenerator((1, 8, 8), latent=5, width=8), MLPDiscriminator((1, 8, 8), width=8)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(torch.randn(3, 5))
        logits = discriminator(images)
    assert images.dtype == logits.dtype == torch.float32


def test_a_maxout_unit_is_the_largest_of_its_linear_functions() -> None:
    torch.manual_seed(0)
    net = MLPDiscriminator((1, 4, 4), width=3, depth=1, activation="maxout")
    image = torch.randn(6, 1, 4, 4)
    linear = net.hidden[0]
    assert isinstance(linear, nn.Linear)
    assert linear.out_features == 3 * PIECES
    pieces = linear(image.flatten(1))
    expected = torch.stack([pieces[:, PIECES * unit : PIECES * (unit + 1)].max(1).values for unit in range(3)], 1)
    assert torch.equal(net(image), net.head(expected))
