"""Looking into the latents of a model: reconstruction, interpolation, neighbors, planes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.capabilities import HasEncoder, HasLatents
from calotype.data.images import Progress, part
from calotype.errors import UserError
from calotype.tasks.sample import Generator
from calotype.types import Condition, Noise

Interpolation = Literal["spherical", "linear"]

BATCH = 64  # images that go through a model at a time


def of_seeds(generator: Generator, seeds: list[int]) -> Tensor:
    """The latents of the first image that each seed draws: (len(seeds), *latent_shape) standard normal numbers."""
    return torch.cat([Noise(1, seed).normal(*with_latents(generator).latent_shape) for seed in seeds])


def draw_each(generator: Generator, count: int, seed: int, label: Tensor | None) -> Tensor:
    """What a seed draws, (count, C, H, W); where there are labels (count,) each image is of its own class."""
    if label is None:
        return generator.sample(count, seed=seed)
    return torch.cat([generator.sample(1, seed=seed, start=row, label=number) for row, number in enumerate(label.tolist())])


def require_encoder(generator: Generator) -> HasEncoder:
    """The model of a generator. Raises `UserError` for one without an encoder."""
    if not isinstance(generator.model, HasEncoder):
        raise UserError(f"a {generator.recipe} model cannot find the latents of an image: VAEs, flows and diffusion models can")
    return generator.model


@torch.no_grad()
def encode(generator: Generator, images: Tensor, label: Tensor | None = None, progress: Progress | None = None) -> Tensor:
    """Latents (N, *latent_shape) of images (N, C, H, W) in [-1, 1], and of their labels (N,) where the model knows classes.

    Raises `UserError` for a model without an encoder.
    """
    return _in_batches(generator, require_encoder(generator).encode, images, label, progress)


@torch.no_grad()
def decode(generator: Generator, latents: Tensor, label: Tensor | None = None, progress: Progress | None = None) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] of latents (N, *latent_shape). Raises `UserError` for a model without latents."""
    return _in_batches(generator, with_latents(generator).decode, latents, label, progress)


def reconstruct(generator: Generator, images: Tensor, label: Tensor | None = None, progress: Progress | None = None) -> Tensor:
    """What is left of images (N, C, H, W) after a way through the latents."""
    return decode(generator, encode(generator, images, label, part(progress, 0, 2)), label, part(progress, 1, 2))


def between(a: Tensor, b: Tensor, steps: int, path: Interpolation = "spherical") -> Tensor:
    """``steps`` latents from ``a`` to ``b``, both included, (steps, *shape).

    Along the straight line, or along the great circle (White 2016): the middle of a straight line between two normal vectors of
    many dimensions is shorter than any vector the model has seen, that of the circle is not. Lengths change evenly from one to the
    other. Vectors that point the same or opposite ways have no circle of their own; the line stands in.

    >>> round(between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1].norm().item(), 5)
    1.0
    """
    share = torch.linspace(0, 1, steps, dtype=a.dtype).view(-1, *[1] * a.ndim)
    line = a + share * (b - a)
    if path == "linear":
        return line
    lengths = a.norm(), b.norm()
    cosine = float((a * b).sum() / (lengths[0] * lengths[1]).clamp(min=1e-12))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return line
    circle: Tensor = (torch.sin((1 - share) * angle) * (a / lengths[0]) + torch.sin(share * angle) * (b / lengths[1])) / math.sin(angle)
    found: Tensor = circle * (lengths[0] + share * (lengths[1] - lengths[0]))
    return found


def interpolate(
    generator: Generator,
    ends: Tensor,
    steps: int,
    path: Interpolation = "spherical",
    label: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Images on the way from each of the latents ``ends`` (K, *latent_shape) to the next, ((K - 1) * steps, C, H, W)."""
    if len(ends) < 2 or steps < 2:
        raise UserError("an interpolation needs two ends and two steps or more")
    latents = torch.cat([between(a, b, steps, path) for a, b in pairwise(ends)])
    return decode(generator, latents, None if label is None else torch.full((len(latents),), label), progress)


def neighbors(queries: Tensor, pool: Tensor, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``count`` nearest of points ``pool`` (M, ...) to each of ``queries`` (N, ...): positions and distances, (N, count) each."""
    x, y = queries.flatten(1).float(), pool.flatten(1).float()
    # by differences: products lose the digits that tell a copy from a likeness
    nearest = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").topk(min(count, len(y)), dim=1, largest=False)
    return nearest.indices.numpy(), nearest.values.numpy()


def plane(
    generator: Generator, side: int, axes: tuple[int, int] = (0, 1), label: int | None = None, progress: Progress | None = None
) -> Tensor:
    """Images on a plane of the latents, (side * side, C, H, W): two latents vary, downwards and to the right, the others are zero.

    The values are quantiles of the normal distribution, so that every picture stands for an equal share of what the model draws
    (Kingma & Welling 2014, figure 4): with two latents it is all there is to see.
    """
    shape = with_latents(generator).latent_shape
    size = math.prod(shape)
    if side < 2 or axes[0] == axes[1] or not all(0 <= axis < size for axis in axes):
        raise UserError(
            f"a plane needs a side of 2 or more and two different axes from 0 to {size - 1}, not {side} and {axes[0]}, {axes[1]}"
        )
    values = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    latents = torch.zeros(side, side, size)
    latents[:, :, axes[0]] = values[:, None]
    latents[:, :, axes[1]] = values[None, :]
    flat = latents.view(side * side, *shape)
    return decode(generator, flat, None if label is None else torch.full((len(flat),), label), progress)


def with_latents(generator: Generator) -> HasLatents:
    """The model of a generator. Raises `UserError` for one without latents."""
    if not isinstance(generator.model, HasLatents):
        raise UserError(f"a {generator.recipe} model has no latents: GANs, VAEs, flows and diffusion models have")
    return generator.model


def _in_batches(
    generator: Generator, way: Callable[[Tensor, Condition], Tensor], values: Tensor, label: Tensor | None, progress: Progress | None
) -> Tensor:
    parts = []
    for start in range(0, len(values), BATCH):
        rows = slice(start, start + BATCH)
        condition = Condition(None if label is None or not generator.model.conditional else label[rows]).to(generator.device)
        parts.append(way(values[rows].to(generator.device), condition).float().cpu())
        if progress is not None:
            progress(min(rows.stop, len(values)), len(values))
    return torch.cat(parts)
