"""Blurs against scipy, and their kernels against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, special
from torch import Tensor

from calotype import degrade
from calotype.degrade import kernels
from calotype.degrade.blur import Convolution
from calotype.degrade.taps import mirrored
from calotype.types import Noise


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def one(*values: float) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(("height", "width"), [(24, 31), (7, 4), (1, 9)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.6, 4.2])
def test_gaussian_blur_is_that_of_scipy(sigma: float, height: int, width: int) -> None:
    image = random(2, 3, height, width)
    made = degrade.parse(f"blur:{sigma}")(image, Noise(2)).image
    theirs = ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=4)
    np.testing.assert_allclose(made.numpy(), theirs, atol=1e-6)  # the strength is drawn in float32
    assert float((made - image).abs().max()) > 0.01


def test_every_image_has_a_blur_of_its_own() -> None:
    image = random(6, 1, 20, 20)
    made = degrade.parse("blur:0.5-3")(image, Noise(6, 2)).image
    drawn = 0.5 + 2.5 * Noise(6, 2).uniform()
    for row, sigma in enumerate(drawn.tolist()):
        theirs = ndimage.gaussian_filter(image[row, 0].numpy(), sigma, mode="reflect", truncate=4)
        np.testing.assert_allclose(made[row, 0].numpy(), theirs, atol=1e-6)
    assert float(drawn.max() - drawn.min()) > 0.5


@pytest.mark.parametrize(("height", "width"), [(9, 12), (3, 5)])
def test_convolution_is_the_correlation_of_scipy(height: int, width: int) -> None:
    image, kernel = random(2, 2, height, width), random(2, 5, 5)
    made = Convolution(kernel).forward(image)
    for n in range(2):
        for channel in range(2):
            theirs = ndimage.correlate(image[n, channel].numpy(), kernel[n].numpy(), mode="reflect")
            np.testing.assert_allclose(made[n, channel].numpy(), theirs, atol=1e-12)


def test_borders_are_mirrored_again_and_again() -> None:
    for size, radius in ((5, 2), (3, 8), (1, 4)):
        assert mirrored(size, radius).tolist() == np.pad(np.arange(size), radius, mode="symmetric").tolist()


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0])
def test_a_turned_gaussian_has_its_covariance(angle: float) -> None:
    kernel = kernels.turned(one(3.0), one(1.2), one(angle), 18)[0].double()
    down, across = np.mgrid[-18:19, -18:19]
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    covariance = turn @ np.diag([9, 1.44]) @ turn.T  # of (across, down)
    found = np.array([[(kernel.numpy() * a * b).sum() for b in (across, down)] for a in (across, down)])
    np.testing.assert_allclose(found, covariance, atol=1e-3)
    place = np.stack([across, down], -1)
    density = np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", place, np.linalg.inv(covariance), place))
    np.testing.assert_allclose(kernel.numpy(), density / density.sum(), atol=1e-7)


def test_turned_blur_is_round_where_both_strengths_are_the_same() -> None:
    image = random(1, 1, 30, 30)
    turned, plain = (degrade.parse(f"blur:1.5{more}")(image, Noise(1, 4)).image for more in (",turned", ""))
    np.testing.assert_allclose(turned.numpy(), plain.numpy(), atol=2e-3)  # the one is cut off to a square, the other at each axis
    assert degrade.parse("blur:0.5-3,turned")(image, Noise(1, 4)).image.shape == image.shape


def test_level_motion_is_a_box_seen_through_bilinear_weights() -> None:
    """(1/L) times the integral of the hat function around each pixel over the path."""
    length, radius = 6.5, 5
    kernel = kernels.motion(one(length), one(0.0), radius)[0]
    fine = (np.arange(200_000) + 0.5) / 200_000 * length - length / 2
    expected = [np.clip(1 - np.abs(fine - place), 0, None).mean() for place in range(-radius, radius + 1)]
    np.testing.assert_allclose(kernel[radius].numpy(), expected, atol=2e-3)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert float(kernel[[row for row in range(2 * radius + 1) if row != radius]].abs().max()) < 1e-6


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_motion_goes_where_it_is_told(degrees: float) -> None:
    """Seen by the mixed second moment, -L^2/12 sin cos with rows counted downwards; bilinear weights have no part in it."""
    radius, length, angle = 8, 14.0, math.radians(degrees)
    kernel = kernels.motion(one(length), one(angle), radius)[0].double().numpy()
    down, across = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    assert (kernel * down * across).sum() == pytest.approx(-(length**2) / 12 * math.sin(angle) * math.cos(angle), abs=0.05)
    spread = (kernel * across**2).sum() - (kernel * down**2).sum()
    assert spread == pytest.approx(length**2 / 12 * math.cos(2 * angle), abs=0.3)
    assert (kernel * down).sum() == pytest.approx(0, abs=1e-5)
    image = random(1, 1, 20, 20)
    made = degrade.parse(f"motion:14,{degrees}")(image, Noise(1)).image
    np.testing.assert_allclose(made[0, 0].numpy(), ndimage.convolve(image[0, 0].numpy(), kernel, mode="reflect"), atol=1e-6)


@pytest.mark.parametrize("size", [0.5, 1.0, 2.3, 4.0])
def test_a_disk_weighs_pixels_by_what_it_covers_of_them(size: float) -> None:
    radius = math.ceil(size + 0.5)
    kernel = kernels.disk(one(size), radius)[0].numpy()
    fine = (np.arange((2 * radius + 1) * 100) + 0.5) / 100 - radius - 0.5
    inside = fine[:, None] ** 2 + fine[None] ** 2 <= size**2
    covered = inside.reshape(2 * radius + 1, 100, 2 * radius + 1, 100).mean((1, 3))
    np.testing.assert_allclose(kernel, covered / (math.pi * size**2), atol=2e-3)
    assert kernel[radius, radius] == kernel.max()


def test_sinc_is_an_ideal_low_pass() -> None:
    radius, cutoff = 30, 1.2
    kernel = kernels.sinc(one(cutoff), radius)[0].double().numpy()
    place = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1])
    place[radius, radius] = 1
    weight = cutoff * special.j1(cutoff * place) / (2 * math.pi * place)
    weight[radius, radius] = cutoff**2 / (4 * math.pi)
    np.testing.assert_allclose(kernel, weight / weight.sum(), atol=1e-6)
    gain = np.abs(np.fft.fft2(kernel, s=(256, 256)))
    frequency = 2 * math.pi * np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    assert gain[frequency < 0.7 * cutoff].min() > 0.9
    assert gain[frequency > 1.3 * cutoff].max() < 0.1


def test_even_images_stay_and_symmetric_kernels_keep_the_mean() -> None:
    image = random(4, 1, 16, 16)
    for spec in ("blur:0.5-9", "blur:0.5-9,turned", "motion:3-30", "defocus:0.5-9"):
        made = degrade.parse(spec)(image, Noise(4, 3))
        np.testing.assert_allclose(made.operator.forward(torch.ones_like(image)).numpy(), 1, atol=1e-5)
        if spec in ("blur:0.5-9", "defocus:0.5-9"):
            np.testing.assert_allclose(made.image.mean((2, 3)).numpy(), image.mean((2, 3)).numpy(), atol=1e-5)
