"""Samplers against closed forms and against the schedulers of diffusers."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from calotype.diffusion.path import PATHS, NoiseLevel
from calotype.diffusion.samplers import SOLVERS, ddim, ddpm, dpm_plus_plus, euler, heun, posterior_variance, trapezoid

SHAPE = (2, 1, 3, 3)
START = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
every_path = pytest.mark.parametrize("name", PATHS)


def gaussian(spread):
    """The expected image given a state where images are N(0, spread^2)."""
    return lambda x, level: level.alpha * spread**2 / ((level.alpha * spread) ** 2 + level.sigma**2) * x


def exact(x, first, last, spread):
    """Where the differential equation leads from ``x`` at ``first``."""
    deviations = [math.hypot(level.alpha * spread, level.sigma) for level in (first, last)]
    return x * deviations[1] / deviations[0]


def no_noise():
    raise AssertionError("a deterministic sampler drew noise")


@every_path
@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (ddim, 1), (heun, 2), (trapezoid, 2), (dpm_plus_plus, 2)])
def test_the_error_falls_with_the_order_of_the_solver(name, solver, order):
    start, errors = torch.ones(1, dtype=torch.float64), []
    for steps in (200, 400, 800):
        levels = PATHS[name].at(torch.linspace(-2, 2, steps + 1, dtype=torch.float64))
        end = solver(gaussian(0.6), start, levels, *[] if solver is trapezoid else [no_noise])
        errors.append(float((end - exact(start, levels[0], levels[-1], 0.6)).abs()))
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@every_path
@pytest.mark.parametrize("solver", ["ddim", "euler", "heun", "dpm++"])
def test_gaussian_images_are_reached_from_noise(name, solver):
    levels = PATHS[name].timesteps(400)
    start = levels[0].sigma * torch.linspace(-2, 2, 9, dtype=torch.float64)
    end = SOLVERS[solver](gaussian(0.3), start, levels, no_noise)
    assert torch.allclose(end, exact(start, levels[0], levels[-1], 0.3), atol=1e-2 if solver in ("ddim", "euler") else 1e-3)


@every_path
@pytest.mark.parametrize(("solver", "evaluations"), [("ddpm", 5), ("ddim", 5), ("euler", 5), ("heun", 9), ("dpm++", 5)])
def test_the_image_is_never_asked_for_where_it_is_known(name, solver, evaluations):
    asked = []

    def denoise(x, level):
        asked.append(level.sigma)
        return x * 0.1

    SOLVERS[solver](denoise, torch.zeros(1), PATHS[name].timesteps(5), lambda: torch.zeros(1))
    assert len(asked) == evaluations
    assert min(asked) > 0


@every_path
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_known_image_is_reached_exactly(name, solver):
    image = torch.tensor([0.5, -0.25])
    end = SOLVERS[solver](lambda x, level: image, torch.tensor([1.0, -2.0]), PATHS[name].timesteps(3), lambda: torch.randn(2))
    assert torch.allclose(end, image, atol=1e-6)


@every_path
def test_with_eta_one_the_noise_of_ddim_is_that_of_the_posterior(name):
    """Bayes' rule on q(x' | image) and q(x | x') where both are normal."""
    now, then = PATHS[name].at(torch.tensor([-0.5, 0.4]))
    share = now.alpha / then.alpha
    step = now.sigma**2 - (share * then.sigma) ** 2  # the variance of x given x'
    precision = 1 / then.sigma**2 + share**2 / step
    assert posterior_variance(now, then) == pytest.approx(1 / precision)
    image, x = torch.tensor([0.3]), torch.tensor([-0.9])
    mean = (then.alpha / then.sigma**2 * image + share / step * x) / precision
    for sampler in (ddpm, lambda *given: ddim(*given, eta=1.0)):
        drawn = [sampler(lambda x, level: image, x, [now, then], lambda z=z: torch.tensor([z])) for z in (0.0, 1.0)]
        assert torch.allclose(drawn[0], mean, atol=1e-5)
        assert float(drawn[1] - drawn[0]) == pytest.approx(precision**-0.5, rel=1e-4)


def test_ancestral_samples_of_gaussian_images_have_their_variance():
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(20_000, generator=rng)
    for eta in (0.5, 1.0):
        end = ddim(gaussian(0.6), start, PATHS["vp-cosine"].timesteps(400), lambda: torch.randn(20_000, generator=rng), eta)
        assert float(end.std()) == pytest.approx(0.6, rel=0.03)


def noise_net(x, time):
    """A stand-in for a network that predicts noise."""
    return torch.tanh(0.7 * x + 0.3 * x.flip(-1) - time / 1000)


def by_noise(steps, levels):
    """The denoiser of ``noise_net`` on the linear path, where ``levels`` belong to ``steps`` of the chain, 0 to 999."""
    time = dict(zip([level.alpha for level in levels], steps, strict=False))
    return lambda x, level: (x - level.sigma * noise_net(x, time[level.alpha])) / level.alpha


def theirs(scheduler, x, **options):
    for time in scheduler.timesteps:
        x = scheduler.step(noise_net(x, time), time, x, **options).prev_sample
    return x


LINEAR = {"beta_schedule": "linear", "timestep_spacing": "trailing"}


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_ddim_is_that_of_diffusers(steps):
    scheduler = DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(steps)
    levels = PATHS["vp-linear"].timesteps(steps)
    ours = ddim(by_noise(scheduler.timesteps.tolist(), levels), START, levels, no_noise)
    assert torch.allclose(ours, theirs(scheduler, START), atol=1e-4 * float(ours.abs().max()))


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_ddim_with_noise_is_that_of_diffusers(eta):
    scheduler = DDIMScheduler(**LINEAR, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    levels, ours, other = PATHS["vp-linear"].timesteps(10), torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    denoise = by_noise(scheduler.timesteps.tolist(), levels)
    end = ddim(denoise, START, levels, lambda: torch.randn(SHAPE, generator=ours), eta)
    assert torch.allclose(end, theirs(scheduler, START, eta=eta, generator=other), atol=1e-4 * float(end.abs().max()))


@pytest.mark.parametrize("steps", [10, 1000])
def test_ddpm_is_that_of_diffusers(steps):
    scheduler = DDPMScheduler(**LINEAR, clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(steps)
    levels, ours, other = PATHS["vp-linear"].timesteps(steps), torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    denoise = by_noise(scheduler.timesteps.tolist(), levels)
    end = ddpm(denoise, START, levels, lambda: torch.randn(SHAPE, generator=ours))
    assert torch.allclose(end, theirs(scheduler, START, generator=other), atol=2e-4 * float(end.abs().max()))


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_dpm_plus_plus_is_that_of_diffusers(steps):
    scheduler = DPMSolverMultistepScheduler(**LINEAR, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero")
    scheduler.set_timesteps(steps)
    levels = PATHS["vp-linear"].timesteps(steps)
    ours = dpm_plus_plus(by_noise(scheduler.timesteps.tolist(), levels), START, levels)
    assert torch.allclose(ours, theirs(scheduler, START), atol=1e-3 * float(ours.abs().max()))


def exploding(scheduler):
    """The places of a scheduler that adds noise to whole images, each of them once."""
    return [NoiseLevel(1.0, float(sigma)) for sigma in dict.fromkeys(scheduler.sigmas.tolist())]


def test_heun_is_that_of_diffusers():
    scheduler = HeunDiscreteScheduler(beta_schedule="linear", use_karras_sigmas=True)
    scheduler.set_timesteps(8)
    levels = exploding(scheduler)

    def net(x, sigma):
        return torch.tanh(x / math.hypot(1, sigma) - sigma / 100)

    x = START * levels[0].sigma
    ours = heun(lambda x, level: x - level.sigma * net(x, level.sigma), x, levels)
    asked = [levels[0].sigma, *(level.sigma for level in levels[1:-1] for _ in range(2))]  # the second stage of a step, and the next step
    for time, sigma in zip(scheduler.timesteps, asked, strict=True):
        x = scheduler.step(net(x, sigma), time, x).prev_sample
    assert torch.allclose(ours, x, atol=1e-4)


@pytest.mark.parametrize(("solver", "scheduler"), [(euler, EDMEulerScheduler), (dpm_plus_plus, EDMDPMSolverMultistepScheduler)])
def test_solvers_on_the_exploding_path_are_those_of_diffusers(solver, scheduler):
    made = scheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    made.set_timesteps(8)
    levels = PATHS["ve"].timesteps(8)
    assert [level.sigma for level in levels] == pytest.approx(made.sigmas.tolist(), rel=1e-4)

    def net(x, sigma):
        return torch.tanh(x / math.hypot(1, sigma) - sigma / 100)

    def denoise(x, level):
        return made.precondition_outputs(x, net(x, level.sigma), torch.tensor(level.sigma))

    x = START * 80.0
    ours = solver(denoise, x, levels)
    for time, sigma in zip(made.timesteps, made.sigmas, strict=False):
        x = made.step(net(x, float(sigma)), time, x).prev_sample
    assert torch.allclose(ours, x, atol=2e-4)


def test_euler_on_the_straight_path_is_that_of_diffusers():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / 6 for i in range(6)])
    levels = PATHS["rectified"].timesteps(6)

    def direction(x, sigma):  # from image to noise
        return torch.tanh(x - sigma)

    ours = euler(lambda x, level: x - level.sigma * direction(x, level.sigma), START, levels)
    x = START
    for time, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(direction(x, float(sigma)), time, x).prev_sample
    assert torch.allclose(ours, x, atol=1e-5)
