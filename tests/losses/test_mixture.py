"""The mixture of discretized logistics: sums, an independent formula, and draws that follow their probabilities."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, logistic

from calotype.losses.discretized import images_of, levels
from calotype.losses.mixture import invert, mixture_log_prob, mixture_sample, mixture_size, spread_start

EVERY = images_of(torch.arange(256))[:, None]


def gray(seed, components=5):
    return torch.randn(mixture_size(1, components), generator=torch.Generator().manual_seed(seed)) * 1.5


def narrow(components=2):
    """Parameters of a color pixel, all of whose mass lies within some 30 levels of the middle; slopes far from zero."""
    parameters = torch.zeros(10, components)
    parameters[0] = torch.tensor([0.3, -0.4])
    parameters[1:4] = torch.tensor([[0.05, -0.04], [0.0, 0.03], [-0.03, 0.02]])
    parameters[4:7] = torch.tensor([[-4.5, -4.8], [-4.6, -4.7], [-4.9, -4.5]])
    parameters[7:] = torch.tensor([[0.8, -0.5], [0.4, 0.9], [-0.7, 0.6]])
    return parameters.flatten()


@pytest.mark.parametrize("seed", range(8))
def test_the_probabilities_of_256_grays_sum_to_one(seed):
    chances = mixture_log_prob(EVERY, gray(seed).expand(256, -1)).double().exp()
    assert abs(float(chances.sum()) - 1) < 2e-5


def test_the_probabilities_of_all_colors_sum_to_one():
    reds, greens, blues = (torch.arange(128 - r, 128 + r) for r in (25, 35, 45))
    colors = images_of(torch.cartesian_prod(reds, greens, blues))
    chances = mixture_log_prob(colors, narrow().expand(len(colors), -1)).double().exp()
    assert abs(float(chances.sum()) - 1) < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_mixture_of_products_of_conditional_logistics(channels):
    """An independent formula in float64: sum over k of w_k times the chain of the colors."""
    components, rng = 3, np.random.default_rng(channels)
    raw = rng.normal(size=(mixture_size(channels, components) // components, components))
    value = rng.integers(1, 255, channels)
    x = value / 127.5 - 1
    weights = np.exp(raw[0]) / np.exp(raw[0]).sum()
    total = 0.0
    for k in range(components):
        chance, slope = weights[k], iter(raw[1 + 2 * channels :, k])
        for c in range(channels):
            mean = raw[1 + c, k] + sum(np.tanh(next(slope)) * x[before] for before in range(c))
            scale = np.exp(raw[1 + channels + c, k])
            chance *= logistic.cdf(x[c] + 1 / 255, mean, scale) - logistic.cdf(x[c] - 1 / 255, mean, scale)
        total += chance
    measured = mixture_log_prob(torch.tensor(x, dtype=torch.float32), torch.tensor(raw, dtype=torch.float32).flatten())
    assert abs(float(measured) - np.log(total)) < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_grays_are_drawn_as_often_as_their_probability_says(seed):
    n = 20_000
    uniform = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    drawn = levels(mixture_sample(gray(seed).expand(n, -1), uniform)).flatten()
    assert fits(torch.bincount(drawn, minlength=256), mixture_log_prob(EVERY, gray(seed).expand(256, -1)), n)


def test_colors_are_drawn_as_often_as_their_probability_says():
    n = 20_000
    parameters = narrow()
    parameters.view(10, 2)[4:7] = -6.5  # few colors, each of them often
    uniform = torch.rand(n, 4, generator=torch.Generator().manual_seed(1))
    drawn = levels(mixture_sample(parameters.expand(n, -1), uniform))
    colors, counts = drawn.unique(dim=0, return_counts=True)
    assert len(colors) > 20
    assert fits(counts, mixture_log_prob(images_of(colors), parameters.expand(len(colors), -1)), n)


def test_every_draw_is_a_level_and_a_cold_one_is_the_middle_of_the_likeliest_component():
    parameters = torch.tensor([0.0, 1.0, -0.5, 65 / 255, -2.0, -2.0])  # the second of two components, at a level
    uniform = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    warm = mixture_sample(parameters.expand(500, -1), uniform)
    assert torch.equal(warm, images_of(levels(warm)))
    assert len(warm.unique()) > 50
    cold = mixture_sample(parameters.expand(500, -1), uniform, temperature=1e-3)
    assert cold.unique().tolist() == images_of(torch.tensor([160])).tolist()


def test_values_and_gradients_are_finite_far_out():
    parameters = (torch.randn(64, mixture_size(3, 4), generator=torch.Generator().manual_seed(0)) * 30).requires_grad_()
    x = images_of(torch.randint(0, 256, (64, 3), generator=torch.Generator().manual_seed(1)))
    chances = mixture_log_prob(x, parameters)
    (grad,) = torch.autograd.grad(chances.sum(), parameters)
    assert torch.isfinite(chances).all()
    assert torch.isfinite(grad).all()
    assert float(grad.abs().max()) > 0


def test_inversion_takes_each_category_for_its_share_of_the_numbers():
    chances = torch.tensor([0.25, 0.0, 0.5, 0.25])
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.999999])
    assert invert(chances.expand(6, -1), uniform).tolist() == [0, 0, 2, 2, 3, 3]
    assert int(invert(torch.tensor([0.5, 0.4999]), torch.tensor(0.99999))) == 1  # rounding never leads past the last one


def test_a_new_mixture_covers_all_values_evenly():
    bias = torch.randn(mixture_size(1, 10))
    spread_start(bias, 1)
    chances = mixture_log_prob(EVERY, bias.expand(256, -1)).exp()
    assert float(chances.max() / chances.min()) < 40
    assert abs(float(chances.sum()) - 1) < 1e-4


def fits(counts, log_chances, n):
    """Whether counts of categories agree with their probabilities; the rare ones and all that are missing are taken together."""
    expected = log_chances.double().exp().numpy() * n
    counts, often = counts.numpy().astype(float), expected >= 8
    observed = np.append(counts[often], n - counts[often].sum())
    expected = np.append(expected[often], n - expected[often].sum())
    return len(observed) > 3 and chisquare(observed, expected).pvalue > 1e-3
