"""Likelihoods of pixels: they are probabilities of 8-bit values, with the digits that logarithms deserve."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic, norm

from calotype.losses.discretized import HALF_BIN, discretized_logistic, images_of
from calotype.losses.reconstruction import Observation, bernoulli, discretized_gaussian

ALL = images_of(torch.arange(256))
MEANS = torch.tensor([-3.0, -1.0, -0.4, 0.0, 0.0039, 0.7, 1.2])
LOG_SCALES = torch.tensor([-7.0, -4.0, -2.0, 0.0, 2.0])


def interval(law, x, mean, scale):
    """The logarithm of the mass of the bin of ``x``, in float64 and from the nearer tail."""
    upper = np.inf if x > 1 - HALF_BIN else (x - mean + HALF_BIN) / scale
    lower = -np.inf if x < -1 + HALF_BIN else (x - mean - HALF_BIN) / scale
    if lower > 0:
        upper, lower = -lower, -upper
    high, low = law.logcdf(upper), law.logcdf(lower)
    return high + np.log1p(-np.exp(low - high))


@pytest.mark.parametrize("log_prob", [discretized_gaussian, discretized_logistic])
def test_the_probabilities_of_all_256_values_sum_to_one(log_prob):
    for mean in MEANS:
        for log_scale in LOG_SCALES:
            total = log_prob(ALL.double(), mean, log_scale).double().exp().sum()
            assert float(total) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("log_prob", "law"), [(discretized_gaussian, norm), (discretized_logistic, logistic)])
def test_each_probability_is_the_mass_of_its_bin(log_prob, law):
    for mean in MEANS:
        for log_scale in LOG_SCALES:
            got = log_prob(ALL, mean, log_scale)
            want = [interval(law, float(x), float(mean), math.exp(float(log_scale))) for x in ALL.double()]
            assert np.allclose(got, want, rtol=1e-3, atol=1e-3)


def test_the_gradient_is_that_of_differences_and_finite_where_a_scale_is_extreme():
    x = ALL[::17].double()
    mean, log_scale = torch.tensor(0.1, requires_grad=True), torch.tensor(-1.5, requires_grad=True)
    got = torch.autograd.grad(discretized_gaussian(x, mean, log_scale).sum(), (mean, log_scale))

    def at(m, s):
        return sum(interval(norm, float(v), m, math.exp(s)) for v in x)

    step = 1e-5
    want = ((at(0.1 + step, -1.5) - at(0.1 - step, -1.5)) / (2 * step), (at(0.1, -1.5 + step) - at(0.1, -1.5 - step)) / (2 * step))
    assert np.allclose([float(g) for g in got], want, rtol=2e-3)
    for extreme in (-7.0, 5.0):
        mean = torch.full((256,), -2.0, requires_grad=True)
        scale = torch.full((256,), extreme, requires_grad=True)
        grads = torch.autograd.grad(discretized_gaussian(ALL, mean, scale).sum(), (mean, scale))
        assert all(bool(torch.isfinite(g).all()) for g in grads)


@pytest.mark.parametrize("name", ["gaussian", "discretized_logistic"])
@pytest.mark.parametrize("components", [1, 3])
def test_a_decoders_numbers_are_a_distribution_of_each_sub_pixel(name, components):
    observation = Observation(name, components)
    out = torch.randn(1, observation.outputs, 1, 1, generator=torch.Generator().manual_seed(0))
    nats = observation.log_prob(ALL.view(256, 1, 1, 1), out.expand(256, -1, -1, -1))
    assert float(nats.exp().sum()) == pytest.approx(1, abs=1e-4)
    assert float(nats.max() - nats.min()) > 1
    assert observation.is_probability


@pytest.mark.parametrize("components", [1, 3])
def test_colors_are_told_apart(components):
    observation = Observation("discretized_logistic", components)
    rng = torch.Generator().manual_seed(0)
    out = torch.randn(2, observation.outputs * 3, 4, 4, generator=rng)
    image = images_of(torch.randint(256, (2, 3, 4, 4), generator=rng))
    parts = [observation.log_prob(image[:, c : c + 1], out.view(2, -1, 3, 4, 4)[:, :, c]) for c in range(3)]
    assert torch.allclose(observation.log_prob(image, out), sum(parts), rtol=1e-5)


def test_the_expected_image_is_the_mean_of_the_distribution():
    observation = Observation("discretized_logistic", 2)
    out = torch.zeros(1, 6, 1, 1)
    out[0, :2, 0, 0] = torch.tensor([0.5, -0.3])  # moves the components from -1 and 1 to -0.5 and 0.7
    out[0, 2:4] = -4.0
    out[0, 4, 0, 0] = math.log(3)
    masses = observation.log_prob(ALL.view(256, 1, 1, 1), out.expand(256, -1, -1, -1)).exp()
    assert float(observation.mean(out)) == pytest.approx(float((masses * ALL).sum()), abs=2e-3)
    assert float(observation.mean(out)) == pytest.approx(0.75 * -0.5 + 0.25 * 0.7, abs=1e-5)


def test_an_even_mixture_over_all_values_costs_eight_bits():
    observation = Observation("discretized_logistic", 256)
    out = torch.zeros(1, 3 * 256, 1, 1)
    out[:, 256:512] = -5.0
    bits = -observation.log_prob(ALL.view(256, 1, 1, 1), out.expand(256, -1, -1, -1)) / math.log(2)
    assert torch.allclose(bits, torch.full((256,), 8.0), atol=1e-4)


def test_bernoulli_of_black_and_white_is_a_probability_and_of_gray_is_none():
    logits = torch.tensor([-2.0, 0.3, 5.0])
    white, black = bernoulli(torch.ones(3), logits), bernoulli(-torch.ones(3), logits)
    assert torch.allclose(white.exp() + black.exp(), torch.ones(3))
    assert torch.allclose(white, logits.sigmoid().log())
    total = bernoulli(ALL, torch.tensor(0.3).expand(256)).exp().sum()
    assert abs(float(total) - 1) > 10
    assert not Observation("bernoulli").is_probability
