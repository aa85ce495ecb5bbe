"""Divergences in closed form against drawn ones, and how an objective counts them."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from calotype.losses.divergence import annealed, free_bits, kl_standard, log_normal

RNG = torch.Generator().manual_seed(0)
MEAN, LOG_SCALE = torch.randn(50, generator=RNG), torch.randn(50, generator=RNG)


def test_closed_forms_agree_with_torch():
    posterior = Normal(MEAN, LOG_SCALE.exp())
    assert torch.allclose(kl_standard(MEAN, LOG_SCALE), kl_divergence(posterior, Normal(0.0, 1.0)), rtol=1e-4, atol=1e-5)
    x = torch.randn(50, generator=RNG)
    assert torch.allclose(log_normal(x, MEAN, LOG_SCALE), posterior.log_prob(x), rtol=1e-4, atol=1e-4)


def test_closed_forms_agree_with_draws():
    mean, log_scale = torch.tensor(0.7), torch.tensor(-0.5)
    z = mean + log_scale.exp() * torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    gaps = log_normal(z, mean, log_scale) - log_normal(z, torch.zeros(()), torch.zeros(()))
    error = float(gaps.std()) / len(gaps) ** 0.5
    assert float(gaps.mean()) == pytest.approx(float(kl_standard(mean, log_scale)), abs=5 * error)
    assert error < 0.005


def test_free_bits_count_each_unit_by_itself():
    kl = torch.tensor([[0.2, 3.0], [0.4, 1.0]])
    assert float(free_bits(kl, 0.0)) == pytest.approx(2.3)
    assert float(free_bits(kl, 0.5)) == pytest.approx(2.5)
    assert float(free_bits(kl, 5.0)) == pytest.approx(10.0)


def test_a_unit_within_its_free_bits_gets_no_gradient():
    kl = torch.tensor([[0.2, 3.0], [0.4, 1.0]], requires_grad=True)
    (grad,) = torch.autograd.grad(free_bits(kl, 0.5), kl)
    assert grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]


def test_the_weight_rises_and_stays_or_begins_again():
    assert annealed(0.0, 3.0, 0.0) == 3.0
    assert [annealed(p, 3.0, 0.2) for p in (0.0, 0.1, 0.2, 0.99)] == pytest.approx([0.0, 1.5, 3.0, 3.0])
    cycles = [annealed(p / 100, 1.0, 0.5, 4) for p in range(100)]
    assert [cycles.index(0.0, 25 * k) for k in range(4)] == [0, 25, 50, 75]
    assert sum(cycles) / 100 == pytest.approx(0.75, abs=0.03)  # a quarter of the weight is lost to the ramps
