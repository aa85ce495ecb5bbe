"""Bicubic resizing: the formula written out, other people's implementations where they agree, and numbers that one of them gave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from calotype import degrade
from calotype.degrade.resize import cubic as kernel
from calotype.degrade.resize import resize
from calotype.types import Noise

SIZES = [(12, 4), (12, 6), (13, 26), (9, 6), (17, 5), (8, 24), (11, 11), (5, 40), (7, 1)]


def cubic(x: float) -> float:
    """Keys 1981, eq. 15."""
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def matrix(size: int, out: int, scale: float | None = None) -> NDArray[np.float64]:
    """The definition, one weight at a time: the kernel stretched by 1/scale where that is less than 1, borders replicated."""
    scale = scale or out / size
    narrow = min(scale, 1.0)
    result = np.zeros((out, size))
    for row in range(1, out + 1):
        center = row / scale + 0.5 * (1 - 1 / scale)
        for place in range(math.floor(center - 2 / narrow) - 2, math.ceil(center + 2 / narrow) + 3):
            result[row - 1, min(max(place, 1), size) - 1] += narrow * cubic(narrow * (center - place))
    return result / result.sum(1, keepdims=True)


def levels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("size", "out"), SIZES)
def test_resizing_is_the_matrix_of_the_definition(size: int, out: int) -> None:
    image = torch.randn(2, 3, size, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.einsum("oh,pw,nchw->ncop", matrix(size, out), matrix(10, 15), image.numpy())
    np.testing.assert_allclose(resize(image, out, 15).numpy(), expected, rtol=0, atol=1e-12)
    turned = resize(image.mT, 15, out).mT
    np.testing.assert_allclose(turned.numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(resize(image.float(), out, 15).numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "out"), SIZES)
def test_mirrored_borders_are_those_of_a_larger_image(size: int, out: int) -> None:
    """Three periods of it, of which the middle is looked at; the result has mirrored borders itself."""
    image = torch.randn(1, 2, size, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wide = torch.cat([image.flip(2), image, image.flip(2)], 2)
    wide = torch.cat([wide.flip(2), wide, wide.flip(2)], 2)
    expected = resize(resize(wide, 9 * out, 10)[:, :, 4 * out : 5 * out], out, 10)
    np.testing.assert_allclose(resize(image, out, 10, mirror=True).numpy(), expected.numpy(), atol=1e-9)


def test_a_scale_that_is_not_the_ratio_of_the_sizes() -> None:
    image = torch.randn(1, 1, 10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = matrix(10, 4, 1 / 3)
    np.testing.assert_allclose(resize(image, 4, 4, 1 / 3)[0, 0].numpy(), weights @ image[0, 0].numpy() @ weights.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "out"), SIZES[:-1])
def test_eight_bit_values_are_rounded_after_each_pass_rows_first(size: int, out: int) -> None:
    pixels = levels(size, 14)
    first = np.clip(np.floor(matrix(size, out) @ pixels + 0.5 + 1e-9), 0, 255)
    expected = np.clip(np.floor(first @ matrix(14, 7).T + 0.5 + 1e-9), 0, 255)
    image = torch.from_numpy(pixels).float().sub(127.5).mul(1 / 127.5)[None, None]
    made = resize(image, out, 7, eight_bit=True)
    np.testing.assert_allclose(made[0, 0].numpy() * 127.5 + 127.5, expected, rtol=0, atol=1e-4)


def test_halves_are_rounded_up() -> None:
    """Between two levels as they are, and as their mean."""
    pair = torch.tensor([[7.0, 8.0], [7.0, 8.0], [251.0, 250.0]])
    made = resize((pair / 127.5 - 1)[None, None], 3, 1, eight_bit=True)
    assert ((made + 1) * 127.5).round().flatten().tolist() == [8, 8, 251]


# Of ((37 i) mod 256), 6 x 9, in levels: bicubic-pytorch 0.1.2.1, which follows MATLAB; the replicated borders it was given as pixels.
THIRD = [[101.9547, 125.6200, 105.2725], [131.7366, 129.0645, 118.3155]]
TWO_THIRDS = [
    [31.8879, 87.3975, 157.9826, 150.8031, 108.7011, 44.3576],
    [147.2740, 176.0316, 93.5211, 70.0879, 108.1481, 158.6287],
    [125.9855, 63.0191, 111.8997, 175.6728, 156.8148, 89.9290],
    [109.3917, 177.3049, 173.0021, 98.6193, 76.2619, 131.7227],
]
TWICE_TOP = [-8.0156, 1.2344, 21.4688, 40.8359, 59.3359, 77.8359, 96.3359, 114.4141, 132.0703, 155.4922, 184.6797, 214.5234, 245.0234]
TWICE_BOTTOM = [131.8125, 141.0625, 161.2969, 180.6641, 199.1641, 224.0859, 255.4297, 199.0078, 54.8203, -2.0234, 28.4766, 58.3203, 87.5078]

MIRRORED_THIRD = [[96.3559, 128.3301, 101.6596], [133.0474, 129.1637, 117.5543]]
MIRRORED_TWICE = [-10.6875, -0.5703, 19.6641, 39.0312, 57.5312, 76.0312, 94.5312, 112.4688, 129.8438, 154.9062, 187.6562, 219.2812]


def test_numbers_of_another_implementation() -> None:
    image = ((torch.arange(54) * 37) % 256).double().view(1, 1, 6, 9)
    np.testing.assert_allclose(resize(image, 2, 3)[0, 0].numpy(), THIRD, atol=2e-4)  # it rounds in float32
    np.testing.assert_allclose(resize(image, 4, 6)[0, 0].numpy(), TWO_THIRDS, atol=4e-4)
    twice = resize(image, 12, 18)[0, 0].numpy()
    np.testing.assert_allclose(twice[0, :13], TWICE_TOP, atol=6e-5)
    np.testing.assert_allclose(twice[-1, :13], TWICE_BOTTOM, atol=6e-5)
    np.testing.assert_allclose(resize(image, 2, 3, mirror=True)[0, 0].numpy(), MIRRORED_THIRD, atol=2e-4)
    np.testing.assert_allclose(resize(image, 12, 18, mirror=True)[0, 0, 0, :12].numpy(), MIRRORED_TWICE, atol=6e-5)


@pytest.mark.parametrize("a", [-0.5, -0.75])
def test_the_kernel_is_that_of_keys(a: float) -> None:
    """Weights of one place sum to one, whole places keep their values, and the slope at 1 is ``a`` from both sides."""
    assert [kernel(float(x), a) for x in (-2, -1, 0, 1, 2, 3)] == [0, 0, 1, 0, 0, 0]
    assert sum(kernel(0.3 - tap, a) for tap in range(-2, 3)) == pytest.approx(1)
    assert [(kernel(1 + e, a) - kernel(1.0, a)) / e for e in (-1e-6, 1e-6)] == pytest.approx([a, a], abs=1e-5)
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    np.testing.assert_allclose(kernel(x, a).numpy(), [kernel(one, a) for one in x.tolist()], atol=1e-14)


@pytest.mark.parametrize(("out_height", "out_width"), [(10, 13), (20, 26), (80, 104), (15, 39)])
def test_pillow_and_torch_agree_away_from_the_borders(out_height: int, out_width: int) -> None:
    """They leave out what lies beyond the borders instead of replicating them."""
    pixels = levels(40, 52).astype(np.float32)
    pillow = np.array(Image.fromarray(pixels).resize((out_width, out_height), Image.Resampling.BICUBIC))
    image = torch.from_numpy(pixels)[None, None].double()
    theirs = functional.interpolate(image, (out_height, out_width), mode="bicubic", antialias=True)[0, 0].numpy()
    ours = resize(image, out_height, out_width)[0, 0].numpy()
    rim = 5 if out_height > 40 else 3
    inside = (slice(rim, -rim), slice(rim, -rim))
    np.testing.assert_allclose(ours[inside], pillow[inside], atol=1e-3)
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-6)
    assert np.abs(ours - theirs).max() > 1e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downsampling_is_resizing_to_8_bit(scale: int) -> None:
    pixels = levels(2, 3, 4 * scale, 5 * scale, seed=scale)
    image = torch.from_numpy(pixels).float().sub(127.5).mul(1 / 127.5)
    degradation = degrade.parse(f"downsample:{scale}")
    made = degradation(image, Noise(2))
    assert degradation.scale == scale
    assert made.image.shape == (2, 3, 4, 5)
    assert torch.equal(made.image, resize(image, 4, 5, eight_bit=True))
    found = made.image * 127.5 + 127.5
    np.testing.assert_allclose(found.numpy(), found.round().numpy(), atol=1e-4)
    np.testing.assert_allclose(made.operator.forward(image).numpy(), resize(image, 4, 5).numpy(), atol=1e-6)


def test_an_even_image_stays_as_it_is() -> None:
    image = torch.full((1, 1, 9, 12), 31 / 127.5 - 1)
    for height, width in ((3, 4), (18, 24), (5, 7)):
        torch.testing.assert_close(resize(image, height, width, eight_bit=True), image.new_full((1, 1, height, width), 31 / 127.5 - 1))
        torch.testing.assert_close(resize(image, height, width), image.new_full((1, 1, height, width), 31 / 127.5 - 1))
