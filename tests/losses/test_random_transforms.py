"""Random changes of place and color, against SciPy's and against what they say of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from calotype.losses import transforms
from calotype.losses.transforms import TOLD, adaptive, augmented_and_told


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(n: int, channels: int = 3, side: int = 32) -> Tensor:
    """Images without fine detail, which sampling would lose."""
    noise = np.random.default_rng(0).standard_normal((n, channels, side, side))
    soft = ndimage.gaussian_filter(noise, (0, 0, 3, 3))
    return torch.from_numpy((soft / abs(soft).max()).astype(np.float32))


def test_nothing_is_done_at_share_0() -> None:
    x = smooth(4)
    assert torch.allclose(adaptive(x, 0.0, rng()), x, atol=1e-5)
    out, told = augmented_and_told(x, 0.0, rng())
    assert torch.equal(out, x)
    assert told.shape == (4, TOLD)
    assert not told.any()


def test_images_of_which_nothing_is_told_are_bit_for_bit_as_they_were() -> None:
    x = smooth(400, side=8)
    out, told = augmented_and_told(x, 0.12, rng())
    untold = ~told.ne(0).any(1)
    assert torch.equal(out[untold], x[untold])
    assert not any(torch.equal(a, b) for a, b in zip(out[~untold], x[~untold], strict=True))
    left = (1 - 0.12) ** 4 * (1 - 0.06)  # four changes, and half of the images that are to be turned upside down stay as they are
    assert untold.float().mean().item() == pytest.approx(left, abs=4 * math.sqrt(left * (1 - left) / 400))


def test_what_is_told_is_what_scipy_does() -> None:
    x = smooth(12, channels=1)
    out, told = augmented_and_told(x, 1.0, rng(3))
    middle = 15.5
    for image, seen, (upside, scale, cos, sin, along, across, right, down) in zip(x, out, told.tolist(), strict=True):
        flip = np.diag([1 - 2 * upside, 1.0])  # SciPy's places are (row, column)
        turn = np.array([[cos + 1, sin], [-sin, cos + 1]])
        stretch, angle = math.hypot(along, across), math.atan2(across, along) / 2
        ways = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])  # columns: along, across, as (x, y)
        pull = ways @ np.diag([2 ** (-0.2 * stretch), 2 ** (0.2 * stretch)]) @ ways.T
        matrix = pull[::-1, ::-1] @ flip @ turn * 2 ** (-0.2 * scale)
        shift = -0.125 * 32 * np.array([down, right])
        wanted = ndimage.affine_transform(image[0].numpy(), matrix, middle - matrix @ [middle, middle] + shift, order=1, mode="reflect")
        assert np.abs(seen[0].numpy() - wanted).max() < 2e-3


def test_quarter_turns_and_mirror_images_lose_nothing() -> None:
    x, dice = smooth(64, side=8), transforms._Dice(64, 1.0, rng())
    out = transforms._moved(x, transforms._quarters(dice))
    seen = set()
    for a, b in zip(x, out, strict=True):
        ways = {(k, m): torch.rot90(a.flip(2) if m else a, k, (1, 2)) for k in range(4) for m in (0, 1)}
        found = [way for way, image in ways.items() if torch.allclose(image, b, atol=1e-5)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 8


def test_colors_keep_what_each_change_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    x, luma = torch.rand(16, 3, 4, 4, generator=rng()) * 2 - 1, torch.tensor([1 / 3] * 3)
    monkeypatch.setattr(transforms, "BRIGHTNESS", 0.0)
    monkeypatch.setattr(transforms, "CONTRAST", 0.0)
    matrix = transforms._colors(transforms._Dice(16, 1.0, rng()))
    out = transforms._recolored(x, matrix)
    gray = torch.einsum("c,nchw->nhw", luma, x)
    turned = torch.einsum("c,nchw->nhw", luma, out) / gray  # hue and saturation leave the mean of the colors, or its negative
    assert torch.allclose(turned.abs(), torch.ones_like(turned), atol=1e-3)
    monkeypatch.setattr(transforms, "SATURATION", 0.0)
    matrix = transforms._colors(transforms._Dice(16, 1.0, rng()))[:, :, :3]
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3).expand(16, 3, 3), atol=1e-5)  # what is left turns colors, and inverts light


def test_gray_images_change_like_grays_of_color_images() -> None:
    gray = smooth(8, channels=1)
    assert torch.allclose(adaptive(gray, 0.7, rng()), adaptive(gray.expand(-1, 3, -1, -1), 0.7, rng())[:, :1], atol=1e-4)


def test_gradients_pass() -> None:
    x = smooth(3, side=6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: adaptive(v, 0.8, rng(1)), (x,), atol=1e-5)


def test_the_shares_are_kept() -> None:
    """Each of eleven changes of the adaptive pipeline is left out as often as its share says."""
    dice = transforms._Dice(20_000, 0.3, rng())
    _, told = transforms._places(dice)
    for column in (1, 2, 4, 6):  # scale, turn, stretch, shift
        assert told[:, column].ne(0).float().mean().item() == pytest.approx(0.3, abs=0.015)
    quarters = transforms._quarters(dice)
    # of eight ways the one that changes nothing: both left out or drawn as nothing
    assert (quarters - torch.eye(3)).abs().amax((1, 2)).lt(1e-6).float().mean().item() == pytest.approx(
        (1 - 0.3 / 2) * (1 - 0.3 * 3 / 4), abs=0.015
    )


def test_autocast_changes_nothing() -> None:
    x = smooth(8)
    plain = adaptive(x, 0.8, rng()), augmented_and_told(x, 0.8, rng())[0]
    with torch.autocast("cpu", torch.bfloat16):
        cast = adaptive(x, 0.8, rng()), augmented_and_told(x, 0.8, rng())[0]
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))
