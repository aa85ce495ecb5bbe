"""Probabilities of 8-bit pixels against scipy, and what must hold for every mean and scale."""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from scipy.stats import logistic

from calotype.losses.discretized import discretized_logistic, images_of, levels, log1mexp

EVERY = images_of(torch.arange(256))
MEANS = (-3.0, -1.0, -0.9961, -0.3, 0.0, 0.0039, 0.7, 1.0, 2.5)
LOG_SCALES = (-9.0, -7.0, -5.0, -3.0, -1.0, 0.0, 2.0, 6.0)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("log_scale", LOG_SCALES)
def test_the_256_probabilities_sum_to_one(mean, log_scale):
    chances = discretized_logistic(EVERY, torch.tensor(mean), torch.tensor(log_scale)).double().exp()
    assert abs(float(chances.sum()) - 1) < 2e-4
    assert float(chances.min()) >= 0


@pytest.mark.parametrize("mean", [-1.2, -0.3, 0.5])
@pytest.mark.parametrize("log_scale", [-4.0, -2.0, 0.5])
def test_each_probability_is_the_difference_of_the_distribution_function(mean, log_scale):
    scale = math.exp(log_scale)
    x = EVERY.double().numpy()
    upper, lower = logistic.cdf(x + 1 / 255, mean, scale), logistic.cdf(x - 1 / 255, mean, scale)
    above = logistic.sf(x - 1 / 255, mean, scale) - logistic.sf(x + 1 / 255, mean, scale)
    # beyond the mean the survival function keeps the digits that the distribution function loses
    expected = torch.tensor(np.where(x > mean, above, upper - lower))
    expected[0], expected[-1] = upper[0], logistic.sf(x[-1] - 1 / 255, mean, scale)
    measured = discretized_logistic(EVERY, torch.tensor(mean), torch.tensor(log_scale)).double()
    assert torch.allclose(measured, expected.log(), atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("mean", [-50.0, -1.0, 0.0, 1.0, 50.0])
@pytest.mark.parametrize("log_scale", [-12.0, -7.0, 0.0, 9.0])
def test_values_and_gradients_are_finite_far_out(mean, log_scale):
    center = torch.full((256,), mean, requires_grad=True)
    scale = torch.full((256,), log_scale, requires_grad=True)
    chances = discretized_logistic(EVERY, center, scale)
    grads = torch.autograd.grad(chances.sum(), [center, scale])
    assert torch.isfinite(chances).all()
    assert all(torch.isfinite(grad).all() for grad in grads)
    if log_scale == 0.0 and mean in (0.0, 50.0):
        assert float(grads[0].abs().min()) > 0 or mean == 0.0


def test_the_gradient_is_that_of_finite_differences():
    center = torch.tensor([-0.4, 0.2, 0.9], requires_grad=True)
    x = images_of(torch.tensor([0, 130, 255]))
    (grad,) = torch.autograd.grad(discretized_logistic(x, center, torch.tensor(-2.0)).sum(), center)
    step = 1e-2
    ahead, behind = (discretized_logistic(x, center.detach() + sign * step, torch.tensor(-2.0)) for sign in (1, -1))
    assert torch.allclose(grad, (ahead - behind) / (2 * step), atol=2e-2)


def test_no_distribution_beats_the_uniform_one_on_uniform_values():
    """Gibbs' inequality: over all 256 values the mean cost is 8 bits at least, and a wide logistic comes close only between the ends."""
    for mean in MEANS:
        for log_scale in LOG_SCALES:
            bits = -discretized_logistic(EVERY, torch.tensor(mean), torch.tensor(log_scale)).mean() / math.log(2)
            assert float(bits) >= 8 - 1e-4
    best = min(float(-discretized_logistic(EVERY, torch.tensor(0.0), torch.tensor(s)).mean()) for s in (-1.2, -1.0, -0.8))
    assert best / math.log(2) < 8.3


def test_levels_and_images_are_inverse_to_each_other():
    assert torch.equal(levels(EVERY), torch.arange(256))
    assert levels(torch.tensor([-2.0, 2.0])).tolist() == [0, 255]
    assert float(images_of(torch.tensor(0))) == -1.0
    assert float(images_of(torch.tensor(255))) == 1.0


def test_log1mexp_keeps_its_digits_at_both_ends():
    x = torch.tensor([1e-10, 1e-4, 0.5, math.log(2), 3.0, 40.0], requires_grad=True)
    getcontext().prec = 50
    expected = [float((1 - (-Decimal(v)).exp()).ln()) for v in x.tolist()]
    assert torch.allclose(log1mexp(x), torch.tensor(expected), rtol=1e-5, atol=1e-18)
    (grad,) = torch.autograd.grad(log1mexp(x).sum(), x)
    assert torch.allclose(grad, torch.tensor([1 / math.expm1(float(v)) for v in x]), rtol=1e-4)
