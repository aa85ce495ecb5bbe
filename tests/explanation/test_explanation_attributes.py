"""What is measured of images has closed forms: bars of known width and slant, colors of known statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from calotype.explanation.attributes import brightness, colorfulness, measured, slant, thickness
from calotype.types import ImageSpec

FINE = 8  # times that a bar is drawn larger before it is averaged down, so that its edges are soft as those of scanned ink


def bar(width: float, lean: float, size: int = 28, length: float = 18) -> Tensor:
    """An upright bar so many pixels wide, sheared to the right by an angle in degrees: (1, 1, size, size) in [-1, 1]."""
    at = (np.arange(size * FINE) + 0.5) / FINE - size / 2
    x, y = at[None, :], -at[:, None]
    inside = (abs(x - y * math.tan(math.radians(lean))) <= width / 2) & (abs(y) <= length / 2)
    ink = inside.reshape(size, FINE, size, FINE).mean((1, 3))
    return torch.from_numpy(2 * ink - 1).float()[None, None]


@pytest.mark.parametrize("lean", [-40, -15, 0, 20, 45])
def test_the_slant_of_a_sheared_bar_is_its_angle(lean: float) -> None:
    assert float(slant(bar(3, lean))) == pytest.approx(lean, abs=0.5)


@pytest.mark.parametrize("turn", [0, 30, 60, 90])
@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
def test_the_thickness_of_a_stroke_is_its_width_whichever_way_it_runs(width: float, turn: float) -> None:
    at = (np.arange(40 * FINE) + 0.5) / FINE - 20
    x, y = at[None, :], at[:, None]
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    inside = (abs(c * x - s * y) <= width / 2) & (abs(s * x + c * y) <= 15)
    image = torch.from_numpy(2 * inside.reshape(40, FINE, 40, FINE).mean((1, 3)) - 1).float()[None, None]
    ends = 1 + width / 30  # of which a bar has two, and the estimate knows nothing
    assert float(thickness(image)) == pytest.approx(width / ends, rel=0.1)


def test_thickness_knows_no_contrast_and_an_empty_image_has_neither() -> None:
    image = bar(3, 20)
    faint = (image + 1) / 2 - 1
    assert float(thickness(faint)) == pytest.approx(float(thickness(image)), rel=1e-6)
    assert float(slant(faint)) == pytest.approx(float(slant(image)), abs=1e-4)
    empty = torch.full((1, 1, 28, 28), -1.0)
    assert float(thickness(empty)) == 0
    assert float(slant(empty)) == 0


def test_thickness_of_digits_orders_them_as_scikit_image_does() -> None:
    """Beside twice the mean distance to the ground along the skeleton."""
    from scipy.ndimage import distance_transform_edt, zoom
    from scipy.stats import spearmanr
    from skimage.morphology import skeletonize

    from calotype.data import load
    from calotype.tasks.model_inputs import to_tensor

    pixels = np.asarray(load("mnist5k").holdout.pixels[:60])
    ours = thickness(to_tensor(pixels)).numpy()
    theirs = []
    for image in pixels[..., 0]:
        large = zoom(image.astype(float), 4, order=1) > 128
        theirs.append(2 * distance_transform_edt(large)[skeletonize(large)].mean() / 4)
    assert spearmanr(ours, theirs).statistic > 0.9
    assert np.median(ours / theirs) == pytest.approx(1, abs=0.25)


def test_brightness_and_colorfulness_are_those_of_their_definitions() -> None:
    gray = torch.zeros(1, 3, 8, 8)
    assert float(colorfulness(gray)) == pytest.approx(0, abs=1e-6)
    assert float(brightness(gray)) == pytest.approx(127.5)
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert float(brightness(red)) == pytest.approx(0.299 * 255)
    assert float(colorfulness(red)) == pytest.approx(0.3 * math.hypot(255, 127.5))  # no spread, means of 255 and 127.5
    half = red.clone()
    half[..., 4:] = torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1)  # half red, half green: rg is 255 and -255
    assert float(colorfulness(half)) == pytest.approx(255 + 0.3 * 127.5)


def test_each_kind_of_images_has_the_attributes_that_make_sense_for_it() -> None:
    names = [[one.name for one in measured(spec)] for spec in (ImageSpec(28, 1), ImageSpec(32, 3), ImageSpec(64, 1))]
    assert names == [["slant", "thickness", "brightness"], ["brightness", "colorfulness"], ["brightness"]]
