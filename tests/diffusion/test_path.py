"""Paths, predictions and weights against their published forms."""

import math

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler

from calotype.diffusion.path import PATHS, NoiseLevel, add_noise, cosine_alpha_bar, linear_alpha_bar, steps_between
from calotype.diffusion.prediction import mix_of, weight_of

RATIOS = torch.linspace(-4, 4, 17, dtype=torch.float64)
every_path = pytest.mark.parametrize("name", PATHS)
every_prediction = pytest.mark.parametrize("predict", ["image", "noise", "velocity", "v", "edm"])


@pytest.mark.parametrize(("ours", "theirs"), [(linear_alpha_bar, "linear"), (cosine_alpha_bar, "squaredcos_cap_v2")])
def test_the_chains_are_those_of_the_papers(ours, theirs):
    expected = DDPMScheduler(beta_schedule=theirs).alphas_cumprod.double()
    assert float(ours()[0]) == 1
    assert torch.allclose(ours()[1:], expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize(("name", "alpha_bar"), [("vp-linear", linear_alpha_bar()), ("vp-cosine", cosine_alpha_bar())])
def test_a_chain_has_its_shares_at_its_steps_and_rises_between_them(name, alpha_bar):
    path, steps = PATHS[name], torch.tensor([1, 250, 999, 1000])
    alpha, sigma = path.scales(path.schedule(1 - steps / 1000.0))
    assert torch.allclose(alpha.square(), alpha_bar[steps], rtol=1e-6)
    assert torch.allclose(alpha.square() + sigma.square(), torch.ones(4, dtype=torch.float64))
    fine = path.schedule(torch.linspace(0, 1, 5001, dtype=torch.float64))
    assert bool((fine.diff() > 0).all())


@every_path
def test_the_ratio_of_image_to_noise_is_the_log_ratio(name):
    alpha, sigma = PATHS[name].scales(RATIOS)
    assert torch.allclose(torch.log(alpha / sigma), RATIOS)
    assert [level.half_log_snr for level in PATHS[name].at(RATIOS)] == pytest.approx(RATIOS.tolist())
    total = {"rectified": alpha + sigma, "ve": alpha}.get(name, alpha.square() + sigma.square())
    assert torch.allclose(total, torch.ones_like(total))


@every_path
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_walk_goes_from_noise_to_the_image(name, steps):
    levels = PATHS[name].timesteps(steps)
    assert len(levels) == steps + 1
    assert levels[0].half_log_snr < -4
    assert levels[-1] == NoiseLevel(1.0, 0.0)
    ratios = [level.half_log_snr for level in levels]
    assert ratios == sorted(ratios)
    assert len(set(ratios)) == len(ratios)


def test_the_straight_path_is_known_by_its_time():
    levels = PATHS["rectified"].levels([0.0, 0.3, 1.0])
    assert [level.alpha for level in levels] == pytest.approx([0, 0.3, 1])
    assert [level.sigma for level in levels] == pytest.approx([1, 0.7, 0])
    assert torch.allclose(PATHS["rectified"].c_noise(torch.logit(torch.tensor([0.3]))), torch.tensor([0.3]))


def test_the_exploding_path_steps_as_its_paper_says():
    ours = [level.sigma for level in PATHS["ve"].timesteps(8)]
    rho, top, low = 7, 80.0, 0.002
    theirs = [(top ** (1 / rho) + i / 7 * (low ** (1 / rho) - top ** (1 / rho))) ** rho for i in range(8)]
    assert ours == pytest.approx([*theirs, 0.0])
    assert torch.allclose(PATHS["ve"].c_noise(-torch.log(torch.tensor([3.0]))), torch.log(torch.tensor([3.0])) / 4)


def test_steps_run_from_noise_to_image_and_a_shift_crowds_them_at_the_noise():
    even, shifted = steps_between(8), steps_between(8, shift=3.0)
    assert even == [i / 8 for i in range(9)]
    assert (shifted[0], shifted[-1]) == (0.0, 1.0)
    assert shifted == sorted(shifted)
    assert all(s < e for s, e in zip(shifted[1:-1], even[1:-1], strict=True))


def states(name, seed=0):
    rng = torch.Generator().manual_seed(seed)
    image, noise = (torch.randn(len(RATIOS), 1, 2, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    alpha, sigma = PATHS[name].scales(RATIOS)
    return image, noise, alpha, sigma, add_noise(image, noise, alpha, sigma)


@every_path
@every_prediction
def test_the_image_follows_from_what_a_perfect_network_puts_out(name, predict):
    image, noise, alpha, sigma, x = states(name)
    a, s = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    mix = mix_of(predict, alpha, sigma)
    skip, out = mix.c_skip.view(-1, 1, 1, 1), mix.c_out.view(-1, 1, 1, 1)
    perfect = {"image": image, "noise": noise, "velocity": image - noise, "v": a * noise - s * image}
    target = perfect.get(predict, (image - skip * x) / out)
    assert torch.allclose(skip * x + out * target, image)


def test_edm_coefficients_are_those_of_the_paper():
    sigma, std = torch.tensor([0.01, 0.3, 2.0, 50.0]), 0.5
    mix = mix_of("edm", torch.ones(4), sigma, std)
    total = sigma**2 + std**2
    assert torch.allclose(mix.c_skip, std**2 / total)
    assert torch.allclose(mix.c_out, sigma * std / total.sqrt())
    assert torch.allclose(mix.c_in, 1 / total.sqrt())
    theirs = EDMEulerScheduler(sigma_data=std)
    x, raw = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    for i in range(4):
        assert torch.allclose(mix.c_in[i] * x[i], theirs.precondition_inputs(x[i], sigma[i]), atol=1e-6)
        expected = theirs.precondition_outputs(x[i], raw[i], sigma[i])
        assert torch.allclose(mix.c_skip[i] * x[i] + mix.c_out[i] * raw[i], expected, atol=1e-5)


@every_path
def test_edm_gives_the_network_input_and_target_of_unit_variance(name):
    std, (alpha, sigma) = 0.7, PATHS[name].scales(RATIOS)
    mix = mix_of("edm", alpha, sigma, std)
    entering = mix.c_in**2 * ((alpha * std) ** 2 + sigma**2)
    # target (image - skip x) / out with x = alpha image + sigma noise
    target = (((1 - mix.c_skip * alpha) * std) ** 2 + (mix.c_skip * sigma) ** 2) / mix.c_out**2
    assert torch.allclose(entering, torch.ones_like(entering))
    assert torch.allclose(target, torch.ones_like(target))


def test_weights_of_the_output_are_the_losses_of_the_papers():
    alpha, sigma = PATHS["vp-cosine"].scales(RATIOS)
    snr = (alpha / sigma) ** 2
    for predict, expected in {"image": torch.ones_like(snr), "noise": snr, "v": snr + 1}.items():
        assert torch.allclose(weight_of("output", alpha, sigma, mix_of(predict, alpha, sigma).c_out), expected)
    one, noise = PATHS["ve"].scales(RATIOS)
    expected = (noise**2 + 0.25) / (0.5 * noise) ** 2
    assert torch.allclose(weight_of("output", one, noise, mix_of("edm", one, noise).c_out), expected)


def test_min_snr_bounds_the_weight_of_what_is_nearly_an_image():
    alpha, sigma = PATHS["vp-linear"].scales(RATIOS)
    snr = (alpha / sigma) ** 2
    weight = weight_of("min-snr", alpha, sigma, torch.ones(1), snr_limit=5.0)
    assert torch.allclose(weight, snr.clamp(max=5))
    # of an error of the noise, as Hang et al. write it
    assert torch.allclose(weight * mix_of("noise", alpha, sigma).c_out ** 2, snr.clamp(max=5) / snr)
    assert torch.allclose(weight * mix_of("v", alpha, sigma).c_out ** 2, snr.clamp(max=5) / (snr + 1))


def test_the_weight_of_the_velocity_is_that_of_image_minus_noise_until_it_is_bounded():
    alpha, sigma = PATHS["rectified"].scales(torch.tensor([-3.0, 0.0, math.log(19), 6.0], dtype=torch.float64))
    weight = weight_of("velocity", alpha, sigma, torch.ones(1))
    assert torch.allclose(weight[:3], 1 / sigma[:3] ** 2)
    assert float(weight[3]) == pytest.approx(400)
    assert torch.allclose(weight[:3] * mix_of("velocity", alpha, sigma).c_out[:3] ** 2, torch.ones(3, dtype=torch.float64))
