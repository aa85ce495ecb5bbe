"""The way back to the starting noise, where it is known: along the differential equation of normal images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from calotype.diffusion.inversion import starting_noise
from calotype.diffusion.path import PATHS, NoiseLevel, PathName
from calotype.diffusion.samplers import Denoiser, heun
from calotype.types import Noise

SPREAD = 0.3  # standard deviation of the images


def normal_images(x: Tensor, level: NoiseLevel) -> Tensor:
    """The expected image where images are independent normal numbers."""
    return level.alpha * SPREAD**2 / (level.alpha**2 * SPREAD**2 + level.sigma**2) * x


def error(denoise: Denoiser, name: PathName, steps: int, corrections: int) -> float:
    levels, z = PATHS[name].timesteps(steps), Noise(8, 1).normal(1, 8, 8).double()
    image = heun(denoise, levels[0].sigma * z, levels)
    return float((starting_noise(denoise, image, levels, corrections) - z).square().mean().sqrt())


@pytest.mark.parametrize("name", PATHS)
def test_the_noise_comes_back_and_the_nearer_the_finer_the_steps(name: PathName) -> None:
    coarse, fine = (error(normal_images, name, steps, 30) for steps in (8, 32))
    assert fine < 4e-3
    assert fine < coarse / 8  # of second order: a sixteenth in the limit


def test_the_last_step_is_inverted_by_its_corrections() -> None:
    errors = [error(normal_images, "rectified", 64, corrections) for corrections in (0, 1, 2, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * errors[-1]


def test_what_was_clipped_says_only_that_it_lies_beyond() -> None:
    seen: list[Tensor] = []

    def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
        seen.append(x)
        return torch.tensor([-1.5, 1.5, -0.5, 1.5]).expand_as(x)

    levels = PATHS["rectified"].timesteps(4)
    image = torch.tensor([-1.0, 1.0, -1.0, 0.5]).view(1, 1, 1, 4)
    starting_noise(denoise, image, levels, corrections=1)
    moved = (seen[1] - seen[0]).flatten() / levels[-2].alpha
    assert torch.allclose(moved, torch.tensor([0.0, 0.0, -0.5, -1.0]))
