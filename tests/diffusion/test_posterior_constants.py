"""The constants of posterior samplers, each seen in a result that is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from calotype.degrade.base import Identity, NonlinearOperator, Operator, round8
from calotype.degrade.mask import Masked
from calotype.degrade.svd import SVD, Diagonal
from calotype.diffusion import posterior
from calotype.diffusion.measurement import ROUNDING, Measurement
from calotype.diffusion.path import NoiseLevel
from calotype.models import build
from calotype.tasks.prior import restore_with_prior
from calotype.tasks.sample import Generator
from calotype.types import ImageSpec
from tests.small import small

SIZE = 6
HALF = torch.ones(1, 1, SIZE, SIZE).index_fill(3, torch.arange(3, SIZE), 0)
LEVELS = [NoiseLevel(0.4, 0.6), NoiseLevel(0.7, 0.3), NoiseLevel(1.0, 0.0)]


@pytest.mark.parametrize("known", [3, 6])
def test_the_gradient_of_images_of_one_color_goes_1_7_times_as_far_as_their_posterior_mean(known: int) -> None:
    """All pixels are one number z of variance 0.49: what is measured of n of them tells of it as n / (n + variance / spread) does."""
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., :known] = 1
    level, noise, z, pixels = NoiseLevel(0.3, 0.7), 0.1, 0.8, SIZE * SIZE
    spread = 0.49 * level.sigma**2 / (level.sigma**2 + pixels * level.alpha**2 * 0.49)  # of z, given a state

    def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
        gain = level.alpha * 0.49 / (level.sigma**2 + pixels * level.alpha**2 * 0.49)
        return (gain * x.sum((1, 2, 3), keepdim=True)).expand_as(x)

    x = torch.full((1, 1, SIZE, SIZE), 0.02)
    mean, seen = denoise(x, level), Measurement(z * mask, Masked(mask), torch.tensor([noise]))
    count, variance = SIZE * known, noise**2 + ROUNDING**2
    exact = spread * count / (spread * count + variance) * (z - mean)
    moved = posterior.guided(denoise, seen, 0.7)(x, level) - mean
    np.testing.assert_allclose(moved.numpy(), 1.7 * exact.numpy(), rtol=1e-3)


@pytest.mark.parametrize("level", [NoiseLevel(0.9, 0.1), NoiseLevel(0.5, 0.5), NoiseLevel(0.2, 0.8), NoiseLevel(0.6, 0.8)])
def test_the_spread_of_a_white_image_is_its_variance_given_a_state(level: NoiseLevel) -> None:
    """Two measurements of a Gaussian, one of them its prior: precisions add."""
    assert posterior.spread_at(level, 0.7) == pytest.approx(1 / (1 / 0.49 + (level.alpha / level.sigma) ** 2), rel=1e-9)


def states(y: Tensor, operator: Operator, sigma: float, start: Tensor, fresh: float) -> list[Tensor]:
    """The states that ddrm's denoiser sees, which takes every image for gray."""
    seen: list[Tensor] = []

    def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    measured = Measurement(y, operator, torch.full((len(y),), sigma))
    posterior.ddrm(denoise, start, LEVELS, measured, lambda: torch.full_like(start, fresh))
    return seen


def test_ddrm_draws_anew_the_share_of_the_noise_that_the_paper_does() -> None:
    """Kawar et al. (2022), equation 7 with eta 0.85: what is unseen keeps sqrt(1 - eta^2) of its noise."""
    start = torch.full((1, 1, SIZE, SIZE), 0.9)
    for fresh in (0.0, 1.0, -2.0):
        hidden = states(0.5 * HALF, Masked(HALF), 0.0, start, fresh)[1][HALF == 0]
        wanted = LEVELS[1].sigma * (math.sqrt(1 - 0.85**2) * 0.9 / LEVELS[0].sigma + 0.85 * fresh)
        torch.testing.assert_close(hidden, torch.full_like(hidden, wanted))


def test_ddrm_takes_what_is_noisier_than_the_state_for_a_part_of_its_noise() -> None:
    """The same equation: what is seen with noise sigma_y beyond that of the state moves it by sqrt(1 - eta^2) (y - x) / sigma_y."""
    ratio, sigma = LEVELS[1].sigma / LEVELS[1].alpha, 2.0
    y = torch.full((1, 1, SIZE, SIZE), 0.5)
    for fresh in (0.0, 1.5):
        x = states(y, Identity(), sigma, torch.zeros_like(y), fresh)[1]
        place = ratio * (math.sqrt(1 - 0.85**2) * 0.5 / math.hypot(sigma, ROUNDING) + 0.85 * fresh)
        torch.testing.assert_close(x, torch.full_like(x, LEVELS[1].alpha * place))


def test_what_eight_bits_leave_open_is_the_noise_of_what_was_measured_without_any() -> None:
    values = torch.rand(1, 1, 500, 500, generator=torch.Generator().manual_seed(0)) * 2 - 1
    error = (round8(values) - values).std().item()
    assert Measurement(values, Identity(), torch.zeros(1)).variance.sqrt().item() == pytest.approx(error, rel=0.01)


class Weighted(NonlinearOperator):
    """Weights pixels, and knows its singular values."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(lambda x: x * weight)
        self.linear, self._svd = True, Diagonal(weight)

    def svd(self) -> SVD:
        return self._svd


def test_directions_kept_at_more_than_half_of_the_strongest_are_put_in_their_place() -> None:
    weight = torch.tensor([2.0, 1.02, 0.98, 0.0]).view(1, 1, 1, 4)
    seen = Measurement(torch.full((1, 1, 1, 4), 0.5) * (weight > 0), Weighted(weight), torch.zeros(1))
    kept = seen.kept(torch.full((1, 1, 1, 4), 9.0)).flatten()
    np.testing.assert_allclose(kept.numpy(), [0.25, 0.5 / 1.02, 9.0, 9.0], rtol=1e-6)


def test_a_pixel_of_which_nothing_is_known_has_a_standard_deviation_of_seven_tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of diffpir from pure noise is Wiener's filter for that prior: 0.49 / (0.49 + variance) of what was measured."""
    torch.manual_seed(0)
    config = small("flow-matching", embedding=8, width=8)
    generator = Generator(build(config.model, ImageSpec(8, 1)), "flow-matching", torch.device("cpu"))
    monkeypatch.setattr(generator.model, "denoiser", lambda label, clip=False: lambda x, level: torch.zeros_like(x))
    y = torch.linspace(-0.9, 0.9, 64).view(1, 1, 8, 8)
    for sigma in (0.3, 0.7):
        made = restore_with_prior(generator, y, Identity(), samples=2, steps=1, method="diffpir", sigma=sigma).mean
        np.testing.assert_allclose(made.numpy(), 0.49 / (0.49 + sigma**2 + ROUNDING**2) * y.numpy(), atol=1e-5)
