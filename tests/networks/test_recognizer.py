"""The recognizer and the random network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calotype.networks.recognizer import RandomNetwork, Recognizer


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (17, 1), (28, 1), (33, 3), (64, 3)])
def test_shapes_for_every_size(size: int, channels: int) -> None:
    network = Recognizer(channels, 5, size, width=8, features=12, picture=8)
    x = torch.randn(3, channels, size, size)
    features = network.features(x)
    assert features.shape == (3, 12)
    assert network(x).shape == (3, 5)
    assert network.picture_of(features).shape == (3, channels, 8, 8)
    assert RandomNetwork(channels, 0)(x).shape == (3, 64)


@pytest.mark.parametrize("training", [True, False])
def test_the_features_of_an_image_do_not_depend_on_its_batch(training: bool) -> None:
    network = Recognizer(1, 10, 28, width=8).train(training)
    x = torch.randn(4, 1, 28, 28)
    other = torch.cat([x[:2], x[2:].flip(2)])
    assert torch.allclose(network.features(x)[:2], network.features(other)[:2], atol=1e-5)
    assert not torch.allclose(network.features(x)[2:], network.features(other)[2:], atol=1e-2)


def test_contrast_is_seen() -> None:
    # group normalization right behind the first convolution would make an image and its paler copy the same
    x = torch.randn(3, 1, 28, 28)
    for network in (Recognizer(1, 10, 28, width=8), RandomNetwork(1, 0)):
        of = network.features if isinstance(network, Recognizer) else network
        full, pale = of(x).detach(), of(0.3 * x).detach()
        assert float((full - pale).norm() / full.norm()) > 0.03


def test_the_logits_are_those_of_the_features_and_dropout_acts_in_training_only() -> None:
    network = Recognizer(1, 10, 28, width=8, dropout=0.5)
    x = torch.randn(2, 1, 28, 28)
    network.eval()
    assert torch.equal(network(x), network.logits_of(network.features(x)))
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_a_recognizer_without_a_picture_says_so() -> None:
    with pytest.raises(ValueError, match="no picture"):
        Recognizer(1, 2, 8).picture_of(torch.zeros(1, 64))


def test_random_networks_are_fixed_by_their_seed_and_leave_other_generators_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = RandomNetwork(1, 7), RandomNetwork(1, 7), RandomNetwork(1, 8)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(a(x), b(x))
    assert not torch.allclose(a(x), c(x), atol=1e-3)
    assert list(a.parameters()) == []  # nothing in it can be trained


def test_random_weights_are_the_same_on_every_machine() -> None:
    # the first number of numpy's RandomState(7) is 0.07630828937395717, whatever the machine
    weight = RandomNetwork(1, 7).get_buffer("filter1")
    first = RandomNetwork(3, 7).get_buffer("filter0")
    assert weight.shape == (48, 64, 3, 3)
    assert abs(float(first.mean((2, 3)).abs().max())) < 1e-7  # brightness alone gives nothing at the first layer
    raw = (2 * 0.07630828937395717 - 1) * (3 / 75) ** 0.5
    patch = ((2 * np.random.RandomState(7).random_sample(25) - 1) * (3 / 75) ** 0.5).astype(np.float32)
    assert abs(float(patch[0]) - raw) < 1e-7
    assert abs(float(first[0, 0, 0, 0]) - (raw - float(patch.mean()))) < 1e-6


def test_random_features_keep_their_scale() -> None:
    spread = RandomNetwork(3, 1)(torch.randn(64, 3, 32, 32)).std()
    assert 0.1 < float(spread) < 10.0
