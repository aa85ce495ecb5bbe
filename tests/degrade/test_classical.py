"""Baselines that learn nothing: dense solutions, brute force, other people's implementations, and that they help at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import wiener as scipy_wiener
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from skimage.exposure import equalize_hist, rescale_intensity
from skimage.restoration import denoise_nl_means
from torch import Tensor

from calotype import degrade
from calotype.degrade import Operator, deconvolution, smoothing
from calotype.degrade.classical import baselines
from calotype.degrade.deconvolution import wiener
from calotype.degrade.filling import diffuse, mean_fill
from calotype.degrade.jpeg import compress
from calotype.degrade.smoothing import local_wiener, nl_means, noise_level
from calotype.degrade.tone import equalize, stretch
from calotype.metrics.quality import psnr
from calotype.types import Noise
from tests.degrade.photographs import piece


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A cat."""
    return piece("chelsea", 60, 100)


@pytest.fixture(scope="module")
def shades(photo: Tensor) -> Tensor:
    """The same in gray."""
    return degrade.parse("gray")(photo, Noise(1)).image


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def closeness(image: Tensor, truth: Tensor) -> float:
    return float(psnr(image.clamp(-1, 1), truth)[0])


# ---- noise


@pytest.mark.parametrize("level", [3, 10, 25, 50])
def test_the_noise_level_is_read_from_the_image(photo: Tensor, shades: Tensor, level: float) -> None:
    even = torch.zeros(2, 3, 65, 80)
    assert (noise_level(degrade.parse(f"noise:{level}")(even, Noise(2)).image) * 127.5).tolist() == pytest.approx([level] * 2, rel=0.05)
    for image in (photo, shades):
        found = float(noise_level(degrade.parse(f"noise:{level}")(image, Noise(1)).image)[0]) * 127.5
        assert 0.97 * level < found < 1.05 * level + 3  # fur looks like a little noise


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_the_local_filter_is_that_of_scipy(shades: Tensor, sigma: float) -> None:
    noisy = shades.double() + sigma * random(*shades.shape)
    theirs = scipy_wiener(noisy[0, 0].numpy(), 5, sigma**2)
    made = local_wiener(noisy, torch.tensor([sigma], dtype=torch.float64))[0, 0].numpy()
    np.testing.assert_allclose(made[2:-2, 2:-2], theirs[2:-2, 2:-2], atol=1e-9)  # it takes what lies beyond the borders for zero
    assert made.shape == theirs.shape


def brute_force(image: NDArray[np.float64], sigma: float, patch: int, reach: int, strength: float) -> NDArray[np.float64]:
    """Non-local means of (C, H, W) as the definition says, a pixel and a shift at a time."""
    half = patch // 2
    border = half + reach
    padded = np.pad(image, ((0, 0), (border, border), (border, border)), mode="reflect")
    result = np.zeros_like(image)

    def around(row: int, column: int) -> NDArray[np.float64]:
        return padded[:, row - half : row + half + 1, column - half : column + half + 1]

    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            at, total = (row + border, column + border), 0.0
            for down in range(-reach, reach + 1):
                for across in range(-reach, reach + 1):
                    other = at[0] + down, at[1] + across
                    apart = np.mean((around(*at) - around(*other)) ** 2)
                    weight = math.exp(-max(apart - 2 * sigma**2, 0) / (strength * sigma) ** 2)
                    total += weight
                    result[:, row, column] += weight * padded[:, other[0], other[1]]
            result[:, row, column] /= total
    return result


@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_are_what_the_definition_says(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, sigma = random(2, channels, 14, 12).mul(0.5), torch.tensor([0.5, 0.3], dtype=torch.float64)
    expected = np.stack([brute_force(one.numpy(), float(s), 3, 2, 0.7) for one, s in zip(image, sigma, strict=True)])
    made = nl_means(image, sigma, patch=3, reach=2, strength=0.7)
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-9)
    monkeypatch.setattr(smoothing, "_STRIP", 12 * 5)  # strips of 5 rows
    np.testing.assert_allclose(nl_means(image, sigma, patch=3, reach=2, strength=0.7).numpy(), expected, atol=1e-9)


def test_non_local_means_are_nearly_those_of_scikit_image(shades: Tensor) -> None:
    """Which takes weights below exp(-5) for zero."""
    sigma = 25 / 127.5
    noisy = degrade.parse("noise:25")(shades, Noise(1, 2)).image[:, :, :60, :70]
    theirs = denoise_nl_means(noisy[0, 0].numpy(), patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True)
    made = nl_means(noisy, torch.tensor([sigma]), patch=5, reach=6, strength=0.8)[0, 0].numpy()
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(made[inside] - theirs[inside]).mean() < 0.1 * sigma
    assert (
        closeness(torch.from_numpy(made)[None, None], shades[:, :, :60, :70])
        > closeness(torch.from_numpy(theirs)[None, None], shades[:, :, :60, :70]) - 0.15
    )


def test_non_local_means_beat_the_noise(photo: Tensor, shades: Tensor) -> None:
    for truth in (photo, shades):
        noisy = degrade.parse("noise:25")(truth, Noise(1, 1))
        assert noisy.operator.sigma is not None
        made = nl_means(noisy.image, noisy.operator.sigma)
        assert closeness(made, truth) > closeness(noisy.image, truth) + 7
        assert closeness(made, truth) > closeness(local_wiener(noisy.image, noisy.operator.sigma), truth) + 0.3


def test_tiny_images_and_hardly_any_noise_do_no_harm() -> None:
    for height, width in ((2, 2), (3, 9), (5, 5), (8, 8)):
        image = random(1, 1, height, width).float()
        made = nl_means(image, torch.tensor([0.1]))
        assert made.shape == image.shape
        assert bool(torch.isfinite(made).all())
        torch.testing.assert_close(nl_means(image, torch.tensor([0.0])), image, atol=1e-3, rtol=0)


def test_large_images_are_searched_less_far(monkeypatch: pytest.MonkeyPatch) -> None:
    image, sigma = random(1, 1, 20, 20).float(), torch.tensor([0.3])
    monkeypatch.setattr(smoothing, "_WORK", 20 * 20 * 25)
    assert torch.equal(nl_means(image, sigma), nl_means(image, sigma, reach=2))


# ---- blur


def dense_wiener(seen: NDArray[np.float64], blur: Operator, sigma: float) -> NDArray[np.float64]:
    """(A^T A + R) x = A^T y with matrices: R, noise over the power of images, multiplies the spectrum of the mirrored image."""
    height, width = seen.shape
    count = height * width
    basis = torch.eye(count, dtype=torch.float64).view(count, 1, height, width)
    a = blur.forward(basis).reshape(count, count).numpy().T
    frequency = np.fft.fftfreq(2 * height)[:, None] ** 2 + np.fft.fftfreq(2 * width)[None] ** 2
    falls = np.maximum(frequency, 1 / (4 * count)) ** -1.2
    falls /= falls[:, : width + 1].mean()
    mean = seen.mean()
    variance = ((seen - mean) ** 2).mean() - sigma**2
    mirrored = np.pad(basis[:, 0].numpy(), ((0, 0), (0, height), (0, width)), mode="symmetric")
    filtered = np.fft.ifft2(np.fft.fft2(mirrored) * sigma**2 / (variance * falls)).real[:, :height, :width]
    r = filtered.reshape(count, count).T
    return np.linalg.solve(a.T @ a + r, a.T @ (seen - mean).flatten()).reshape(height, width) + mean


@pytest.mark.parametrize("spec", ["blur:1.2", "defocus:1.7", "motion:5,30", "motion:4,0"])
def test_deconvolution_is_the_dense_solution(shades: Tensor, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = shades[:, :, 40:60, 60:86].double()
    degraded = degrade.parse(f"{spec}+noise:3")(truth, Noise(1, 3))
    blur = degraded.operator.operators[0]  # type: ignore[attr-defined]
    sigma = 3 / 127.5
    expected = dense_wiener(degraded.image[0, 0].numpy(), blur, sigma)
    made = wiener(degraded.image, blur, torch.tensor([sigma]))
    assert closeness(made, truth) > closeness(degraded.image, truth) + 2
    unrest = np.abs(expected - degraded.image[0, 0].numpy()).mean()
    assert np.abs(made[0, 0].numpy() - expected).mean() < (0.1 if spec == "motion:5,30" else 1e-4) * unrest
    monkeypatch.setattr(deconvolution, "_CLOSE", 1e-7)
    monkeypatch.setattr(deconvolution, "_ROUNDS", 200)
    exact = wiener(degraded.image, blur, torch.tensor([sigma], dtype=torch.float64))
    np.testing.assert_allclose(exact[0, 0].numpy(), expected, atol=1e-4)


def test_deconvolution_treats_channels_and_images_by_themselves(photo: Tensor) -> None:
    image = torch.cat([photo[:, :, :40, :50], photo[:, :, 40:80, 50:100]])
    degraded = degrade.parse("blur:0.8-2+noise:2")(image, Noise(2, 3))
    assert degraded.operator.sigma is not None
    blur = degraded.operator.operators[0]  # type: ignore[attr-defined]
    both = wiener(degraded.image, blur, degraded.operator.sigma)
    alone = degrade.parse("blur:0.8-2+noise:2")(image[1:], Noise(1, 3, 1))
    assert alone.operator.sigma is not None
    one = wiener(alone.image[:, 1:2], alone.operator.operators[0], alone.operator.sigma)  # type: ignore[attr-defined]
    np.testing.assert_allclose(both[1:, 1:2].numpy(), one.numpy(), atol=1e-3)


# ---- holes


def dense_fill(image: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Every missing pixel the mean of its neighbors within the image."""
    height, width = image.shape
    count = height * width
    a, b = lil_matrix((count, count)), np.zeros(count)
    for row in range(height):
        for column in range(width):
            at = row * width + column
            if known[row, column]:
                a[at, at], b[at] = 1, image[row, column]
                continue
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= r < height and 0 <= c < width:
                    a[at, at] += 1
                    a[at, r * width + c] -= 1
    return np.asarray(spsolve(a.tocsr(), b)).reshape(height, width)


@pytest.mark.parametrize("spec", ["mask:box", "mask:strokes", "mask:0.7", "mask:half"])
@pytest.mark.parametrize(("height", "width"), [(40, 53), (12, 17)])
def test_diffusion_solves_laplaces_equation(photo: Tensor, spec: str, height: int, width: int) -> None:
    truth = photo[:, :, :height, :width].double()
    degraded = degrade.parse(spec)(truth, Noise(1, 2))
    assert degraded.conditioning is not None
    made = diffuse(degraded.image, degraded.conditioning)
    known = degraded.conditioning[0, 0].numpy() == 1
    for channel in range(3):
        expected = dense_fill(truth[0, channel].numpy(), known)
        np.testing.assert_allclose(made[0, channel].numpy(), expected, atol=0.01)
        assert np.array_equal(made[0, channel].numpy()[known], truth[0, channel].numpy()[known])


def test_the_mean_of_known_pixels_fills_holes() -> None:
    image = torch.tensor([[1.0, 2.0, 9.0], [3.0, 6.0, 9.0]])[None, None]
    known = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])[None, None]
    assert mean_fill(image, known)[0, 0].tolist() == [[1, 2, 3], [3, 6, 3]]
    nothing = torch.zeros_like(known)
    assert mean_fill(image, nothing).tolist() == torch.zeros_like(image).tolist()
    assert bool(torch.isfinite(diffuse(image.expand(1, 1, 2, 3), nothing)).all())
    assert torch.equal(diffuse(image, torch.ones_like(known)), image)


# ---- light and color


def test_equalizing_makes_all_levels_alike(photo: Tensor, shades: Tensor) -> None:
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    every = (order.float() / 127.5 - 1).view(1, 1, 16, 16)
    np.testing.assert_allclose(equalize(every).flatten().numpy(), (order.numpy() + 0.5) / 128 - 1, atol=1e-5)
    dark = degrade.parse("dark:3")(shades, Noise(1)).image
    theirs = equalize_hist(((dark[0, 0] + 1) * 127.5).round().numpy().astype(np.uint8), nbins=256) * 2 - 1
    made = equalize(dark)[0, 0].numpy()
    counts = np.unique(dark.numpy(), return_counts=True)[1]
    assert np.abs(made - theirs).max() < counts.max() / dark.numel() + 1e-3  # it counts a level whole where we count half
    assert equalize(torch.full((1, 3, 4, 4), 0.3)).unique().tolist() == pytest.approx([0])
    color = equalize(degrade.parse("dark:3")(photo, Noise(1)).image)
    luma = (color * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    assert float(luma.mean()) == pytest.approx(0, abs=0.1)


def test_stretching_leaves_half_a_percent_out_at_either_end(shades: Tensor) -> None:
    faint = 0.3 * shades - 0.2
    made = stretch(faint)[0, 0].numpy()
    low, high = (float(np.quantile(faint.numpy(), q, method="nearest")) for q in (0.005, 0.995))
    np.testing.assert_allclose(made, rescale_intensity(faint[0, 0].numpy(), (low, high), (-1, 1)), atol=0.02)
    assert (made == -1).mean() == pytest.approx(0.005, abs=0.005)
    assert bool(torch.isfinite(stretch(torch.zeros(1, 1, 4, 4))).all())


# ---- all together


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("noise:25", ["input", "wiener", "nl-means"]),
        ("noise:0-55", ["input", "wiener", "nl-means"]),
        ("poisson:30", ["input", "wiener", "nl-means"]),
        ("real", ["input", "wiener", "nl-means"]),
        ("blur:1.6", ["input", "wiener"]),
        ("motion:9,20+noise:3", ["input", "wiener"]),
        ("mask:box", ["input", "mean fill", "diffusion fill"]),
        ("jpeg:20", ["input", "recompression"]),
        ("dark:3", ["input", "stretch", "equalize"]),
        ("contrast:0.4", ["input", "stretch", "equalize"]),
        ("downsample:3", ["bicubic"]),
        ("noise:10+downsample:2", ["bicubic", "wiener, bicubic", "nl-means, bicubic"]),
        ("real:2", ["bicubic", "wiener, bicubic", "nl-means, bicubic"]),
        ("gray", ["input"]),
        ("edges", ["input"]),
    ],
)
def test_every_degradation_has_its_baselines(photo: Tensor, spec: str, names: list[str]) -> None:
    truth = photo[:, :, :48, :60]
    degradation = degrade.parse(spec)
    degraded = degradation(truth, Noise(1, 3))
    before = degraded.image.clone()
    found = baselines(degraded, degradation, (48, 60))
    assert list(found) == names
    assert torch.equal(degraded.image, before)
    for image in found.values():
        assert image.shape == (1, degradation.channels(3), 48, 60)
        assert bool(torch.isfinite(image).all())
        assert not image.requires_grad
    if names[0] == "input":
        assert torch.equal(found["input"], degraded.image)


@pytest.mark.parametrize(
    ("spec", "name", "other", "gain"),
    [
        ("noise:15", "nl-means", "input", 3),
        ("noise:50", "wiener", "input", 5),
        ("poisson:30", "nl-means", "input", 5),
        ("blur:1.6", "wiener", "input", 1.5),
        ("motion:11,30", "wiener", "input", 3),
        ("defocus:3+noise:2", "wiener", "input", 1),
        ("mask:0.5", "mean fill", "input", 1),
        ("mask:0.5", "diffusion fill", "mean fill", 5),
        ("jpeg:10", "recompression", "input", 0.3),
        ("contrast:0.3", "stretch", "input", 1),
    ],
)
def test_baselines_are_better_than_nothing(photo: Tensor, spec: str, name: str, other: str, gain: float) -> None:
    degradation = degrade.parse(spec)
    found = baselines(degradation(photo, Noise(1, 3)), degradation, (128, 160))
    assert closeness(found[name], photo) > closeness(found[other], photo) + gain


def test_recompression_is_the_mean_over_shifted_copies(photo: Tensor) -> None:
    degradation = degrade.parse("jpeg:15")
    degraded = degradation(photo, Noise(1))
    made = baselines(degraded, degradation, (128, 160))["recompression"]
    copies = []
    for down, across in ((0, 0), (1, 3), (2, 6), (3, 1), (4, 4), (5, 7), (6, 2), (7, 5)):
        moved = np.roll(degraded.image[0].numpy(), (down, across), (1, 2))
        copies.append(np.roll(compress(torch.from_numpy(moved), 15).numpy(), (-down, -across), (1, 2)))
    np.testing.assert_allclose(made[0].numpy(), np.mean(copies, 0), atol=1e-5)


def test_a_line_of_pixels_tells_nothing_of_its_noise() -> None:
    assert float(noise_level(torch.rand(1, 1, 1, 40))) == 0
