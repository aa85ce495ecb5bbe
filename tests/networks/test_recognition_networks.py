"""Residual and densely connected networks: the papers' numbers of parameters, sizes, and what a batch may not change."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.densenet import DenseNet
from calotype.networks.resnet import PooledConvolution, ResNet, ResNet9


def made(kind: str, channels: int = 3, size: int = 32) -> nn.Module:
    torch.manual_seed(0)
    if kind == "resnet":
        return ResNet(channels, 5, size, depth=8, width=8)
    if kind == "resnet9":
        return ResNet9(channels, 5, size, width=8)
    return DenseNet(channels, 5, size, depth=16, growth=4, compression=0.5)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: ResNet(3, 10, 32, depth=20), 269_722),  # .27 M of He et al. 2016, table 6
        (lambda: ResNet(3, 10, 32, depth=56), 853_018),  # .85 M
        (lambda: ResNet(3, 10, 32, depth=110), 1_727_962),  # 1.7 M
        (lambda: ResNet9(3, 10, 32), 6_573_120 + 10),  # Page 2018 counts 6,573,120, without a bias of the last layer
        (lambda: DenseNet(3, 10, 32, depth=100, growth=12), 769_162),  # .8 M of Huang et al. 2017, table 2
    ],
)
def test_the_papers_numbers_of_parameters(network: object, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in network().parameters()) == parameters  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["resnet", "resnet9", "densenet"])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 33), (3, 100)])
def test_images_of_any_size_have_logits(kind: str, channels: int, size: int) -> None:
    network = made(kind, channels, size).eval()
    x = torch.rand(3, channels, size, size) * 2 - 1
    with torch.no_grad():
        logits = network(x)
        features = network.features(x)  # type: ignore[operator]
        alone = network(x[1:2])
    assert logits.shape == (3, 5)
    assert features.shape == (3, network.dimension)
    assert logits.dtype == torch.float32
    assert torch.allclose(alone[0], logits[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["resnet", "resnet9", "densenet"])
def test_a_path_past_the_layers_leads_from_the_first_map_to_the_last(kind: str) -> None:
    """With all convolutions of the blocks at zero the image is still seen: that is what the connections are for."""
    network = made(kind).eval()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim == 4 and not any(part in name for part in ("stem", "mix", "halving")):
                p.zero_()
        seen = network.features(torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)]))  # type: ignore[operator]
    assert float((seen[0] - seen[1]).abs().max()) > 1e-2


def test_a_depth_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"6n \+ 2 layers.*not 18"):
        ResNet(3, 10, 32, depth=18)
    with pytest.raises(UserError, match=r"6n \+ 4 layers.*not 20"):
        DenseNet(3, 10, 32, depth=20)


def test_halving_before_the_normalization_is_halving_behind_it() -> None:
    """As Page had it at first, where gains are not negative."""
    torch.manual_seed(0)
    layer = PooledConvolution(3, 6).eval()
    layer.norm.running_mean.normal_()  # type: ignore[union-attr, operator]
    layer.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    x = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        wanted = F.max_pool2d(F.relu(layer.norm(layer.layer(x))), 2, ceil_mode=True)
        assert torch.allclose(layer(x), wanted, atol=1e-5)
        assert wanted.shape == (2, 6, 5, 5)
        layer.norm.weight.neg_()  # type: ignore[union-attr, operator]
        assert not torch.allclose(layer(x), F.max_pool2d(F.relu(layer.norm(layer.layer(x))), 2, ceil_mode=True), atol=1e-2)
