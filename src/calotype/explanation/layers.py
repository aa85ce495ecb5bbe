"""The layers inside the network that makes images of codes: what they put out, and what becomes of images without one of their units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calotype.capabilities import HasDecoder
from calotype.explanation.codes import Codes
from calotype.networks.hooks import recorded

FEWEST = 4  # channels that an inner map has
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class InnerLayer:
    """The last module of a network whose output is a map of one size: (N, channels, side, side), or (N, channels) for vectors."""

    name: str  # where it stands in the network
    module: nn.Module
    channels: int
    side: int  # 1 for vectors


@torch.no_grad()
def inner_layers(codes: Codes) -> list[InnerLayer]:
    """The layers of the decoding network whose channels can be looked at one by one, coarse maps first; none where there is no such.

    Of all modules that put out maps of one size the last one that is more than a convolution: the rectified maps of a plain network, the
    sums of a residual one. What holds the last convolution of all, whose output is the image, is none.
    """
    model = codes.generator.model
    if not isinstance(model, HasDecoder):
        return []
    names = {module: name for name, module in model.decoding.named_modules()}
    ran: list[tuple[nn.Module, tuple[int, ...]]] = []

    def look(module: nn.Module, given: object, out: object) -> None:
        if isinstance(out, Tensor):
            ran.append((module, tuple(out.shape)))

    with recorded(list(names), look):
        codes.on_device(torch.zeros(1, codes.dimension, device=codes.generator.device), codes.labels(1))
    last = next((module for module, _ in reversed(ran) if isinstance(module, WEIGHTED)), None)
    found: dict[int, InnerLayer] = {}
    for module, shape in ran:
        square = len(shape) == 2 or (len(shape) == 4 and shape[2] == shape[3])
        if not square or shape[1] < FEWEST or isinstance(module, WEIGHTED) or any(part is last for part in module.modules()):
            continue
        if sum(one is module for one, _ in ran) == 1:
            side = shape[2] if len(shape) == 4 else 1
            found[side] = InnerLayer(names[module], module, shape[1], side)
    maps = {side: layer for side, layer in found.items() if side > 1}
    return [layer for _, layer in sorted((maps or found).items())]


@contextmanager
def without(layer: InnerLayer, units: Sequence[int]) -> Iterator[None]:
    """Within it, some channels of a layer are zero (Bau et al. 2019, section 3.2)."""
    rows = torch.tensor(list(units))

    def hook(module: nn.Module, given: object, out: Tensor) -> Tensor:
        changed = out.clone()
        changed[:, rows.to(out.device)] = 0
        return changed

    handle = layer.module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
