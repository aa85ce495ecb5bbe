"""Which places of an image the terms of a flow's log-density come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from calotype.flows.base import LOG_2_PI, CompositeTransform, Transform, parts
from calotype.flows.shape import Flat, MultiScale


def located_log_prob(flow: Transform, x: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
    """The log-density of images (N, C, H, W) under a flow to standard normal latents, by level and place: (N, H, W) each.

    All of them together add up to log p(z) + log |det dz/dx|. Every term belongs to a place: a latent to that at which its level puts it
    out, a log-determinant to that at which it stretches. A place of a level covers a square of pixels, over which its terms are spread
    evenly.

    Raises:
        TypeError: for a flow that does not end in latents of known places (`MultiScale`, `Flat`).
    """
    found: dict[str, Tensor] = {}
    size = x.shape[2]

    def add(name: str, terms: Tensor) -> None:
        found[name] = found[name] + _spread(terms, size) if name in found else _spread(terms, size)

    def walk(part: Transform, x: Tensor, name: str) -> Tensor:
        if isinstance(part, CompositeTransform):
            for one in parts(part.transforms):
                x = walk(one, x, name)
            return x
        if isinstance(part, MultiScale):
            for index, level in enumerate(parts(part.levels)):
                name = f"level {index + 1}"
                x = walk(level, x, name)
                if index < len(part.splits):
                    latent, x = x.chunk(2, 1)
                    latent, terms = parts(part.splits)[index].local(latent, x)
                    add(name, terms + _normal(latent))
            add(name, _normal(x))
            return x.new_empty(0)
        if isinstance(part, Flat):
            add("tokens", _normal(x))
            return x.new_empty(0)
        x, terms = part.local(x, context)
        add("tokens" if x.ndim == 3 else name, terms)
        return x

    if len(walk(flow, x, "values")):
        raise TypeError("only a flow whose latents have places can say where its terms come from")
    return found


def _normal(latents: Tensor) -> Tensor:
    """Log-densities of latents (N, C, h, w) or (N, T, D) by place."""
    return (-0.5 * (latents.square() + LOG_2_PI)).sum(1 if latents.ndim == 4 else 2)


def _spread(terms: Tensor, size: int) -> Tensor:
    """Terms (N, h, w), or (N, T) of tokens in rows, spread evenly over the pixels that a place covers: (N, size, size)."""
    if terms.ndim == 2:
        rows = math.isqrt(terms.shape[1])
        terms = terms.view(-1, rows, rows)
    factor = size // terms.shape[1]
    return torch.repeat_interleave(torch.repeat_interleave(terms / factor**2, factor, 1), factor, 2)
