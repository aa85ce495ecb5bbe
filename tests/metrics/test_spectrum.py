import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from calotype.errors import UserError
from calotype.metrics.spectrum import band_effect, checkerboard, grain, grain_effect, radial_power, top_octave


def to_pixels(light):
    return np.clip(np.rint(light * 255), 0, 255).astype(np.uint8)[..., None]


def blobs(seed, n, size=28, sigma=1.0, noise=0.0):
    """Smooth random images with a spectrum that falls, as natural ones have."""
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.normal(size=(n, size, size)), (0, sigma, sigma), mode="wrap")
    return to_pixels(0.5 + 0.15 * light / light.std() + noise * rng.normal(size=light.shape))


@pytest.mark.parametrize("shape", [(28, 28), (33, 33), (32, 48)])
def test_white_noise_has_its_variance_at_every_frequency(shape):
    pixels = to_pixels(0.5 + 0.1 * np.random.default_rng(0).normal(size=(1500, *shape)))
    frequencies, power = radial_power(pixels)
    assert frequencies[0] == pytest.approx(1 / min(shape))
    assert frequencies[-1] == pytest.approx((min(shape) // 2) / min(shape))
    assert power.shape == (1500, len(frequencies))
    np.testing.assert_allclose(power.mean(0)[1:], 0.01, rtol=0.06)  # the lowest loses a part with the mean


@pytest.mark.parametrize(("across", "down", "ring"), [(8, 0, 8), (0, 5, 5), (6, 8, 10), (-3, 4, 5)])
def test_a_wave_has_its_power_at_its_frequency(across, down, ring):
    row, column = np.mgrid[:32, :32]
    frequencies, power = radial_power(to_pixels(0.5 + 0.4 * np.cos(2 * np.pi * (across * column + down * row) / 32)[None]))
    assert frequencies[power[0].argmax()] == pytest.approx(ring / 32)
    assert power[0][frequencies > 0.4].max() < 1e-4 * power[0].max()


def test_color_is_judged_by_its_luminance():
    gray = blobs(0, 20)
    np.testing.assert_allclose(radial_power(gray.repeat(3, 3))[1], radial_power(gray)[1], rtol=1e-9)
    green, blue = (np.zeros((20, 28, 28, 3), np.uint8) for _ in range(2))
    green[..., 1:2], blue[..., 2:3] = gray, gray
    ratio = radial_power(green)[1] / radial_power(blue)[1]
    np.testing.assert_allclose(ratio, (0.587 / 0.114) ** 2, rtol=1e-9)


def test_blur_and_noise_move_the_top_octave_and_nothing_else_does():
    real, same = blobs(0, 300), blobs(1, 300)
    soft = np.stack([np.asarray(Image.fromarray(p[..., 0]).filter(ImageFilter.GaussianBlur(1)))[..., None] for p in same])
    null, blur, noise = band_effect(same, real), band_effect(soft, real), band_effect(blobs(1, 300, noise=0.05), real)
    assert null.interval[0] < 0 < null.interval[1]
    assert null.interval[1] - null.interval[0] < 0.3
    assert blur.interval[1] < -1
    assert noise.interval[0] > 0.5


def test_the_effect_of_known_noise_is_known():
    flat = np.full((400, 28, 28), 0.5)
    one, two = (to_pixels(flat + s * np.random.default_rng(i).normal(size=flat.shape)) for i, s in enumerate((0.05, 0.1)))
    effect = band_effect(two, one)
    assert effect.value == pytest.approx(np.log(4), abs=0.03)
    assert top_octave(one).mean() == pytest.approx(0.0025, rel=0.03)


def test_grain_is_the_standard_deviation_of_gaussian_noise():
    noise = 4 * np.random.default_rng(0).normal(size=(200, 32, 32, 1))
    assert grain(np.rint(128 + noise).astype(np.uint8)).mean() == pytest.approx(4, rel=0.03)


def test_grain_is_seen_beside_hard_edges_that_drown_it_in_the_spectrum():
    rng = np.random.default_rng(0)

    def strokes(n, sigma=0.0):
        light = 255.0 * (gaussian_filter(rng.normal(size=(n, 28, 28)), (0, 2, 2)) > 0.1)
        return np.clip(np.rint(light + sigma * rng.normal(size=light.shape)), 0, 255).astype(np.uint8)[..., None]

    real, same, noisy = strokes(200), strokes(200), strokes(200, 5)
    assert band_effect(noisy, real).interval[0] < 0.05
    null, effect = grain_effect(same, real), grain_effect(noisy, real)
    assert null.interval[0] <= 0 <= null.interval[1]
    assert 1 < effect.interval[0] < effect.value < 5


def test_the_interval_holds_zero_about_as_often_as_it_says():
    runs = [band_effect(blobs(2 * i, 60), blobs(2 * i + 1, 60)) for i in range(120)]
    held = np.mean([run.interval[0] <= 0 <= run.interval[1] for run in runs])
    assert held >= 0.89
    assert np.mean([run.interval[1] - run.interval[0] for run in runs]) < 1.5 * 3.92 * np.std([run.value for run in runs])


def test_constant_images_are_finite():
    effect = band_effect(np.full((5, 28, 28, 1), 77, np.uint8), blobs(0, 50))
    assert np.isfinite(effect.value)
    assert effect.value < -3


@pytest.mark.parametrize(("period", "column"), [(2, 0), (4, 1)])
def test_a_checkerboard_raises_its_own_peak(period, column):
    light = blobs(0, 200)[..., 0] / 255
    pattern = np.zeros((28, 28))
    pattern[::period, ::period] = 0.15
    with_pattern = checkerboard(to_pixels(light + pattern))[:, column].mean()
    plain = checkerboard(blobs(1, 200))
    error = plain[:, column].std() / np.sqrt(200)
    assert plain.shape == (200, 2)
    assert with_pattern > plain[:, column].mean() + 10 * error
    again = checkerboard(blobs(2, 200))[:, column].mean()
    assert abs(again - plain[:, column].mean()) < 5 * error


def test_the_height_of_a_peak_does_not_depend_on_contrast():
    rng = np.random.default_rng(0)
    faint, strong = (checkerboard(to_pixels(0.5 + s * rng.normal(size=(1500, 28, 28)))).mean(0) for s in (0.03, 0.12))
    np.testing.assert_allclose(faint, strong, atol=0.12)
    assert strong[1] == pytest.approx(0, abs=0.1)


def test_other_layouts_are_refused():
    with pytest.raises(UserError, match="8x8"):
        radial_power(np.zeros((3, 6, 9, 1), np.uint8))
    with pytest.raises(UserError, match="at least two"):
        band_effect(blobs(0, 1), blobs(1, 5))
    with pytest.raises(UserError, match="1 or 3"):
        radial_power(np.zeros((3, 28, 28), np.uint8))
