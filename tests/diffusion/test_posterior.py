"""Posterior samplers where the posterior is known: images that are Gaussian, whose denoiser is linear."""

from __future__ import annotations

import math

import pytest
import torch

from calotype.degrade import Operator, parse
from calotype.degrade.base import Identity, NonlinearOperator
from calotype.degrade.mask import Masked
from calotype.diffusion.measurement import ROUNDING, Measurement, conjugate_gradients
from calotype.diffusion.path import PATHS, NoiseLevel
from calotype.diffusion.posterior import RELAXED, ddrm, guided, proximal, spread_at
from calotype.diffusion.samplers import ddpm, heun
from calotype.types import Noise

SIZE = 6
PIXELS = SIZE * SIZE
STD = 0.7
RNG = torch.Generator().manual_seed(3)
TRUTH = torch.randn(1, 1, SIZE, SIZE, generator=RNG) * STD
HALF = torch.ones(1, 1, SIZE, SIZE).index_fill(3, torch.arange(3, SIZE), 0)
SPECS = ["mask:half", "blur:1", "downsample:2", "motion:3", "noise:30"]
any_operator = pytest.mark.parametrize("spec", SPECS)


def operator(spec: str, count: int = 1) -> Operator:
    return parse(spec)(torch.zeros(1, 1, SIZE, SIZE).expand(count, -1, -1, -1), Noise(count, 5)).operator


def dense(a: Operator) -> torch.Tensor:
    """A as a matrix (measurements, pixels), float64."""
    units = torch.eye(PIXELS).view(PIXELS, 1, 1, SIZE, SIZE)
    return torch.stack([a.forward(unit)[0].flatten() for unit in units], 1).double()


def smooth(std: float = STD) -> torch.Tensor:
    """A covariance of pixels that depend on their neighbors, (PIXELS, PIXELS) float64."""
    at = torch.arange(SIZE, dtype=torch.float64)
    line = torch.exp(-((at[:, None] - at) / 2).square() / 2)
    return std**2 * (torch.kron(line, line) + 0.01 * torch.eye(PIXELS))


def denoiser(cov: torch.Tensor):
    """The expected image given a state where images are N(0, cov)."""

    def denoise(x, level):
        state = level.alpha**2 * cov + level.sigma**2 * torch.eye(PIXELS).double()
        gain = level.alpha * torch.linalg.solve(state, cov).mT
        return (x.flatten(1).double() @ gain.mT).to(x).view_as(x)

    return denoise


def posterior(cov: torch.Tensor, a: torch.Tensor, y: torch.Tensor, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of N(0, cov) given y = a x + noise."""
    gain = cov @ a.mT @ torch.linalg.inv(a @ cov @ a.mT + variance * torch.eye(len(a)).double())
    return gain @ y.flatten().double(), cov - gain @ a @ cov


def measured(spec: str, sigma: float, count: int = 1, truth: torch.Tensor = TRUTH) -> Measurement:
    a = operator(spec)
    y = a.forward(truth)
    y = y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return Measurement(y.repeat(count, 1, 1, 1), a, torch.tensor([sigma]).repeat(count))  # one operator serves any number of images


@any_operator
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("wrap", [guided, proximal])
def test_the_denoiser_given_a_measurement_is_exact_for_white_images(spec, name, wrap):
    seen = measured(spec, 0.1)
    cov, a = STD**2 * torch.eye(PIXELS).double(), dense(operator(spec))
    conditioned = wrap(denoiser(cov), seen, STD)
    x = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    for level in PATHS[name].at(torch.tensor([-2.0, 0.0, 2.0])):
        # given the state images are N(mean, left): the measurement then is one of them
        mean = denoiser(cov)(x, level).flatten().double()
        left = spread_at(level, STD) * torch.eye(PIXELS).double()
        shift, _ = posterior(left, a, seen.y.flatten().double() - a @ mean, 0.1**2 + ROUNDING**2)
        assert torch.allclose(conditioned(x, level).flatten().double(), mean + shift, atol=2e-3)


def test_the_gradient_carries_the_measurement_to_pixels_that_depend_on_it():
    cov, level, seen = smooth(), NoiseLevel(0.6, 0.4), measured("mask:half", 0.1)
    x = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    image = denoiser(cov)(x, level)
    left = cov - cov @ torch.linalg.solve(level.alpha**2 * cov + level.sigma**2 * torch.eye(PIXELS).double(), cov) * level.alpha**2
    residual = (HALF * (seen.y - image)).flatten().double() / (spread_at(level, STD) + 0.1**2 + ROUNDING**2)
    moved = guided(denoiser(cov), seen, STD)(x, level)
    assert torch.allclose(moved.flatten().double(), image.flatten().double() + left @ residual, atol=1e-4)
    hidden = HALF == 0
    assert torch.equal(proximal(denoiser(cov), seen, STD)(x, level)[hidden], image[hidden])
    assert (moved - image)[hidden].abs().max() > 0.02


def test_where_all_pixels_depend_on_each_other_the_gradient_does_not_lead_too_far():
    """Each of 18 known pixels tells the same of all 36: taken for independent they would lead 18 times too far."""
    cov, level, seen = (
        STD**2 * (1 + 0.01 * torch.eye(PIXELS).double()),
        NoiseLevel(0.3, 0.7),
        measured("mask:half", 0.1, 1, torch.ones_like(TRUTH)),
    )
    x = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    image = denoiser(cov)(x, level).flatten().double()
    left = cov - cov @ torch.linalg.solve(level.alpha**2 * cov + level.sigma**2 * torch.eye(PIXELS).double(), cov) * level.alpha**2
    a = dense(operator("mask:half"))
    exact, _ = posterior(left, a, seen.y.flatten().double() - a @ image, 0.1**2 + ROUNDING**2)
    moved = guided(denoiser(cov), seen, STD)(x, level).flatten().double() - image
    assert moved.norm().item() == pytest.approx(RELAXED * exact.norm().item(), rel=0.1)
    assert (moved - RELAXED * exact).norm() < 0.1 * exact.norm()


def draw(method, cov, seen, count, steps=60, name="rectified", eta=0.85):
    rng, levels = torch.Generator().manual_seed(0), PATHS[name].timesteps(steps)

    def normal():
        return torch.randn(count, 1, SIZE, SIZE, generator=rng)

    start = levels[0].sigma * normal()
    if method == "ddrm":
        return ddrm(denoiser(cov), start, levels, seen, normal, eta)
    conditioned = (proximal if method == "diffpir" else guided)(denoiser(cov), seen, STD)
    return (heun if method == "dps without noise" else ddpm)(conditioned, start, levels, normal)


def errors(drawn, cov, spec, seen, sigma):
    """How far mean and standard deviation of samples are from the posterior's, at most, in prior standard deviations."""
    mean, left = posterior(cov, dense(operator(spec)), seen.y[:1], sigma**2 + ROUNDING**2)
    flat = drawn.flatten(1).double()
    return (flat.mean(0) - mean).abs().max() / STD, (flat.std(0) - left.diagonal().clamp(min=0).sqrt()).abs().max() / STD, flat, left


@pytest.mark.parametrize("spec", ["mask:half", "blur:1", "downsample:2"])
@pytest.mark.parametrize(("method", "steps"), [("dps", 150), ("dps without noise", 30), ("diffpir", 150)])
def test_white_images_are_drawn_from_their_posterior(method, steps, spec):
    """Exact in the limit of many steps and samples."""
    seen, cov = measured(spec, 0.2, 2000), STD**2 * torch.eye(PIXELS).double()
    mean, std, flat, left = errors(draw(method, cov, seen, 2000, steps), cov, spec, seen, 0.2)
    assert mean < 0.08
    assert std < 0.06
    assert (flat.T.cov() - left).abs().max() < 0.06


def test_what_is_unseen_and_independent_is_drawn_from_its_distribution_by_ddrm():
    """Exact in the limit of many steps with eta 0, of coordinates that are independent and seen without noise; eta takes variance."""
    seen, cov = measured("mask:half", 0.0, 2000), STD**2 * torch.eye(PIXELS).double()
    mean, std, flat, _ = errors(draw("ddrm", cov, seen, 2000, 100, eta=0.0), cov, "mask:half", seen, 0.0)
    assert mean < 0.08
    assert std < 0.06
    assert draw("ddrm", cov, seen, 2000, 100).std(0).sum() < 0.95 * flat.std(0).sum()


def test_without_noise_ddrm_meets_what_was_measured_in_directions_that_are_kept_at_half_strength():
    seen = measured("blur:1", 0.0)
    svd = seen.svd
    strong = (svd.singulars > 0.5 * svd.singulars.amax()).expand(1, 1, SIZE, SIZE)
    rest = svd.Ut(seen.y - seen.operator.forward(draw("ddrm", smooth(), seen, 1, 10))).abs()
    assert rest[strong].max() < 1e-5
    assert rest[~strong].max() > 1e-3


def test_a_state_noisier_than_the_measurement_is_the_measurement_with_the_noise_that_it_lacks():
    """Kawar et al. (2022), equation 8: what is seen has the noise of the state in all, whatever the denoiser says."""
    seen, states = measured("noise:30", 0.2, 4000), []
    levels = [NoiseLevel(0.1, 0.9), NoiseLevel(0.6, 0.4), NoiseLevel(1.0, 0.0)]

    def denoise(x, level):
        states.append(x)
        return torch.zeros_like(x)

    rng = torch.Generator().manual_seed(0)
    start = torch.zeros(4000, 1, SIZE, SIZE)
    ddrm(denoise, start, levels, seen, lambda: torch.randn(start.shape, generator=rng))
    lacking = 0.6 * math.sqrt((0.4 / 0.6) ** 2 - 0.2**2 - ROUNDING**2)
    assert states[1].std(0).mean().item() == pytest.approx(lacking, rel=0.01)
    assert torch.allclose(states[1].mean(0), 0.6 * seen.y[0], atol=0.03)


@pytest.mark.parametrize(
    ("method", "mean_within", "std_within"),
    [("dps", 0.9, 0.2), ("dps without noise", 0.7, 0.2), ("diffpir", 1.0, 0.35), ("ddrm", 0.85, 0.2)],
)
def test_images_whose_pixels_depend_on_each_other_are_drawn_nearly_so(method, mean_within, std_within):
    """All approximate here: the worst pixel's errors are those below. Without a measurement they are 2.3 and 0.97."""
    cov = smooth()
    root = torch.linalg.cholesky(cov) @ torch.randn(PIXELS, generator=torch.Generator().manual_seed(4)).double()
    seen = measured("mask:half", 0.05, 1000, root.float().view(1, 1, SIZE, SIZE))
    mean, std, *_ = errors(draw(method, cov, seen, 1000, 50), cov, "mask:half", seen, 0.05)
    assert mean < mean_within
    assert std < std_within


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("method", ["dps", "diffpir", "ddrm"])
def test_known_pixels_of_a_mask_are_kept_to_the_last_bit(method, name):
    seen = Measurement(TRUTH * HALF, Masked(HALF), torch.zeros(1)).copies(3)
    end = seen.kept(draw(method, smooth(), seen, 3, 4, name))
    assert torch.equal(end * HALF, (TRUTH * HALF).expand_as(end))
    assert (end[0] - end[1]).abs().max() > 0.05


def test_what_was_measured_with_noise_is_not_put_in_its_place():
    x = torch.zeros(2, 1, SIZE, SIZE)
    seen = Measurement((TRUTH * HALF).repeat(2, 1, 1, 1), Masked(HALF), torch.tensor([0.0, 0.1]))
    kept = seen.kept(x)
    assert torch.equal(kept[0] * HALF[0], TRUTH[0] * HALF[0])
    assert torch.equal(kept[1], x[1])


def test_conjugate_gradients_solve_what_elimination_solves():
    rng = torch.Generator().manual_seed(0)
    roots = torch.randn(3, 20, 20, generator=rng, dtype=torch.float64)
    matrices = roots @ roots.mT / 20 + 0.1 * torch.eye(20)
    target = torch.randn(3, 20, generator=rng, dtype=torch.float64)
    found = conjugate_gradients(lambda w: (matrices @ w[:, :, None])[:, :, 0], target)
    assert torch.allclose(found, torch.linalg.solve(matrices, target), atol=1e-2)


@any_operator
def test_copies_do_to_each_set_what_the_operator_does(spec):
    a = operator(spec, 2)
    x = torch.randn(6, 1, SIZE, SIZE, generator=RNG)
    seen = Measurement(a.forward(x[:2]), a, torch.zeros(2)).copies(3)
    apart = torch.cat([a.forward(x[i : i + 2]) for i in (0, 2, 4)])
    assert torch.equal(seen.operator.forward(x), apart)
    back = seen.operator.adjoint(apart)
    assert torch.equal(back[2:4], a.adjoint(apart[2:4]))
    if seen.svd is not None:
        assert torch.allclose(seen.svd.U(seen.svd.singulars * seen.svd.Vt(x)), apart, atol=1e-5)


def test_the_residual_counts_what_is_seen_only():
    seen = Measurement(HALF * 0.5, Masked(HALF), torch.zeros(1))
    assert seen.residual(torch.zeros(1, 1, SIZE, SIZE)).item() == pytest.approx(0.5)


def test_an_operator_that_is_not_linear_is_followed_by_its_gradient():
    curved = NonlinearOperator(lambda x: x + 0.3 * x.square())
    seen = Measurement(curved.forward(TRUTH).repeat(200, 1, 1, 1), curved, torch.full((200,), 0.02))
    drawn = draw("dps", STD**2 * torch.eye(PIXELS).double(), seen, 200)
    far = seen.residual(torch.randn(200, 1, SIZE, SIZE, generator=RNG) * STD).mean()
    assert seen.residual(drawn).mean() < 0.2 * far


def test_ddrm_says_that_it_needs_singular_values():
    seen = Measurement(TRUTH, NonlinearOperator(lambda x: x), torch.zeros(1))
    with pytest.raises(ValueError, match="singular values"):
        draw("ddrm", smooth(), seen, 1, 2)


def test_noise_alone_is_shrunk_as_wiener_does():
    seen = Measurement(TRUTH.repeat(4000, 1, 1, 1), Identity(), torch.full((4000,), STD))
    drawn = draw("dps", STD**2 * torch.eye(PIXELS).double(), seen, 4000, 200)
    assert torch.allclose(drawn.mean(0), TRUTH[0] / (2 + (ROUNDING / STD) ** 2), atol=0.05)
    assert drawn.std(0).mean().item() == pytest.approx(STD / math.sqrt(2), abs=0.02)
