"""Likelihoods along the differential equation and by the variational bound, against closed forms."""

import math
from itertools import product

import pytest
import torch

from calotype.diffusion.likelihood import (
    BIN,
    ERROR,
    RIGHT,
    dequantized,
    hutchinson,
    ode_log_density,
    reconstruction,
    trusted,
    variational_bound,
)
from calotype.diffusion.path import PATHS

LN2 = math.log(2)
every_path = pytest.mark.parametrize("name", PATHS)


def correlated(alpha, sigma, covariance):
    """The matrix of the expected image given a state where images are N(0, covariance)."""
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    return alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * eye)


def covariance_of(dims, seed=0):
    root = torch.randn(dims, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / dims**0.5
    return 0.3 * (root @ root.T) + 0.05 * torch.eye(dims, dtype=torch.float64)


def exact_trace(covariance):
    def trace(denoise, x, level):
        return denoise(x, level), correlated(level.alpha, level.sigma, covariance).trace().expand(len(x))

    return trace


@every_path
def test_the_density_of_gaussian_images_is_exact(name):
    covariance = covariance_of(6)
    image = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.5
    levels = PATHS[name].at(torch.linspace(3, -6, 121))

    def denoise(x, level):
        return x @ correlated(level.alpha, level.sigma, covariance).T

    density = ode_log_density(denoise, image, levels, exact_trace(covariance))
    blurred = covariance + math.exp(-2 * 3) * torch.eye(6, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=torch.float64), blurred).log_prob(image)
    assert torch.allclose(density.double(), expected, atol=2e-2)
    assert float((density - expected.mean()).abs().max()) > 0.3  # the images differ in what is compared


def test_the_error_of_the_density_falls_with_the_square_of_the_step():
    covariance = covariance_of(4)
    image = torch.full((1, 4), 0.4, dtype=torch.float64)
    blurred = covariance + math.exp(-6) * torch.eye(4, dtype=torch.float64)
    expected = float(torch.distributions.MultivariateNormal(torch.zeros(4, dtype=torch.float64), blurred).log_prob(image))

    def error(steps):
        levels = PATHS["ve"].at(torch.linspace(3, -9, steps + 1))
        found = ode_log_density(lambda x, at: x @ correlated(at.alpha, at.sigma, covariance).T, image, levels, exact_trace(covariance))
        return abs(float(found) - expected)

    assert math.log2(error(60) / error(120)) == pytest.approx(2, abs=0.3)


def test_the_mean_of_hutchinson_is_the_exact_trace():
    """Over all sign vectors of nine pixels the estimate has no error left."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(9, 9, generator=rng, dtype=torch.float64)
    x = torch.randn(1, 1, 3, 3, generator=rng, dtype=torch.float64)

    def denoise(state, level):
        return torch.tanh(state.flatten(1) @ weight).view_as(state) * level.alpha

    level = PATHS["rectified"].at(torch.zeros(1))[0]
    jacobian = torch.autograd.functional.jacobian(lambda s: denoise(s, level), x).view(9, 9)
    probes = torch.tensor(list(product((-1.0, 1.0), repeat=9)), dtype=torch.float64).view(-1, 1, 3, 3)
    image, traces = hutchinson(probes)(denoise, x.expand(len(probes), -1, -1, -1), level)
    assert torch.allclose(image[:1], denoise(x, level))
    assert not traces.requires_grad
    assert float(traces.std()) > 0.1
    assert float(traces.mean()) == pytest.approx(float(jacobian.trace()), abs=1e-10)


def test_bits_of_the_ode_of_gaussian_images_are_those_of_their_density():
    """With the noise that makes 8-bit values continuous, the mean is the entropy of the density, in bins of 2 / 255."""
    spread = 0.3
    rng = torch.Generator().manual_seed(0)
    continuous = spread * torch.randn(4000, 1, 2, 2, generator=rng)
    image = torch.round((continuous + 1) / BIN) * BIN - 1
    levels = PATHS["vp-linear"].at(torch.linspace(6, -5, 81))
    nats = ode_log_density(
        lambda x, at: at.alpha * spread**2 / ((at.alpha * spread) ** 2 + at.sigma**2) * x,
        dequantized(image, rng),
        levels,
        hutchinson(torch.randint(0, 2, image.shape, generator=rng) * 2.0 - 1),  # exact where the Jacobian is diagonal
    ) + 4 * math.log(BIN)
    entropy = math.log2(spread / BIN) + math.log2(2 * math.pi * math.e) / 2
    assert float(-nats.mean()) / 4 / LN2 == pytest.approx(entropy, abs=0.03)


def test_dequantized_images_stay_in_their_bins():
    image = torch.randint(0, 256, (50, 3, 4, 4)) * BIN - 1
    noisy = dequantized(image, torch.Generator().manual_seed(0))
    assert torch.equal(torch.round((noisy + 1) / BIN), torch.round((image + 1) / BIN))
    assert float((noisy - image).std()) == pytest.approx(BIN / 12**0.5, rel=0.05)


@pytest.mark.parametrize("noise", [0.003, 0.03])
def test_a_prediction_is_trusted_as_far_as_the_state_bears_it_out(noise):
    """The mean of a mixture, narrow around the prediction or anything at all, given the state: by quadrature."""
    x = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    prediction, state = 0.2, 0.2 + torch.linspace(-0.2, 0.2, 41, dtype=torch.float64)
    narrow = torch.exp(-(((x - prediction) / ERROR) ** 2) / 2) / (ERROR * math.sqrt(2 * math.pi))
    weight = (RIGHT * narrow + (1 - RIGHT) / 2) * torch.exp(-(((state[:, None] - x) / noise) ** 2) / 2)
    expected = (weight * x).sum(1) / weight.sum(1)
    found = trusted(torch.full_like(state, prediction), state, torch.full((41,), -math.log(noise)))
    assert torch.allclose(found, expected, atol=1e-3 * noise)
    assert abs(float(found[0] - state[0])) < 1e-3 * noise  # far away the state alone counts
    assert float(found[21] - state[21]) < 0  # near by both do


def test_reconstruction_is_a_distribution_over_the_values():
    state = torch.tensor([[[[0.31]]]])
    values = (torch.arange(256) * BIN - 1).view(256, 1, 1, 1)
    probabilities = reconstruction(values, state.expand(256, -1, -1, -1), 0.02).exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert int(probabilities.argmax()) == round((0.31 + 1) / BIN)


def test_a_uniform_model_scores_eight_bits():
    """The exact denoiser of 256 equally likely values: the bound is nearly tight, and never below the 8 bits."""
    values = torch.arange(256) * BIN - 1

    def expected(state, at):
        fits = -((state[..., None] - values) * torch.exp(at).view(-1, 1, 1, 1, 1)).square() / 2
        return (fits.softmax(-1) * values).sum(-1)

    rng = torch.Generator().manual_seed(0)
    image = values[torch.randint(0, 256, (1500, 1, 2, 2), generator=rng)]
    bits = -variational_bound(expected, image, (-5.0, 6.5), 40, rng) / 4 / LN2
    error = float(bits.std()) / 1500**0.5
    assert float(bits.mean()) == pytest.approx(8, abs=4 * error + 0.005)
    assert error < 0.035


def gaussian_bound(spread, high):
    """The mean bound of one sub-pixel of each value under N(0, spread^2), and the exact log-probabilities, by quadrature."""
    scale = math.exp(-high)
    values = (torch.arange(256) * BIN - 1).double()
    z = torch.linspace(-6, 6, 40_001, dtype=torch.float64)
    total = math.hypot(spread, scale)
    prior = torch.exp(-((z / total) ** 2) / 2) / (total * math.sqrt(2 * math.pi))
    fits = (-((z[:, None] - values) / scale).square() / 2).log_softmax(1)
    exact = (prior[:, None] * fits.exp()).sum(0).log() + math.log(12 / 40_000)
    posterior = (-((z[:, None] - values) / scale).square() / 2).softmax(0)
    divergence = math.log(total / scale) + (scale**2 + values**2) / (2 * total**2) - 0.5
    return (posterior * fits).sum(0) - divergence, exact


def test_the_variational_bound_of_gaussian_images_is_its_closed_form_and_below_the_exact_value():
    spread, high = 0.25, 5.0
    rng = torch.Generator().manual_seed(0)
    levels = torch.randint(64, 192, (20_000,), generator=rng)
    image = (levels * BIN - 1).view(-1, 1, 1, 1)

    def expected(state, at):
        return state * (spread**2 / (spread**2 + torch.exp(-2 * at))).view(-1, 1, 1, 1)

    closed, exact = (of_value[levels] for of_value in gaussian_bound(spread, high))
    found = variational_bound(expected, image, (-5.0, high), 16, rng).double()
    error = float((found - closed).std()) / len(found) ** 0.5
    assert float((found - closed).mean()) == pytest.approx(0, abs=4 * error)
    assert error < 0.02
    assert float((found - exact).mean()) < 4 * error
    assert float((exact - closed).min()) > 0
    assert float((exact - closed).mean()) < 0.35  # and not far below

    worse = variational_bound(lambda state, at: 0.9 * expected(state, at), image, (-5.0, high), 16, rng)
    assert float(worse.mean()) < float(found.mean()) - 0.05
