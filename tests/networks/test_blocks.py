from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from calotype.errors import UserError
from calotype.networks.blocks import (
    LabelEmbedding,
    MinibatchStd,
    ProjectionHead,
    add_spectral_norm,
    evaluating,
    init_scaled,
    padded,
    size_chain,
)
from calotype.networks.norms import make_flat_norm, make_norm


def test_size_chain_halves_to_a_small_base() -> None:
    for size in range(8, 257):
        chain = size_chain(size)
        assert chain[0] == size
        assert 4 <= chain[-1] <= 6
        assert all(large in (2 * small, 2 * small - 1) for large, small in pairwise(chain))
    assert size_chain(256) == [256, 128, 64, 32, 16, 8, 4]


@pytest.mark.parametrize("name", ["batch", "instance", "layer", "group"])
def test_norms_center_and_scale(name: str) -> None:
    x = torch.randn(8, 12, 6, 6) * 3 + 5
    y = make_norm(name, 12, running=False)(x)  # type: ignore[arg-type]
    assert abs(y.mean().item()) < 1e-3
    assert abs(y.std().item() - 1) < 1e-2
    # the dimensions that each one averages over
    axes = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3)}.get(name)
    if axes:
        assert y.mean(axes).abs().max() < 1e-4


def test_flat_instance_norm_is_refused() -> None:
    with pytest.raises(UserError, match="mlp"):
        make_flat_norm("instance", 8)


def test_minibatch_std_measures_spread_within_groups() -> None:
    x = torch.cat([torch.ones(4, 2, 3, 3), torch.tensor([0.0, 0.0, 2.0, 2.0]).view(4, 1, 1, 1).expand(4, 2, 3, 3)])
    y = MinibatchStd(4)(x)
    assert y.shape == (8, 3, 3, 3)
    assert torch.equal(y[:, :2], x)
    assert torch.allclose(y[:4, 2], torch.zeros(4, 3, 3), atol=2e-4)
    assert torch.allclose(y[4:, 2], torch.ones(4, 3, 3), atol=1e-4)


@pytest.mark.parametrize("n", [1, 5, 7, 12])
def test_minibatch_std_takes_any_batch_and_has_a_gradient_at_zero_spread(n: int) -> None:
    x = torch.ones(n, 2, requires_grad=True)
    y = MinibatchStd(4)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.shape == (n, 3)
    assert grad.isfinite().all()


def test_projection_head_adds_the_inner_product_with_the_class() -> None:
    head = ProjectionHead(5, 3)
    assert head.embed is not None
    x, label = torch.randn(4, 5), torch.tensor([0, 1, 2, 1])
    want = x @ head.linear.weight[0] + head.linear.bias + torch.stack([x[i] @ head.embed.weight[k] for i, k in enumerate(label)])
    assert torch.allclose(head(x, label), want, atol=1e-6)
    with pytest.raises(ValueError, match="labels"):
        head(x)


def test_head_is_float32_under_autocast() -> None:
    head = ProjectionHead(64, 3)
    x, label = torch.randn(4, 64).bfloat16(), torch.tensor([0, 1, 2, 1])
    with torch.autocast("cpu", torch.bfloat16):
        out = head(x, label)
    assert out.dtype == torch.float32
    assert torch.equal(out, head(x.float(), label))


def test_label_embedding_tells_classes_apart() -> None:
    join = LabelEmbedding(4, 3)
    z = torch.randn(2, 4)
    out = join(z, torch.tensor([0, 2]))
    assert out.shape == (2, join.features)
    assert torch.equal(out[:, :4], z)
    assert not torch.equal(out[0, 4:], out[1, 4:])
    assert torch.equal(LabelEmbedding(4)(z), z)


def test_spectral_norm_bounds_every_layer_and_rests_in_evaluation() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(6 * 36, 3))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(7)
    add_spectral_norm(net)
    x = torch.randn(2, 1, 8, 8)
    for _ in range(60):
        net(x)
    for layer in (net[0], net[2]):
        assert abs(torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() - 1) < 1e-2
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert any(k.endswith("_u") for k in before)
    with evaluating(net):
        net(x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    net(x)
    assert any(not torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_spectral_norm_keeps_a_gradient_through_two_forward_passes() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    add_spectral_norm(net)
    loss = net(torch.randn(3, 4)).mean() - net(torch.randn(3, 4)).mean()
    grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    assert all(g is not None and g.isfinite().all() for g in grads)


def test_scaled_initialization_keeps_the_signal() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.ConvTranspose2d(48, 48, 4, 2, 1), nn.ReLU()]
    net = nn.Sequential(*layers)
    init_scaled(net)
    x = torch.randn(4, 48, 4, 4)
    # half of a standard normal's square survives a ReLU, and the scaling makes up for it
    assert 0.3 < net(x).square().mean().item() < 1.7
    down = nn.Sequential(nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 64))
    init_scaled(down)
    assert 0.5 < down(torch.randn(16, 32, 16, 16)).square().mean().item() < 3


def test_evaluating_restores_each_mode() -> None:
    net = nn.Sequential(nn.Dropout(), nn.Dropout())
    net[1].eval()

    def fail() -> None:
        with evaluating(net):
            assert not any(m.training for m in net.modules())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [m.training for m in net.modules()] == [True, True, False]


def test_maps_of_odd_sides_are_padded_in_their_own_numbers() -> None:
    x = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for maps in (x, x.bfloat16()):
            found = padded(maps, 2)
            assert found.dtype == maps.dtype
            assert torch.equal(found[:, :, :5], maps)
            assert torch.equal(found[:, :, 5], maps[:, :, 4])
    whole = x[:, :, :4]
    assert padded(whole, 2) is whole
