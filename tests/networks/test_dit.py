"""The transformer of patches: shapes, positions, conditioning, gradients."""

import math

import pytest
import torch

from calotype.networks.dit import DiT, positions
from tests.networks.test_unet import shaken


def small(channels=1, **options):
    return DiT(channels, **{"width": 16, "depth": 2, "heads": 2, "patch": 4, "embedding": 16, **options})


@pytest.mark.parametrize("size", [8, 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_has_the_shape_of_the_input_at_any_size(size, channels):
    x = torch.randn(2, channels, size, size)
    out = shaken(small(channels))(x, torch.rand(2))
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert float(out.detach().std()) > 0


def test_a_new_network_puts_out_zero_whatever_comes_in():
    assert not small()(torch.randn(2, 1, 16, 16), torch.rand(2)).any()


def test_positions_are_those_of_their_definition():
    found = positions(3, 5, 8)
    assert found.shape == (15, 8)
    for row in range(3):
        for column in range(5):
            rates = [1.0, 10_000**-0.5]
            expected = [f(place * rate) for place in (row, column) for f in (math.sin, math.cos) for rate in rates]
            assert found[row * 5 + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_patch_goes_back_where_it_came_from():
    """With blocks that do nothing and a stem and head that copy, every pixel keeps its place."""
    network = small(width=16, depth=1)
    with torch.no_grad():
        network.stem.weight.copy_(torch.eye(16))
        network.stem.bias.zero_()
        network.out.weight.copy_(torch.eye(16))
    x = torch.zeros(1, 1, 12, 12)
    x[0, 0, 5, 10] = 100.0  # far above what positions and normalization do to it
    out = network(x, torch.rand(1))
    assert int(out.argmax()) == int(x.argmax())


def test_every_pixel_reaches_every_pixel_and_no_other_image():
    network = shaken(small())
    x = torch.randn(2, 1, 28, 28, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x, torch.rand(2))[0, 0, 14, 14], x)
    assert float((grad[0] != 0).float().mean()) > 0.99
    assert not grad[1].any()


def test_time_and_class_change_the_result():
    network = shaken(small(classes=3))
    x = torch.randn(1, 1, 16, 16).expand(4, -1, -1, -1)
    by_class = network(x, torch.full((4,), 0.5), torch.arange(4)).detach()
    assert len({float(image.sum()) for image in by_class}) == 4
    assert torch.allclose(network(x[:1], torch.full((1,), 0.5)), by_class[3:], atol=1e-5)
    by_time = network(x, torch.linspace(0, 1, 4)).detach()
    assert len({float(image.sum()) for image in by_time}) == 4


def test_every_parameter_gets_a_gradient():
    network = shaken(small(classes=3)).train()
    out = network(torch.randn(8, 1, 16, 16), torch.rand(8), torch.tensor([0, 1, 2, 3] * 2))
    grads = torch.autograd.grad(out.square().mean(), list(network.parameters()))
    for (name, _), grad in zip(network.named_parameters(), grads, strict=True):
        assert float(grad.abs().max()) > 0, name
