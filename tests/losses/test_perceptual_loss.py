"""The distance in features as something to minimize."""

from __future__ import annotations

import torch

from calotype.losses.perceptual import SEED, WIDTHS, feature_distance, perceptual
from calotype.metrics.features_kinds import RANDOM_SEEDS, SELECTION_SEED
from calotype.networks.recognizer import RandomNetwork


def eye(channels: int = 1) -> RandomNetwork:
    return RandomNetwork(channels, SEED, WIDTHS, saved=False)


def test_the_gradient_is_that_of_finite_differences() -> None:
    network = eye().double()
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    wanted = [one.detach() for one in network.maps(truth)]
    x = torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    loss = perceptual(network.maps(x), wanted)
    (gradient,) = torch.autograd.grad(loss, x)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    step = 1e-3  # features are compared in float32
    with torch.no_grad():
        ahead, behind = (perceptual(network.maps(x + sign * step * direction), wanted) for sign in (1, -1))
    slope = float((ahead.double() - behind.double()) / (2 * step))
    assert abs(slope - float((gradient * direction).sum())) < 0.02 * abs(slope) + 1e-3


def test_following_it_leads_back_to_the_image() -> None:
    network = eye(3)
    generator = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.avg_pool2d(torch.rand(2, 3, 40, 40, generator=generator) * 4 - 2, 5, 1)
    start = truth + 0.2 * torch.randn(truth.shape, generator=generator)
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.01)
    wanted = network.maps(truth)
    for _ in range(60):
        optimizer.zero_grad()
        perceptual(network.maps(x), wanted).backward()
        optimizer.step()
    with torch.no_grad():
        before, after = (perceptual(network.maps(one), wanted) for one in (start, x))
        assert float(after) < 0.3 * float(before)
        assert float((x - truth).square().mean()) < float((start - truth).square().mean())
        assert float(perceptual(wanted, wanted)) == 0
        assert torch.allclose(perceptual(network.maps(x), wanted), feature_distance(network.maps(x), wanted).mean())


def test_no_score_looks_through_the_same_network() -> None:
    assert SEED not in (*RANDOM_SEEDS, SELECTION_SEED)


def test_its_weights_are_not_saved_and_follow_from_the_seed() -> None:
    assert eye().state_dict() == {}
    assert list(eye().parameters()) == []
    assert all(torch.equal(a, b) for a, b in zip(eye().buffers(), eye().buffers(), strict=True))
    assert len(RandomNetwork(1, SEED).state_dict()) == len(list(eye().buffers()))
