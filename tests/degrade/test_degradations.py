"""What degradations do to images, each against something that is not ours: Pillow, scipy, closed forms, statistics."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor

from calotype import degrade
from calotype.degrade.base import round8
from calotype.degrade.blur import Convolution
from calotype.degrade.color import gray8
from calotype.degrade.jpeg import Recompressed
from calotype.errors import UserError
from calotype.types import Noise

ALL = [example for example, _ in degrade.kinds().values()] + [
    "noise:25",
    "blur:0.5-3,turned",
    "mask:box,strokes,0.3",
    "jpeg:10-90",
    "real",
    "gray+blur:0.5-2+downsample:2+noise:0-9",
    "mask:box,strokes+noise:10+downsample:2",
]
RANDOM = [spec for spec in ALL if any(mark in spec for mark in ("-", "noise", "poisson", "real", "box", "contrast"))]
EIGHT_BIT = ("downsample:3", "jpeg:30", "gray", "dark:2-4", "contrast:0.3-0.8", "edges", "season", "real", "real:4")


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise and a few smooth shapes, uint8."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (0,) * (len(shape) - 2) + (3, 3)) * 400 + 127
    return np.clip(smooth + rng.normal(size=shape) * 10, 0, 255).astype(np.uint8)


def tensor(levels: np.ndarray) -> Tensor:
    return torch.from_numpy(levels).float().sub(127.5).mul(1 / 127.5)


def images(n: int = 4, channels: int = 3, height: int = 24, width: int = 36) -> Tensor:
    return tensor(pixels(n, channels, height, width))


def levels_of(image: Tensor) -> np.ndarray:
    return ((image.double() + 1) * 127.5).numpy()


@pytest.mark.parametrize("spec", ALL)
def test_an_image_is_spoiled_the_same_in_any_company(spec: str) -> None:
    """By its place in the sequence alone; nothing of what is given is changed."""
    image = images()
    before = image.clone()
    degradation = degrade.parse(spec)
    together = degradation(image, Noise(4, 7, 10))
    assert torch.equal(image, before)
    assert together.image.dtype == torch.float32
    for row in (0, 3):
        alone = degradation(image[row : row + 1], Noise(1, 7, 10 + row))
        torch.testing.assert_close(alone.image[0], together.image[row], rtol=0, atol=1e-6)
        if together.conditioning is not None:
            assert alone.conditioning is not None
            assert torch.equal(alone.conditioning[0], together.conditioning[row])
        if together.operator.sigma is not None:
            assert alone.operator.sigma is not None
            assert alone.operator.sigma.expand(1)[0] == together.operator.sigma.expand(4)[row]
        again = alone.operator.forward(image[row : row + 1])
        torch.testing.assert_close(again[0], together.operator.forward(image)[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", ALL)
def test_the_seed_decides(spec: str) -> None:
    image = images(2)
    degradation = degrade.parse(spec)
    first, same, other = (degradation(image, Noise(2, seed)).image for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (spec not in RANDOM)
    if spec in RANDOM:
        both = degradation(images(1).expand(2, -1, -1, -1).contiguous(), Noise(2, 1)).image
        assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize(("spec", "channels"), [(s, c) for s in EIGHT_BIT for c in (1, 3) if c == 3 or s not in ("gray", "season")])
def test_files_could_hold_it(spec: str, channels: int) -> None:
    found = levels_of(degrade.parse(spec)(images(channels=channels), Noise(4, 3)).image)
    np.testing.assert_allclose(found, found.round(), atol=1e-4)
    assert found.min() > -0.01
    assert found.max() < 255.01
    assert found.std() > 5


@pytest.mark.parametrize("level", [0, 5, 25, 100])
def test_noise_has_its_level_and_is_white_and_unclipped(level: int) -> None:
    image = torch.ones(4, 3, 64, 64)
    degraded = degrade.parse(f"noise:{level}")(image, Noise(4, 1))
    noise = levels_of(degraded.image - image) - 127.5
    assert degraded.operator.sigma is not None
    assert degraded.operator.sigma.tolist() == pytest.approx([level / 127.5] * 4)
    assert noise.std() == pytest.approx(level, rel=0.02)
    assert degraded.conditioning is None
    if level:
        assert noise.mean() == pytest.approx(0, abs=0.02 * level)
        assert stats.kstest(noise.flatten()[::7] / level, "norm").pvalue > 1e-3
        assert np.corrcoef(noise[:, 0].flatten(), noise[:, 1].flatten())[0, 1] == pytest.approx(0, abs=0.05)


def test_a_range_of_levels_is_drawn_evenly_and_told_to_half_of_the_images() -> None:
    count = 400
    degraded = degrade.parse("noise:5-55")(torch.zeros(count, 1, 16, 16), Noise(count, 3))
    assert degraded.operator.sigma is not None
    assert degraded.conditioning is not None
    drawn = degraded.operator.sigma.numpy() * 127.5
    assert stats.kstest((drawn - 5) / 50, "uniform").pvalue > 1e-3
    found = levels_of(degraded.image).std((1, 2, 3))
    np.testing.assert_allclose(found / drawn, 1, atol=0.25)
    assert np.corrcoef(found, drawn)[0, 1] > 0.98
    told = degraded.conditioning[:, 0, 0, 0].numpy()
    assert (degraded.conditioning == degraded.conditioning[:, :, :1, :1]).all()
    silent = told == -1
    assert 0.4 < silent.mean() < 0.6
    np.testing.assert_allclose(told[~silent], drawn[~silent] / 50, rtol=1e-5)
    assert torch.equal(degraded.source[:, 1:], degraded.conditioning)


@pytest.mark.parametrize("photons", [4, 100])
def test_photons_are_counted(photons: int) -> None:
    light = torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1)
    image = (light * 2 - 1).expand(3, 1, 100, 100).contiguous()
    degraded = degrade.parse(f"poisson:{photons}")(image, Noise(3, 1))
    counts = (degraded.image.double() + 1) / 2 * photons
    np.testing.assert_allclose(counts.numpy(), counts.round().numpy(), atol=1e-4)
    np.testing.assert_allclose(counts.mean((1, 2, 3)).numpy(), (light * photons).flatten().numpy(), rtol=0.05)
    np.testing.assert_allclose(counts.var((1, 2, 3)).numpy(), (light * photons).flatten().numpy(), rtol=0.08)
    assert degraded.operator.sigma is not None
    found = (degraded.image - image).std((1, 2, 3))
    np.testing.assert_allclose(degraded.operator.sigma.numpy(), found.numpy(), rtol=0.05)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 30, 95])
def test_jpeg_is_what_pillow_writes_and_reads(quality: int, channels: int) -> None:
    levels = pixels(2, channels, 33, 41)
    made = degrade.parse(f"jpeg:{quality}")(tensor(levels), Noise(2)).image
    for row in range(2):
        stream = io.BytesIO()
        picture = Image.fromarray(levels[row, 0] if channels == 1 else levels[row].transpose(1, 2, 0))
        picture.save(stream, "JPEG", quality=quality)
        theirs = np.asarray(Image.open(stream), np.float64).reshape(33, 41, channels).transpose(2, 0, 1)
        np.testing.assert_allclose(levels_of(made[row]), theirs, atol=1e-3)


def test_qualities_are_whole_and_both_ends_are_drawn() -> None:
    degraded = degrade.parse("jpeg:20-23")(images(80, 1, 8, 8), Noise(80, 1))
    assert isinstance(degraded.operator, Recompressed)
    counts = np.bincount(degraded.operator.qualities, minlength=24)
    assert counts.sum() == 80
    assert counts[20:24].sum() == 80
    assert counts[20:24].min() > 8


def test_gray_is_that_of_pillow_to_the_last_bit() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (3, 200, 300), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(levels.transpose(1, 2, 0)).convert("L"), np.float64)
    degraded = degrade.parse("gray")(tensor(levels)[None], Noise(1))
    assert degraded.image.shape == (1, 1, 200, 300)
    assert np.array_equal(levels_of(degraded.image[0, 0]).round(), theirs)
    assert torch.equal(gray8(tensor(levels)[None]), degraded.image)
    luma = 0.299 * levels[0] + 0.587 * levels[1] + 0.114 * levels[2]
    np.testing.assert_allclose(levels_of(degraded.operator.forward(tensor(levels)[None]))[0, 0], luma, atol=1e-3)


def test_little_light_is_a_power_and_a_gain() -> None:
    image = images(50, 1, 8, 8)
    noise = Noise(50, 2)
    power, gain = 2 + 2 * noise.uniform().numpy(), 0.5 + 0.5 * noise.uniform().numpy()
    expected = gain[:, None, None, None] * (levels_of(image) / 255) ** power[:, None, None, None] * 255
    degraded = degrade.parse("dark:2-4")(image, Noise(50, 2))
    assert np.abs(levels_of(degraded.image) - expected).max() < 0.501
    np.testing.assert_allclose(levels_of(degraded.operator.forward(image)), expected, atol=2e-2)
    assert (levels_of(degraded.image).mean((1, 2, 3)) < 0.75 * levels_of(image).mean((1, 2, 3))).all()


def test_low_contrast_is_a_line_through_one_gray() -> None:
    image = images(40)
    degraded = degrade.parse("contrast:0.3-0.8")(image, Noise(40, 2))
    made = degraded.operator.forward(image)
    for row in range(40):
        slope, offset, correlation, *_ = stats.linregress(image[row].flatten().numpy(), made[row].flatten().numpy())
        assert correlation > 0.99999
        assert 0.3 <= slope <= 0.8
        assert -0.5 <= offset / (1 - slope) <= 0.5
    assert float((degraded.image - made.clamp(-1, 1)).abs().max()) < 0.501 / 127.5


@pytest.mark.parametrize("channels", [1, 3])
def test_outlines_are_the_gradient_of_the_blurred_luma(channels: int) -> None:
    image = images(1, channels)
    degraded = degrade.parse("edges")(image, Noise(1))
    luma = image[0, 0].numpy() if channels == 1 else (image[0].numpy() * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    smooth = ndimage.correlate(luma, np.outer([1, 2, 1], [1, 2, 1]) / 16)
    size = np.hypot(*(ndimage.sobel(smooth, axis) / 8 for axis in (0, 1)))
    expected = 1 - 2 * np.tanh(2.5 * size)
    np.testing.assert_allclose(degraded.operator.forward(image)[0, 0, 2:-2, 2:-2].numpy(), expected[2:-2, 2:-2], atol=1e-4)
    assert float((degraded.image[0, 0] - degraded.operator.forward(image)[0, 0]).abs().max()) < 0.501 / 127.5
    assert degrade.parse("edges").channels(channels) == 1
    assert float(degrade.parse("edges")(torch.full((1, channels, 8, 8), 0.3), Noise(1)).image.min()) == 1  # nothing to draw


def test_winter_takes_the_green_away_and_the_negative_is_its_own_inverse() -> None:
    green, sky = torch.tensor([-0.5, 0.4, -0.8]), torch.tensor([0.2, 0.5, 0.9])
    image = torch.stack([green, sky]).view(2, 3, 1, 1).expand(2, 3, 8, 8).contiguous()
    made = degrade.parse("season")(image, Noise(2)).image[:, :, 0, 0]
    assert float(made[0].mean()) > float(green.mean()) + 0.5
    assert float(made[0].max() - made[0].min()) < 0.5 * float(green.max() - green.min())
    assert float(made[1, 2]) > float(made[1, 0])
    invert = degrade.parse("invert")
    assert torch.equal(invert(invert(image, Noise(2)).image, Noise(2)).image, image)
    assert torch.equal(degrade.parse("identity")(image, Noise(2)).image, image)
    with pytest.raises(UserError, match="have none"):
        degrade.parse("season").channels(1)


def holes(spec: str, n: int = 60, height: int = 40, width: int = 52) -> np.ndarray:
    """Where pixels are missing, (n, height, width) bool; what holds for every mask is checked on the way."""
    image = images(n, 3, height, width)
    degraded = degrade.parse(spec)(image, Noise(n, 4))
    assert degraded.conditioning is not None
    assert degraded.conditioning.shape == (n, 1, height, width)
    assert set(degraded.conditioning.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(degraded.image, image * degraded.conditioning)
    assert torch.equal(degraded.operator.forward(image), degraded.image)
    return degraded.conditioning[:, 0].numpy() == 0


def test_the_right_half_is_missing() -> None:
    for width in (52, 53):
        missing = holes("mask:half", 2, 40, width)
        assert not missing[:, :, : width // 2].any()
        assert missing[:, :, width // 2 :].all()


def test_boxes_are_rectangles_of_a_quarter_to_a_half() -> None:
    sizes, corners = [], []
    for missing in holes("mask:box"):
        rows, columns = np.flatnonzero(missing.any(1)), np.flatnonzero(missing.any(0))
        assert missing.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        sizes.append((len(rows) / 40, len(columns) / 52))
        corners.append((rows[0], columns[0]))
    assert 0.24 <= np.min(sizes) < 0.3
    assert 0.45 < np.max(sizes) <= 0.51
    assert np.ptp(corners, axis=0).min() > 15
    assert min(corner[0] for corner in corners) < 3


def test_a_share_is_missing_pixel_by_pixel() -> None:
    missing = holes("mask:0.3", 30)
    assert missing.mean() == pytest.approx(0.3, abs=0.01)
    assert missing.mean((1, 2)).std() == pytest.approx(np.sqrt(0.3 * 0.7 / 40 / 52), rel=0.5)


def test_strokes_are_lines() -> None:
    for height, width in ((40, 52), (160, 120)):
        missing = holes("mask:strokes", 20, height, width)
        assert 0.1 < missing.mean() < 0.35
        assert missing.any((1, 2)).all()
        inside = np.stack([ndimage.binary_erosion(one, iterations=5) for one in missing])
        assert inside.mean() < 0.02  # nowhere thick
        assert len({one.tobytes() for one in missing}) == 20
    assert holes("mask:strokes", 3, 8, 8).any()


def test_shapes_are_mixed() -> None:
    shares = holes("mask:half,0.9", 60).mean((1, 2))
    halves = np.isclose(shares, 0.5)
    assert 15 < halves.sum() < 45
    assert (shares[~halves] > 0.85).all()


def test_a_mask_made_smaller_knows_what_was_made_of_known_pixels_alone() -> None:
    image = images(3, 1)
    whole, small = (degrade.parse(spec)(image, Noise(3, 2)) for spec in ("mask:box", "mask:box+downsample:2"))
    assert whole.conditioning is not None
    assert small.conditioning is not None
    blocks = whole.conditioning.view(3, 1, 12, 2, 18, 2)
    assert torch.equal(small.conditioning, blocks.amin((3, 5)))
    assert degrade.parse("mask:box+downsample:2").conditioning == ("mask",)


@pytest.mark.parametrize(("spec", "told"), [("noise:5-50", (5, 50)), ("noise:25", None), ("blur:1+noise:5-50", None), ("gray", None)])
def test_noise_by_itself_says_which_levels_it_tells(spec: str, told: tuple[int, int] | None) -> None:
    levels = degrade.parse(spec).noise_levels
    assert (None if levels is None else (levels.low, levels.high)) == told


def test_a_composition_is_one_after_another_with_one_sequence_of_draws() -> None:
    image = images(2)
    noise = Noise(2, 3)
    expected = image
    for spec in ("blur:0.5-2", "gray", "downsample:2", "noise:0-20"):
        expected = degrade.parse(spec)(expected, noise).image
    both = degrade.parse("blur:0.5-2+gray+downsample:2+noise:0-20")
    made = both(image, Noise(2, 3))
    assert torch.equal(made.image, expected)
    assert (both.scale, both.channels(3), both.conditioning) == (2, 1, ("sigma",))
    assert degrade.parse("downsample:2+noise:3+downsample:3").scale == 6


def test_two_maps_are_given_in_the_order_of_their_names() -> None:
    degradation = degrade.parse("noise:1-9+mask:half+downsample:2")
    made = degradation(images(3, 1), Noise(3, 1))
    assert degradation.conditioning == ("sigma", "mask")
    assert made.conditioning is not None
    assert made.conditioning.shape == (3, 2, 12, 18)
    assert set(made.conditioning[:, 1].unique().tolist()) == {0.0, 1.0}
    assert (made.conditioning[:, 0] == made.conditioning[:, 0, :1, :1]).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_real_world_spoils_a_lot_and_differently(scale: int, channels: int) -> None:
    image = images(12, channels, 48, 64)
    degradation = degrade.parse(f"real:{scale}")
    degraded = degradation(image, Noise(12, 5))
    assert degraded.image.shape == (12, channels, 48 // scale, 64 // scale)
    assert not degraded.operator.linear
    assert float(degraded.image.abs().max()) <= 1
    small = torch.nn.functional.avg_pool2d(image, scale)
    errors = (levels_of(degraded.image) - levels_of(small)).std((1, 2, 3))
    assert (errors > 3).all()
    assert (errors < 80).all()
    assert errors.max() > 1.3 * errors.min()
    bias = (levels_of(degraded.image) - levels_of(small)).mean((1, 2, 3))
    assert np.abs(bias).max() < 20  # neither brighter nor darker
    again = degraded.operator.forward(image)
    assert again.shape == degraded.image.shape
    without = (levels_of(again) - levels_of(small)).std((1, 2, 3))
    assert without.mean() < errors.mean()  # the operator adds no noise


def test_images_too_small_for_the_kernels_of_the_real_world_pass_as_well() -> None:
    assert degrade.parse("real:4")(images(2, 3, 8, 12), Noise(2)).image.shape == (2, 3, 2, 3)


def test_rounding_to_8_bit() -> None:
    image = torch.tensor([-2.0, -1.0, -0.999, 0.001, 0.5, 1.0, 3.0])
    expected = np.clip(np.round((image.numpy() + 1) * 127.5), 0, 255)
    np.testing.assert_allclose(levels_of(round8(image)), expected, atol=1e-4)
    exact = tensor(np.arange(256, dtype=np.uint8))
    assert torch.equal(round8(exact), exact)


def test_kernels_differ_between_images_of_one_batch() -> None:
    for spec in ("motion:5-21", "defocus:1-4", "blur:0.5-3,turned"):
        operator = degrade.parse(spec)(images(3), Noise(3, 1)).operator
        assert isinstance(operator, Convolution)
        assert _distinct(operator.kernel.unbind(0))


def _distinct(tensors: Sequence[Tensor]) -> bool:
    return all(not torch.allclose(a, b, atol=1e-4) for i, a in enumerate(tensors) for b in tensors[:i])


def test_a_third_of_the_images_share_their_noise() -> None:
    image = torch.zeros(300, 3, 8, 8)
    made = degrade.parse("noise:25,shared")(image, Noise(300, 1)).image
    same = (made[:, :1] == made).flatten(1).all(1)
    assert 0.24 < float(same.float().mean()) < 0.43
    assert float(made[same].std()) * 127.5 == pytest.approx(25, rel=0.03)
    assert float(made[~same].std()) * 127.5 == pytest.approx(25, rel=0.03)
    assert torch.equal(made[~same], degrade.parse("noise:25")(image, Noise(300, 1)).image[~same])
