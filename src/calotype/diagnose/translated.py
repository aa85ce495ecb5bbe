"""Held-out pictures and what a translator makes of them: the evidence of all verdicts on translators, and sums over its images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.degrade.color import Luma
from calotype.types import Batch, Condition, Model, Noise

LEVEL = 1 / 127.5  # one of the 256 levels of an 8-bit image, in units of [-1, 1]
FEWEST = 8  # images that a verdict needs
PerImage = NDArray[np.float64]


@dataclass(frozen=True)
class Translated:
    """Held-out pictures and what a translator makes of them; all (N, channels, H, W) float32 in [-1, 1], N at least ``FEWEST``."""

    source: Tensor  # (N, C', H, W) what it was given
    made: Tensor  # (N, C, H, W) what it made
    image: Tensor  # (N, C, H, W) real pictures of the other side: the truth of the same pictures where ``paired``
    paired: bool
    back: Callable[[Tensor], Tensor] | None = None  # (N, C, H, W) to (N, C', H, W), the translator of the other direction


@torch.no_grad()
def translate(model: Model, batch: Batch, paired: bool, direction: str = "a2b", seed: int = 0) -> Translated:
    """What ``model`` makes of a held-out batch: of its sources ("a2b"), or of its images ("b2a", where the model knows that direction).

    ``paired`` says whether row i of sources and images show the same (`calotype.engine.images.judging` makes such a batch wherever
    there is a truth). A model with two directions (``model.directions``) gets its other one as ``back``.
    """
    given, wanted = batch.condition.source, batch.image
    if given is None:
        raise ValueError("a batch without sources cannot be translated")
    if direction == "b2a":
        given, wanted = wanted, given
    noise = Noise(len(given), seed, device=given.device)
    if len(model.directions) < 2:
        return Translated(given, model.sample(noise, Condition(source=given)), wanted, paired)
    asked = {"direction": direction}
    other = {"direction": {"a2b": "b2a", "b2a": "a2b"}[direction]}

    def back(made: Tensor) -> Tensor:
        with torch.no_grad():
            return model.sample(Noise(len(made), seed, device=made.device), Condition(source=made), model.sampling(**other))

    return Translated(given, model.sample(noise, Condition(source=given), model.sampling(**asked)), wanted, paired, back)


def in_channels(image: Tensor, channels: int) -> Tensor:
    """The picture with one or three channels: gray repeated, color as its luma."""
    if channels == image.shape[1]:
        return image
    return luma(image) if channels == 1 else image.expand(-1, channels, -1, -1)


def luma(image: Tensor) -> Tensor:
    """The lightness (N, 1, H, W) of images of one or three channels."""
    return image if image.shape[1] == 1 else Luma().forward(image)


def chroma(image: Tensor) -> Tensor:
    """Blue and red less luma, side by side, (N, 2, H, W): the opponent colors of ITU-R BT.601 up to factors."""
    return image[:, [2, 0]] - luma(image)


def best_map(source: Tensor, made: Tensor) -> Tensor:
    """The linear map of colors, one for all pixels of all images, that brings ``source`` closest to ``made``, applied."""
    x, y = (t.movedim(1, -1).reshape(-1, t.shape[1]) for t in (source, made))
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    ridge = 1e-9 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)  # gray pictures in color have equal channels
    fitted: Tensor = x @ torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    return fitted.reshape(*made.movedim(1, -1).shape).movedim(-1, 1)


def correlations(a: Tensor, b: Tensor) -> PerImage:
    """The correlation of two sets of planes over the pixels of each image, for those that have contrast in both."""
    a, b = (t - t.mean((2, 3), keepdim=True) for t in (a, b))
    length_a, length_b = (np.sqrt(sums(t.square()) / t[0].numel()) for t in (a, b))
    kept = (length_a > LEVEL) & (length_b > LEVEL)
    r: PerImage = (sums(a * b) / a[0].numel())[kept] / (length_a * length_b)[kept]
    return r


def nearest_distance(images: Tensor) -> PerImage:
    """The root mean square distance of each image to the one most like it, at least a level, (N,)."""
    flat = images.double().flatten(1)
    apart = torch.cdist(flat, flat) / math.sqrt(flat.shape[1])
    apart.fill_diagonal_(math.inf)
    nearest: PerImage = apart.min(1).values.clamp(min=LEVEL).cpu().numpy()
    return nearest


def rms(x: Tensor) -> PerImage:
    """The root mean square of each image, (N,)."""
    root: PerImage = np.sqrt(sums(x.double().square()) / x[0].numel())
    return root


def sums(x: Tensor) -> PerImage:
    """The sum over each image, (N,)."""
    sums: PerImage = x.flatten(1).sum(1).cpu().numpy()
    return sums


def error_of(values: PerImage) -> float:
    """The standard error of a mean over images."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
