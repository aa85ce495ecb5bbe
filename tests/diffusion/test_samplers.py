"""Solvers against equations with known solutions, times and guidance against their definitions."""

import math
from itertools import pairwise

import pytest
import torch

from calotype.diffusion.guidance import guide, scale_at
from calotype.diffusion.path import interpolate, velocity_to
from calotype.diffusion.samplers import SOLVERS, euler, heun
from calotype.diffusion.times import logit_normal, steps_between


def error_at(solver, steps):
    """Of dx/dt = -2 t x from x(0) = 1, whose solution is exp(-t^2)."""
    end = solver(lambda x, t: -2 * t * x, torch.ones(1, dtype=torch.float64), steps_between(steps))
    return abs(float(end) - math.exp(-1))


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_the_error_falls_with_the_order_of_the_solver(solver, order):
    errors = [error_at(solver, steps) for steps in (40, 80, 160)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("name", "evaluations"), [("euler", 5), ("heun", 9)])
def test_the_velocity_is_never_asked_for_at_the_last_time(name, evaluations):
    asked = []

    def velocity(x, time):
        asked.append(time)
        return x

    SOLVERS[name](velocity, torch.zeros(1), steps_between(5))
    assert len(asked) == evaluations
    assert max(asked) < 1


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_one_step_follows_a_straight_line_exactly(solver):
    start = torch.tensor([1.0, -2.0])
    assert torch.equal(solver(lambda x, t: torch.tensor([3.0, 4.0]), start, [0.0, 1.0]), torch.tensor([4.0, 2.0]))


def test_gaussian_images_are_reached_by_the_exact_flow():
    """For images N(mean, spread^2) the velocity is linear in x and carries z to mean + spread z."""
    mean, spread = 0.4, 0.3

    def velocity(x, t):
        variance = (1 - t) ** 2 + (t * spread) ** 2
        return mean + (t * spread**2 - (1 - t)) / variance * (x - t * mean)

    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for solver, tolerance in ((euler, 2e-2), (heun, 2e-4)):
        assert torch.allclose(solver(velocity, noise, steps_between(200)), mean + spread * noise, atol=tolerance)


def test_the_path_leads_from_noise_to_image():
    noise, image = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    states = interpolate(noise, image, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(states[0], noise[0])
    assert torch.allclose(states[1], 0.75 * noise[1] + 0.25 * image[1])
    assert torch.equal(states[2], image[2])


def test_the_velocity_to_the_image_is_image_minus_noise():
    noise, image, time = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([0.0, 0.5, 0.9])
    x = interpolate(noise, image, time)
    assert torch.allclose(velocity_to(image, x, time), image - noise, atol=1e-5)
    assert torch.allclose(velocity_to(image, x, time, least=0.2)[2], (image - noise)[2] / 2, atol=1e-5)
    assert torch.allclose(velocity_to(image, x, 0.5)[1], (image - noise)[1], atol=1e-5)


def test_guidance_extrapolates_from_the_unconditional_through_the_conditional():
    conditional, unconditional = torch.tensor([2.0]), torch.tensor([1.0])
    assert [float(guide(conditional, unconditional, s)) for s in (0.0, 0.5, 1.0, 3.0)] == [1.0, 1.5, 2.0, 4.0]


def test_guidance_acts_only_within_its_interval():
    assert [scale_at(t, 3.0, (0.25, 0.5)) for t in (0.2, 0.25, 0.4, 0.5, 0.6)] == [1.0, 3.0, 3.0, 3.0, 1.0]


def test_steps_run_from_noise_to_image_and_a_shift_crowds_them_at_the_noise():
    even, shifted = steps_between(8), steps_between(8, shift=3.0)
    assert even == [i / 8 for i in range(9)]
    assert (shifted[0], shifted[-1]) == (0.0, 1.0)
    assert shifted == sorted(shifted)
    assert all(s < e for s, e in zip(shifted[1:-1], even[1:-1], strict=True))


def test_training_times_are_logit_normal():
    times = logit_normal(4096, torch.Generator().manual_seed(0), mean=-0.5, spread=1.5)
    logits = torch.logit(times.double())
    assert float(logits.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(logits.std()) == pytest.approx(1.5, abs=0.02)
    assert 0 < float(times.min()) < float(times.max()) < 1


def test_training_times_are_one_in_each_bin_in_random_order():
    times = logit_normal(64, torch.Generator().manual_seed(0))
    share = torch.special.ndtr(torch.logit(times.double()))
    bins = (share * 64).floor().long()
    assert sorted(bins.tolist()) == list(range(64))
    assert bins.tolist() != list(range(64))
    assert torch.equal(times, logit_normal(64, torch.Generator().manual_seed(0)))
    assert not torch.equal(times, logit_normal(64, torch.Generator().manual_seed(1)))
