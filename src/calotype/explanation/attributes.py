"""What can be measured of an image without asking anybody: slant and thickness of strokes, brightness, colorfulness; and of its class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from calotype import pictures
from calotype.data.fit import fit_array
from calotype.degrade.color import REC601
from calotype.metrics.features_space import FeatureSpace
from calotype.types import ImageSpec, small_gray

SUREST = 12.0  # largest log-odds of a class that count: float32 probabilities know no larger ones


@dataclass(frozen=True)
class Attribute:
    """A number that images have."""

    name: str  # "slant"
    unit: str  # "degrees"
    says: str  # what it is, for people
    measure: Callable[[Tensor], Tensor]  # images (N, C, H, W) float32 in [-1, 1] to (N,) float64


def slant(images: Tensor) -> Tensor:
    """How far the strokes of bright figures on dark ground lean to the right, in degrees, (N,) float64.

    The angle of the shear that takes the covariance of ink between the two axes away, atan(mu_11 / mu_02) by central moments, with y
    upwards (as deslanting does it, LeCun et al. 1998, and Morpho-MNIST, Castro et al. 2019). An empty image has none: 0.
    """
    ink = _ink(images)
    height, width = ink.shape[1:]
    y = -torch.arange(height, dtype=torch.float64)[:, None].expand(height, width)
    x = torch.arange(width, dtype=torch.float64)[None, :].expand(height, width)
    total = ink.sum((1, 2)).clamp_min(1e-12)
    cx, cy = (((ink * at).sum((1, 2)) / total)[:, None, None] for at in (x, y))
    mixed, upright = (ink * (x - cx) * (y - cy)).sum((1, 2)), (ink * (y - cy).square()).sum((1, 2))
    return torch.rad2deg(torch.atan(mixed / upright.clamp_min(1e-12)))


def thickness(images: Tensor) -> Tensor:
    """The mean width of the strokes of bright figures on dark ground, in pixels, (N,) float64; 0 of an empty image.

    Twice the ink over the length of its outline, which is exact for long strokes of one width: w L over 2 L. The outline's length is the
    total variation of the ink (co-area formula), so that there is no threshold, and neither contrast nor the softness of an edge counts.
    """
    ink = F.pad(_ink(images)[:, None], (1, 1, 1, 1))[:, 0]
    # at the corners between pixels, from the means of both sides: so diagonal edges are not longer than upright ones
    a, b, c, d = ink[:, :-1, :-1], ink[:, :-1, 1:], ink[:, 1:, :-1], ink[:, 1:, 1:]
    across, down = (b + d - a - c) / 2, (c + d - a - b) / 2
    outline = (across.square() + down.square()).sqrt().sum((1, 2))
    return torch.where(outline > 1e-9, 2 * ink.sum((1, 2)) / outline.clamp_min(1e-9), 0.0)


def brightness(images: Tensor) -> Tensor:
    """The mean luma of Rec. 601, in levels of 0 to 255, (N,) float64."""
    return _luma(_levels(images)).mean((1, 2))


def colorfulness(images: Tensor) -> Tensor:
    """How colorful images (N, 3, H, W) are, (N,) float64: 0 of gray ones, 33 moderately, 109 extremely (Hasler & Süsstrunk 2003, M^(3))."""
    red, green, blue = _levels(images).unbind(1)
    rg, yb = (red - green).flatten(1), ((red + green) / 2 - blue).flatten(1)
    spread = (rg.var(1, unbiased=False) + yb.var(1, unbiased=False)).sqrt()
    return spread + 0.3 * (rg.mean(1).square() + yb.mean(1).square()).sqrt()


def class_log_odds(judge: FeatureSpace, number: int) -> Callable[[Tensor], Tensor]:
    """What a classifier says of images (N, C, H, W): the log-odds (N,) of a class, within (-12, 12)."""

    def measure(images: Tensor) -> Tensor:
        p = beliefs(judge, images)[:, number]
        return torch.logit(p, eps=1e-6).clamp(-SUREST, SUREST)

    return measure


def beliefs(judge: FeatureSpace, images: Tensor) -> Tensor:
    """What a classifier believes of images (N, C, H, W) in [-1, 1], as 8-bit pictures: (N, classes) float64, rows summing to 1.

    Images of another size than its own are brought to that, as `calotype classify` does it.
    """
    found = judge.of(fit_array(pictures.to_uint8(images), judge.size, judge.channels, "crop")).probabilities
    assert found is not None, f"{judge.name} tells no classes apart"
    return torch.from_numpy(found).double()


def measured(spec: ImageSpec) -> list[Attribute]:
    """The attributes of images like ``spec`` that need no classifier."""
    found = [Attribute("brightness", "levels", "mean brightness, of 255", brightness)]
    if spec.channels == 3:
        found.append(Attribute("colorfulness", "", "how colorful it is: 0 is gray, 109 extremely colorful", colorfulness))
    if not small_gray(spec):
        return found
    return [
        Attribute("slant", "degrees", "how far strokes lean to the right", slant),
        Attribute("thickness", "pixels", "mean width of the strokes", thickness),
        *found,
    ]


def _ink(images: Tensor) -> Tensor:
    """(N, H, W) float64, 0 on the ground and 1 in full strokes."""
    return ((images.double() + 1) / 2).clamp(0, 1).mean(1)


def _levels(images: Tensor) -> Tensor:
    return ((images.double() + 1) / 2).clamp(0, 1) * 255


def _luma(levels: Tensor) -> Tensor:
    """(N, H, W) of (N, C, H, W)."""
    if levels.shape[1] == 1:
        return levels[:, 0]
    return torch.einsum("nchw,c->nhw", levels, torch.tensor(REC601, dtype=levels.dtype))
