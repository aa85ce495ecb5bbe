"""Muon: the steps of PyTorch's own for matrices, of AdamW for all else, and which layers are hidden."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from calotype.config import Optimizer
from calotype.engine.muon import MOMENTUM, hidden, orthogonal
from calotype.engine.optim import make_optimizer
from calotype.networks.unet import UNet


def stepped(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int = 4) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=rng)
        optimizer.step()
    return [p.detach() for p in parameters]


def some(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    rng = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]


def test_matrices_take_the_steps_of_pytorch() -> None:
    ours = some((4, 9), (9, 4), (4, 9), (6, 6))
    theirs = copy.deepcopy(ours)
    mine = make_optimizer(Optimizer("muon", lr=0.1, weight_decay=0.1), ours, ours)
    oracle = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.1, momentum=MOMENTUM, nesterov=True, adjust_lr_fn="match_rms_adamw")
    # PyTorch orthogonalizes in bfloat16, which is what the tolerance is for: steps are of 0.02 to 0.1
    for a, b in zip(stepped(mine, ours), stepped(oracle, theirs), strict=True):
        assert torch.allclose(a, b, atol=0.02)


def test_a_convolution_is_a_matrix_with_a_row_for_each_output() -> None:
    [convolution] = some((4, 3, 2, 2))
    matrix = nn.Parameter(convolution.detach().flatten(1))
    convolution.data = convolution.data.contiguous(memory_format=torch.channels_last)
    config = Optimizer("muon", lr=0.1)
    [a] = stepped(make_optimizer(config, [convolution], [convolution]), [convolution])
    [b] = stepped(make_optimizer(config, [matrix], [matrix]), [matrix])
    assert torch.allclose(a.flatten(1), b, atol=1e-5)
    assert a.is_contiguous(memory_format=torch.channels_last)


def test_all_else_takes_the_steps_of_adamw() -> None:
    ours = some((4, 9), (5,), (3, 3))
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}
    found = stepped(make_optimizer(Optimizer("muon", **options), ours, ours[:1]), ours)  # type: ignore[arg-type]
    expected = stepped(make_optimizer(Optimizer("adamw", **options), theirs), theirs)  # type: ignore[arg-type]
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    assert not torch.equal(found[0], expected[0])


@pytest.mark.parametrize("shape", [(3, 8, 72), (2, 16, 16), (1, 1, 5)])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert 0.3 < values.min() <= values.max() < 1.3
    assert values.median() > 0.6


def test_following_the_gram_matrix_is_following_the_matrix() -> None:
    x = torch.randn(8, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonal(x[None])[0]
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    assert torch.allclose(found, x, atol=1e-6)


def test_no_gradient_means_no_step() -> None:
    assert torch.equal(orthogonal(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def test_hidden_layers_are_the_inner_convolutions_of_a_unet() -> None:
    net = UNet(1, width=8, multipliers=(1, 2), depth=(1, 1), embedding=16, classes=3)
    chosen = {id(p) for p in hidden(net)}
    names = [name for name, p in net.named_parameters() if id(p) in chosen]
    assert "encoder.0.0.first.weight" in names
    assert "shrink.0.weight" in names
    assert not [name for name in names if name.startswith(("stem", "out", "embed")) or "modulate" in name or "bias" in name]


def test_hidden_layers_are_the_inner_linear_ones_where_nothing_is_convolved() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 2), nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    assert [id(p) for p in hidden(net)] == [id(net[4].weight)]
    assert hidden(nn.Linear(2, 2)) == []
