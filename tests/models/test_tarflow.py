"""The causal network of a TarFlow, its cache, and guidance."""

from __future__ import annotations

import torch

from calotype.models import TarFlow, TarFlowConfig, TarFlowSampling, build
from calotype.networks.causal import CausalNetwork
from calotype.types import Condition, ImageSpec, Noise


def network() -> CausalNetwork:
    torch.manual_seed(0)
    net = CausalNetwork(6, 3, 4, width=8, depth=2, heads=2, embedding=5).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def test_a_position_sees_the_tokens_before_it_alone() -> None:
    net, tokens, context = network(), torch.randn(1, 6, 3, dtype=torch.float64), torch.randn(1, 5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda t: net(t, context), tokens)[0, :, :, 0].abs().amax((1, 3))
    assert float(jacobian.triu().max()) == 0
    assert float(jacobian[tuple(torch.tril_indices(6, 6, -1))].min()) > 1e-6


def test_a_walk_with_a_cache_says_what_all_positions_say_at_once() -> None:
    net, tokens, context = network(), torch.randn(2, 6, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    cached = net.incremental(2, context)
    with torch.no_grad():
        steps = [cached(None if t == 0 else tokens[:, t - 1]) for t in range(6)]
        assert torch.allclose(torch.stack(steps, 1), net(tokens, context), atol=1e-12)


def test_guidance_acts_on_classes_alone() -> None:
    torch.manual_seed(0)
    config = TarFlowConfig(width=8, heads=2, depth=2, layers=1, temperature=1.0)
    model, plain = build(config, ImageSpec(8, 1, ("a", "b"))), build(config, ImageSpec(8, 1))
    assert isinstance(model, TarFlow)
    assert isinstance(plain, TarFlow)
    with torch.no_grad():
        for parameter in [*model.parameters(), *plain.parameters()]:
            parameter.add_(0.2 * torch.randn_like(parameter))
    label = Condition(torch.tensor([0, 1, 0]))
    z = Noise(3, seed=2).normal(*model.latent_shape)
    with torch.no_grad():
        none, strong = TarFlowSampling(guidance=0.0), TarFlowSampling(guidance=2.0)
        assert torch.allclose(model.sample(Noise(3, seed=2), label, none), model.decode(z, label), atol=1e-5)
        assert not torch.allclose(model.sample(Noise(3, seed=2), label, strong), model.decode(z, label), atol=1e-3)
        assert torch.equal(plain.sample(Noise(3, seed=2), options=strong), plain.sample(Noise(3, seed=2), options=none))
