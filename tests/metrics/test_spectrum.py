import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from calotype.errors import UserError
from calotype.metrics.spectrum import BATCH, batches, checkerboard, grain, radial_power, top_octave


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


def test_known_noise_has_its_power_in_the_top_octave():
    flat = np.full((400, 28, 28), 0.5)
    one, two = (to_pixels(flat + s * np.random.default_rng(i).normal(size=flat.shape)) for i, s in enumerate((0.05, 0.1)))
    assert top_octave(one).mean() == pytest.approx(0.0025, rel=0.03)
    assert top_octave(two).mean() == pytest.approx(0.01, rel=0.03)


def test_batches_hold_every_image_once_and_few_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 256, 256, 3), np.uint8)
    parts = list(batches(pixels))
    assert len(parts) > 1
    assert max(4 * part.size for part in parts) <= BATCH
    assert (np.concatenate(parts) == pixels).all()
    for measure in (top_octave, grain, checkerboard):
        np.testing.assert_allclose(measure(pixels)[40:45], measure(pixels[40:45]), rtol=1e-9)
    assert [len(part) for part in batches(np.broadcast_to(pixels[:1, :1, :1], (2, 4000, 4000, 3)))] == [1, 1]


def test_grain_is_the_standard_deviation_of_gaussian_noise():
    noise = 4 * np.random.default_rng(0).normal(size=(200, 32, 32, 1))
    assert grain(np.rint(128 + noise).astype(np.uint8)).mean() == pytest.approx(4, rel=0.03)


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
    with pytest.raises(UserError, match="1 or 3"):
        radial_power(np.zeros((3, 28, 28), np.uint8))
