"""Orthogonal regularization: its gradient in closed form, what it is zero for, what it leaves out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from calotype.losses.regularizers import orthogonality
from calotype.networks.blocks import add_spectral_norm


def _convolution(outputs: int, inputs: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3).double()


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 2), (40, 2)])
def test_the_gradient_is_the_published_one(outputs: int, inputs: int) -> None:
    """2 (W W^T o (1 - I)) W with W as (out, -1), whether there are more rows or more columns."""
    layer = _convolution(outputs, inputs)
    (found,) = torch.autograd.grad(orthogonality(layer), layer.weight)
    rows = layer.weight.detach().flatten(1)
    wanted = 2 * ((rows @ rows.T) * (1 - torch.eye(outputs, dtype=torch.double))) @ rows
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted.view_as(found))


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 2), (40, 2)])
def test_the_value_is_half_of_the_equations(outputs: int, inputs: int) -> None:
    layer = _convolution(outputs, inputs)
    gram = layer.weight.flatten(1) @ layer.weight.flatten(1).T
    wanted = 0.5 * (gram * (1 - torch.eye(outputs))).square().sum()
    torch.testing.assert_close(orthogonality(layer), wanted)


def test_zero_for_orthogonal_weights_whatever_their_lengths_and_for_those_only() -> None:
    layer = _convolution(5, 2)
    nn.init.orthogonal_(layer.weight)
    assert orthogonality(layer).item() < 1e-20
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([0.1, 2.0, 3.0, 0.0, 5.0]).view(5, 1, 1, 1))
    assert orthogonality(layer).item() < 1e-20
    with torch.no_grad():
        layer.weight[0] += 0.1 * layer.weight[1]
    assert orthogonality(layer).item() == pytest.approx((0.1 * 2**2) ** 2)  # both (0, 1) and (1, 0) count, and half of them
    tall = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        tall.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    assert orthogonality(tall).item() == 0
    with torch.no_grad():
        tall.weight[2, 1] = 0.5
    assert orthogonality(tall).item() == pytest.approx(4.0)


def test_vectors_and_exempt_modules_do_not_count() -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"embed": nn.Embedding(6, 4), "layer": nn.Linear(4, 3), "norm": nn.BatchNorm2d(4)})
    module["scale"] = nn.Module()
    module["scale"].register_parameter("weight", nn.Parameter(torch.randn(4, 1, 1)))
    alone = orthogonality(module["layer"])
    assert alone.item() > 1e-3
    torch.testing.assert_close(orthogonality(module, exempt=[module["embed"]]), alone)
    assert orthogonality(module).item() > alone.item() + 1e-3
    assert orthogonality(nn.BatchNorm2d(4)).item() == 0


def test_of_normalized_weights_the_trained_ones_count() -> None:
    layer = _convolution(5, 2).float()
    before = orthogonality(layer)
    add_spectral_norm(layer)
    torch.testing.assert_close(orthogonality(layer), before)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(orthogonality(layer), before)
