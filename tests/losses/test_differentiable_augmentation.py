"""Augmentations that a discriminator sees through: their formulas on images that one can follow, and the gradient through them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from calotype.losses.augmentation import AUGMENTATIONS, augmented, color, cutout, translation


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 64, size: int = 16) -> Tensor:
    return torch.rand((n, 3, size, size), generator=rng(9)) * 2 - 1


def test_color_keeps_what_brightness_saturation_and_contrast_keep() -> None:
    x = images()
    y = color(x, rng())
    for before, after in zip(x, y, strict=True):
        # an image is moved by a number, and stretched around its mean: gray differences by one factor, colors by another
        gray, out = before.mean(0), after.mean(0)
        contrast = (out - out.mean()).flatten() @ (gray - gray.mean()).flatten() / (gray - gray.mean()).square().sum()
        assert 0.5 <= contrast <= 1.5
        assert torch.allclose(out - out.mean(), contrast * (gray - gray.mean()), atol=1e-5)
        assert abs(out.mean() - gray.mean()) <= 0.5
        tint = (after - out).flatten() @ (before - gray).flatten() / (before - gray).square().sum()
        assert 0 <= tint / contrast <= 2
        assert torch.allclose(after - out, tint * (before - gray), atol=1e-5)
    assert (y.mean((1, 2, 3)) - x.mean((1, 2, 3))).std() > 0.2  # uniform in +-.5 has .29


def test_translation_moves_whole_pixels_by_at_most_an_eighth() -> None:
    x = images(200)
    y = translation(x, rng())
    seen = set()
    for before, after in zip(x, y, strict=True):
        framed = torch.nn.functional.pad(before, (2, 2, 2, 2))
        fits = [(r, c) for r in range(5) for c in range(5) if torch.equal(framed[:, r : r + 16, c : c + 16], after)]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 25


def test_cutout_leaves_a_square_of_half_the_side_out() -> None:
    x = torch.ones(300, 3, 16, 16)
    gone = cutout(x, rng()) == 0
    assert torch.equal(gone[:, 0], gone[:, 2])
    areas = gone[:, 0].sum((1, 2))
    assert areas.max() == 64
    assert areas.min() == 16  # the middle in a corner
    for one in gone[:, 0]:
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns[None, :])


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_each_is_linear_in_the_gradient_and_drawn_anew(name: str) -> None:
    x = images(8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: AUGMENTATIONS[name](x, rng(3)).square().sum(), x[:2, :, :5, :5].detach().requires_grad_())  # type: ignore[index]
    assert not torch.equal(AUGMENTATIONS[name](x, rng(1)), AUGMENTATIONS[name](x, rng(2)))  # type: ignore[index]
    assert torch.equal(AUGMENTATIONS[name](x, rng(1)), AUGMENTATIONS[name](x, rng(1)))  # type: ignore[index]


def test_none_changes_nothing_and_the_order_is_always_the_same() -> None:
    x = images(4)
    assert augmented(x, (), rng()) is x
    assert torch.equal(augmented(x, ("cutout", "color"), rng()), augmented(x, ("color", "cutout"), rng()))
    assert torch.equal(augmented(x, ("cutout",), rng()), cutout(x, rng()))
