"""The light generator: its doubling against two operations of PyTorch, its shapes, what its small maps do to its large ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.resampling import doubled
from calotype.networks.skip import SkipGenerator


@pytest.mark.parametrize("size", [1, 4, 7])
def test_doubling_equals_nearest_neighbors_and_a_convolution(size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, size, size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.double, requires_grad=True)
    wanted = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    assert torch.allclose(doubled(x, weight), wanted, atol=1e-12)
    theirs = torch.autograd.grad(wanted.square().sum(), (x, weight))
    ours = torch.autograd.grad(doubled(x, weight).square().sum(), (x, weight))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 1, 0), (28, 1, 0), (64, 3, 0), (40, 3, 4), (50, 3, 0)])
def test_images_of_the_shape_that_was_asked_for(size: int, channels: int, classes: int) -> None:
    torch.manual_seed(0)
    network = SkipGenerator((channels, size, size), latent=12, width=4, classes=classes)
    label = torch.tensor([0, 1, 3]) if classes else None
    images = network(torch.randn(3, 12), label)
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert images.std() > 0.05


def test_small_maps_choose_the_channels_of_large_ones() -> None:
    torch.manual_seed(0)
    network = SkipGenerator((3, 64, 64), latent=8, width=4).eval()
    latent = torch.randn(4, 8)
    before = network(latent)
    with torch.no_grad():
        for excite in network.excite:
            excite.choose.bias.fill_(-50.0)  # all of them closed
    closed = network(latent)
    assert not torch.allclose(before, closed)
    assert torch.allclose(closed, closed[:1].expand_as(closed), atol=1e-6)  # nothing of the latent comes through


@pytest.mark.parametrize("size", [7, 300])
def test_sizes_out_of_range_are_refused_in_one_line(size: int) -> None:
    with pytest.raises(UserError, match=r"the skip network takes images of 8 to 256 pixels, not \d+"):
        SkipGenerator((3, size, size), latent=8, width=4)
