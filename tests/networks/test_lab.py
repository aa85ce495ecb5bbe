from __future__ import annotations

import numpy as np
import torch
from skimage import color

from calotype.networks.lab import lab_of, rgb_of


def pictures() -> torch.Tensor:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[0, :, 0], images[0, :, 1], images[1, :, 0] = -1, 1, -0.99  # black, white, and the straight part near black
    return images


def test_lab_is_that_of_scikit_image() -> None:
    images = pictures()
    theirs = color.rgb2lab((images.double().numpy() * 0.5 + 0.5).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.abs(lab_of(images).numpy() - theirs).max() < 0.01  # the white points differ in the fifth digit


def test_there_and_back_changes_nothing() -> None:
    images = pictures()
    assert torch.allclose(rgb_of(lab_of(images)), images, atol=2e-5)
    assert torch.allclose(lab_of(torch.zeros(1, 3, 1, 1))[:, 1:], torch.zeros(1, 2, 1, 1), atol=1e-3)


def test_a_color_of_no_screen_leaves_the_range() -> None:
    assert float(rgb_of(torch.tensor([50.0, 110.0, -110.0]).view(1, 3, 1, 1)).abs().max()) > 1


def test_colors_are_exact_under_autocast_too() -> None:
    images = pictures()
    with torch.autocast("cpu", torch.bfloat16):
        lab, back = lab_of(images), rgb_of(lab_of(images))
        rough = torch.einsum("ij,njhw->nihw", torch.eye(3), images)
    assert torch.equal(lab, lab_of(images))
    assert torch.equal(back, rgb_of(lab_of(images)))
    assert rough.dtype == torch.bfloat16  # what would have happened
