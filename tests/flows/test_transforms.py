"""Every transform against autograd and its own inverse; those that zuko has too, against zuko."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from zuko.distributions import DiagNormal, NormalizingFlow
from zuko.transforms import (
    AutoregressiveTransform,
    ComposedTransform,
    CouplingTransform,
    DependentTransform,
    LULinearTransform,
    MonotonicAffineTransform,
)

from calotype.flows.autoregressive import AutoregressiveFlow
from calotype.flows.base import CompositeTransform, Transform, normal_log_prob
from calotype.flows.coupling import ChannelCoupling, CheckerboardCoupling
from calotype.flows.linear import ActNorm, InvertibleConv
from calotype.flows.pixels import Histogram, Logit, Scale
from calotype.flows.shape import Flat, MultiScale, Patches, Squeeze, Standardize
from calotype.networks.causal import CausalNetwork
from calotype.networks.coupling import CouplingNetwork

FEATURES = 3  # of the context


def network(inputs: int, outputs: int, size: int = 4, embedding: int = FEATURES) -> CouplingNetwork:
    return CouplingNetwork(inputs, outputs, width=5, depth=1, size=size, embedding=embedding)


def causal(tokens: int, features: int, embedding: int = FEATURES) -> CausalNetwork:
    return CausalNetwork(tokens, features, 2 * features, width=8, depth=2, heads=2, embedding=embedding)


def multi_scale() -> MultiScale:
    levels = [
        CompositeTransform([Squeeze(), ActNorm(4), InvertibleConv(4), ChannelCoupling(network(2, 4, 2), 1.0)]),
        CompositeTransform([Squeeze(), ActNorm(8)]),
    ]
    return MultiScale(levels, [Standardize(network(2, 4, 2, 0), 1.0)], [(4, 2, 2), (8, 1, 1)])


CASES: dict[str, tuple[Callable[[], Transform], tuple[int, ...]]] = {
    "actnorm": (lambda: ActNorm(3), (3, 2, 2)),
    "invertible convolution": (lambda: InvertibleConv(6), (6, 2, 1)),
    "first half": (lambda: ChannelCoupling(network(2, 4), 1.0), (4, 4, 4)),
    "last half": (lambda: ChannelCoupling(network(2, 4), 1.0, swap=True), (4, 4, 4)),
    "odd channels": (lambda: ChannelCoupling(network(2, 2), 1.0), (3, 4, 4)),
    "odd channels, last": (lambda: ChannelCoupling(network(2, 2), 1.0, swap=True), (3, 4, 4)),
    "even pixels": (lambda: CheckerboardCoupling(network(2, 4), 1.0, (2, 4, 4), odd=False), (2, 4, 4)),
    "odd pixels": (lambda: CheckerboardCoupling(network(1, 2), 1.0, (1, 4, 4), odd=True), (1, 4, 4)),
    "prior": (lambda: Standardize(nn.Linear(FEATURES, 2 * 12), 2.0), (3, 2, 2)),
    "autoregressive": (lambda: AutoregressiveFlow(causal(5, 3), 2.0), (5, 3)),
    "autoregressive, backwards": (lambda: AutoregressiveFlow(causal(5, 3), 2.0, backwards=True), (5, 3)),
    "logit": (lambda: Logit(0.05), (2, 3)),
    "scale": (lambda: Scale(3.0), (2, 3)),
    "histogram": (lambda: Histogram(7), (2, 3)),
    "multi-scale": (multi_scale, (1, 4, 4)),
    "chain": (lambda: CompositeTransform([Scale(2.0), Patches(2, 4), AutoregressiveFlow(causal(4, 8), 1.0), Flat((4, 8))]), (2, 4, 4)),
    "squeeze": (Squeeze, (2, 4, 4)),
}


def scrambled(transform: Transform) -> Transform:
    """In float64, with weights far from those that make it the identity."""
    transform = transform.double().eval()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return transform


def case(name: str, n: int = 3) -> tuple[Transform, Tensor, Tensor]:
    torch.manual_seed(0)
    make, shape = CASES[name]
    return scrambled(make()), torch.rand(n, *shape, dtype=torch.float64), torch.randn(n, FEATURES, dtype=torch.float64)


def jacobian(transform: Transform, x: Tensor, context: Tensor | None) -> Tensor:
    """Of one row of a batch of one, square."""
    matrix = torch.autograd.functional.jacobian(lambda v: transform(v, context)[0], x)
    size = x.numel()
    return matrix.reshape(size, size)


@pytest.mark.parametrize("name", CASES)
def test_the_log_determinant_is_that_of_the_jacobian(name: str) -> None:
    transform, x, context = case(name)
    log_abs_det = transform(x, context)[1].detach()
    assert log_abs_det.shape == (3,)
    for row in range(3):
        expected = torch.linalg.slogdet(jacobian(transform, x[row : row + 1], context[row : row + 1])).logabsdet
        assert abs(float(log_abs_det[row] - expected)) <= 1e-8
    if name != "squeeze":
        assert float(log_abs_det.abs().min()) > 1e-2


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name: str) -> None:
    transform, x, context = case(name)
    with torch.no_grad():
        z, _ = transform(x, context)
        assert torch.allclose(transform.inverse(z, context), x, atol=1e-9)
        back, _ = transform(transform.inverse(z.flip(0), context), context)
        assert torch.allclose(back, z.flip(0), atol=1e-8)
        assert z.shape[0] == 3
        assert name == "squeeze" or not torch.allclose(z, x.view_as(z), atol=1e-2)


@pytest.mark.parametrize("name", [n for n in CASES if "prior" in n or "half" in n or "pixels" in n or "autoregressive" in n])
def test_the_context_matters(name: str) -> None:
    transform, x, context = case(name)
    with torch.no_grad():
        assert not torch.allclose(transform(x, context)[0], transform(x, context.flip(0))[0], atol=1e-3)


def test_a_log_scale_keeps_its_bound_whatever_the_network_says() -> None:
    coupling = ChannelCoupling(network(1, 2, embedding=0), 0.5).double()
    with torch.no_grad():
        coupling.network.out.bias.fill_(1e6)  # type: ignore[union-attr, operator]
    _, log_abs_det = coupling(torch.randn(2, 2, 4, 4, dtype=torch.float64))
    assert torch.allclose(log_abs_det, torch.full((2,), 0.5 * 16, dtype=torch.float64))


def test_a_2d_density_integrates_to_one() -> None:
    torch.manual_seed(1)
    steps = [s for swap in (False, True) for s in (ActNorm(2), InvertibleConv(2), ChannelCoupling(network(1, 2, 1, 0), 1.0, swap=swap))]
    flow = scrambled(CompositeTransform([*steps, Flat((2, 1, 1))]))
    line = torch.linspace(-16, 16, 401, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)[:, :, None, None]
    with torch.no_grad():
        z, log_abs_det = flow(points)
    mass = (normal_log_prob(z) + log_abs_det).exp()
    assert abs(float(mass.sum()) * (32 / 400) ** 2 - 1) < 1e-3
    assert float(log_abs_det.std()) > 0.05  # not a plain normal distribution


def test_a_2d_autoregressive_density_integrates_to_one() -> None:
    torch.manual_seed(2)
    flow = scrambled(
        CompositeTransform(
            [AutoregressiveFlow(causal(2, 1, 0), 1.0), AutoregressiveFlow(causal(2, 1, 0), 1.0, backwards=True), Flat((2, 1))]
        )
    )
    line = torch.linspace(-16, 16, 401, dtype=torch.float64)
    with torch.no_grad():
        z, log_abs_det = flow(torch.cartesian_prod(line, line)[:, :, None])
    assert abs(float((normal_log_prob(z) + log_abs_det).exp().sum()) * (32 / 400) ** 2 - 1) < 1e-3
    assert float(log_abs_det.std()) > 0.05


def test_a_1d_density_of_the_unit_interval_integrates_to_the_mass_between_its_ends() -> None:
    torch.manual_seed(2)
    flow = scrambled(CompositeTransform([Histogram(4, margin=1e-3), AutoregressiveFlow(causal(1, 1, 0), 1.0), Flat((1, 1))]))
    cells = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    with torch.no_grad():
        z, log_abs_det = flow(cells[:, None, None])
        low, high = torch.special.ndtr(flow(torch.tensor([0.0, 1.0]).double()[:, None, None])[0])
    assert 0.5 < float(high - low) < 1
    assert abs(float((normal_log_prob(z) + log_abs_det).exp().mean()) - float(high - low)) < 1e-4


def test_what_is_spread_like_the_first_batch_becomes_standard_normal() -> None:
    torch.manual_seed(0)
    x = torch.where(torch.rand(500, 40) < 0.8, torch.rand(500, 40) / 256, torch.rand(500, 40)).double()
    histogram = Histogram(256).double()
    z = histogram.initialize(x)
    assert abs(float(z.mean())) < 0.03
    assert abs(float(z.std()) - 1) < 0.03
    normal = normal_log_prob(z) + histogram(x)[1]
    heights = torch.softmax(histogram.logits, 0)
    assert torch.allclose(normal, torch.log(heights * 256)[(x * 256).long()].sum(1), atol=1e-3)


def test_a_histogram_stays_finite_at_the_ends_in_single_precision() -> None:
    ends = torch.tensor([[0.0, 1e-30, 1 - 2**-24, 1.0]])
    for seed in range(20):
        torch.manual_seed(seed)
        histogram = Histogram(256)
        with torch.no_grad():
            histogram.logits.add_(4 * torch.randn(256))
            z, log_abs_det = histogram(ends)
            assert torch.isfinite(z).all()
            assert torch.isfinite(log_abs_det).all()
            assert torch.allclose(histogram.inverse(z), ends, atol=1e-2)


def test_actnorm_standardizes_its_first_batch() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 4, 4) * torch.tensor([0.1, 1.0, 9.0])[:, None, None] + 5
    z = CompositeTransform([ActNorm(3)]).initialize(x)
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(3), atol=2e-2)
    constant = ActNorm(3)
    assert torch.isfinite(constant.initialize(torch.ones(4, 3, 2, 2))).all()


def affine(log_scale: Tensor, shift: Tensor) -> DependentTransform:
    """zuko's scale, which it bounds in its own way, for a given one."""
    return DependentTransform(MonotonicAffineTransform(shift, log_scale / (1 - log_scale.abs() / -math.log(1e-3)), slope=1e-3), 1)


def test_zuko_agrees_on_a_coupling() -> None:
    torch.manual_seed(0)
    ours = scrambled(ChannelCoupling(network(2, 4, 1, 0), 1.0))

    def meta(kept: Tensor) -> DependentTransform:
        raw, shift = ours.network(kept[:, :, None, None]).flatten(1).chunk(2, 1)  # type: ignore[operator]
        return affine(torch.tanh(raw), shift)

    theirs = CouplingTransform(meta, torch.tensor([False, False, True, True]))
    x = torch.randn(50, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_abs_det = ours(x[:, :, None, None])
        expected, log_det = theirs.call_and_ladj(x)
        log_prob = NormalizingFlow(theirs, DiagNormal(torch.zeros(4).double(), torch.ones(4).double())).log_prob(x)
    assert torch.allclose(z.flatten(1), expected)
    assert torch.allclose(log_abs_det, log_det)
    assert torch.allclose(normal_log_prob(z) + log_abs_det, log_prob)


def test_zuko_agrees_on_an_autoregressive_transform_and_its_inverse() -> None:
    torch.manual_seed(0)
    ours = scrambled(AutoregressiveFlow(causal(4, 1, 0), 1.5))

    def meta(x: Tensor) -> DependentTransform:
        mean, raw = ours.network(x[:, :, None]).chunk(2, -1)  # type: ignore[operator]
        log_scale = 1.5 * torch.tanh(raw[:, :, 0] / 1.5)
        return affine(-log_scale, -mean[:, :, 0] * torch.exp(-log_scale))

    theirs = AutoregressiveTransform(meta, passes=4)
    x = torch.randn(20, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_abs_det = ours(x[:, :, None])
        expected, log_det = theirs.call_and_ladj(x)
        assert torch.allclose(z[:, :, 0], expected)
        assert torch.allclose(log_abs_det, log_det)
        assert torch.allclose(ours.inverse(z)[:, :, 0], theirs.inv(z[:, :, 0]))


def test_zuko_agrees_on_an_invertible_convolution() -> None:
    torch.manual_seed(0)
    ours = scrambled(InvertibleConv(5))
    diagonal = ours.sign * ours.log_scale.exp()  # type: ignore[operator]
    lower = (ours.lower.tril(-1) + torch.eye(5)) * diagonal  # type: ignore[operator]
    upper = ours.upper.triu(1) / diagonal[:, None]  # type: ignore[operator]
    theirs = ComposedTransform(LULinearTransform((lower + upper).detach()))
    x = torch.randn(7, 5, dtype=torch.float64)
    with torch.no_grad():
        z, log_abs_det = ours(x[:, :, None, None])
        expected, log_det = theirs.call_and_ladj(x)
    assert torch.allclose(z[:, :, 0, 0], expected @ ours.permutation.T)  # type: ignore[operator]
    assert torch.allclose(log_abs_det, log_det)


class Fixed(nn.Module):
    """A causal network that says the same at every position: the context."""

    def incremental(self, count: int, context: Tensor) -> Callable[[Tensor | None], Tensor]:
        return lambda before: context


def test_guidance_moves_the_mean_and_the_log_scale_away() -> None:
    transform = AutoregressiveFlow(Fixed(), 1e6)
    z = torch.randn(2, 3, 1, dtype=torch.float64)
    towards, away = torch.tensor([[1.0, 0.2]]).double().expand(2, 2), torch.tensor([[0.5, 0.1]]).double().expand(2, 2)
    assert torch.allclose(transform.inverse(z, towards), 1.0 + z * math.exp(0.2))
    assert torch.allclose(transform.inverse(z, towards, away, 2.0), 2.0 + z * math.exp(0.4))
