"""Attributions against what they are in closed form, by hand, and against the sum that they must have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.explanation.attribution import grad_cam, integrated_gradients, spatial_layer

SHAPE = (2, 5, 5)


def linear(x: Tensor, target: Tensor) -> Tensor:
    """One of three scores that are linear in the pixels."""
    rng = torch.Generator().manual_seed(1)
    return (x.flatten(1) @ torch.randn(50, 3, generator=rng)).gather(1, target[:, None])[:, 0]


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_attributions_of_a_linear_score_are_weights_times_differences() -> None:
    x, target, baseline = images(3), torch.tensor([2, 0, 1]), images(1, 9)
    found = integrated_gradients(linear, x, target, baseline)
    weights = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).T[target].view(3, *SHAPE)
    assert torch.allclose(found.map, (x - baseline) * weights, atol=1e-5)
    assert found.steps.tolist() == [16, 16, 16]
    assert float(found.remaining.max()) < 1e-5


def test_the_attributions_of_a_quadratic_score_are_differences_of_squares() -> None:
    def squares(x: Tensor, target: Tensor) -> Tensor:
        return (x.square() * torch.arange(50.0).view(SHAPE)).flatten(1).sum(1)

    x, baseline = images(2), torch.full((1, *SHAPE), 0.25)
    found = integrated_gradients(squares, x, torch.zeros(2, dtype=torch.int64), baseline)
    # c (x - x0) (x + x0): the integral of 2 c (x0 + a (x - x0)), which the trapezoidal rule gives exactly
    assert torch.allclose(found.map, (x.square() - 0.0625) * torch.arange(50.0).view(SHAPE), atol=1e-4)


def test_the_integral_is_refined_until_the_sum_is_right() -> None:
    def bent(x: Tensor, target: Tensor) -> Tensor:
        return torch.tanh(20 * (x.flatten(1).mean(1) - 0.031))

    x, target, baseline = torch.full((2, *SHAPE), 0.9), torch.zeros(2, dtype=torch.int64), torch.tensor(-1.0)
    x[1] = -0.99
    coarse = integrated_gradients(bent, x, target, baseline, tolerance=0, most=16)
    found = integrated_gradients(bent, x, target, baseline, tolerance=1e-4)
    exact = bent(x, target) - bent(torch.full_like(x, -1.0), target)
    assert float(coarse.remaining[0]) > 1e-4
    assert int(found.steps[0]) > 16 == int(found.steps[1])
    assert torch.allclose(found.gained.float(), exact, atol=1e-6)
    assert float((found.map.flatten(1).sum(1) - exact).abs().max()) < 1e-3 * float(exact[0])


def test_what_is_not_complete_says_so() -> None:
    def jump(x: Tensor, target: Tensor) -> Tensor:
        return torch.sigmoid(4000 * (x.flatten(1).mean(1) - 0.0173))

    x, target = torch.full((1, *SHAPE), 0.9), torch.zeros(1, dtype=torch.int64)
    found = integrated_gradients(jump, x, target, torch.tensor(-1.0), most=16)
    assert float(found.remaining) > 0.01
    assert abs(float(found.map.sum()) - float(found.gained)) == pytest.approx(float(found.remaining * found.gained), rel=1e-4)
    # the jump is one interval wide: halving where the score jumps finds it, even intervals of that width would be thousands
    complete = integrated_gradients(jump, x, target, torch.tensor(-1.0))
    assert float(complete.remaining) <= 0.01
    assert int(complete.steps) < 200


def test_images_do_not_mix_however_they_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    x, target = images(5), torch.tensor([0, 1, 2, 0, 1])
    whole = integrated_gradients(lambda x, target: linear(x, target).square(), x, target, torch.tensor(0.0)).map
    monkeypatch.setattr("calotype.explanation.attribution.PIXELS", 30)
    assert torch.allclose(
        integrated_gradients(lambda x, target: linear(x, target).square(), x, target, torch.tensor(0.0)).map, whole, atol=1e-5
    )


class TwoMaps(nn.Module):
    """Two maps of 2x2 places, and scores that are linear in their means."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 2, stride=2, bias=False)
        self.last = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.maps.weight[0, 0] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
            self.maps.weight[1, 0] = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
            self.last.weight.copy_(torch.tensor([[4.0, -8.0], [-4.0, 12.0]]))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.maps(x).mean((2, 3)))
        return out


def test_grad_cam_is_what_it_is_by_hand() -> None:
    network = TwoMaps()
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # the maps are [[0, 2], [8, 10]] and [[5, 7], [13, 15]]; a mean over four places passes a quarter of its weight to each
    first, second = torch.tensor([[0.0, 2.0], [8.0, 10.0]]), torch.tensor([[5.0, 7.0], [13.0, 15.0]])
    both = grad_cam(lambda x, target: network(x).gather(1, target[:, None])[:, 0], network.maps, torch.cat([x, x]), torch.tensor([0, 1]))
    assert torch.allclose(both[0], (1.0 * first - 2.0 * second).relu())
    assert torch.allclose(both[1], (-1.0 * first + 3.0 * second).relu())
    assert float(both[1].min()) > 0 == float(both[0].max())


class Levels(nn.Module):
    """Maps of 16, 8 and 4 places a side."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = F.max_pool2d(stage(x), 2)
        return x.flatten(1)


def test_the_layer_is_the_last_whose_maps_are_fine_enough() -> None:
    network, x = Levels(), torch.zeros(1, 1, 32, 32)
    name, layer, size = spatial_layer(network, lambda: network(x))
    assert (name, size) == ("stages.2", (8, 8))
    assert layer is network.stages[2]
    assert spatial_layer(network, lambda: network(x), side=20)[::2] == ("stages.0", (32, 32))
    assert spatial_layer(network, lambda: network(x[:, :, :8, :8]), side=9)[::2] == ("stages.0", (8, 8))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="no maps"):
        spatial_layer(flat, lambda: flat(torch.zeros(1, 1, 2, 2)))
