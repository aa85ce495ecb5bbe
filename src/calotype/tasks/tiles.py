"""A function of small pictures, applied to a picture of any size in bounded memory: tiles that overlap and blend into each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Function = Callable[[Tensor], Tensor]
"""(1, C', h, w) to (1, C, scale * h, scale * w)."""
Window = Callable[[int, int, int, int], Tensor]
"""The source within rows and columns (top, bottom, left, right): (1, C', bottom - top, right - left) float32."""
Write = Callable[[int, Tensor], None]
"""Takes finished rows of the result: the first one's number, and (C, rows, W) float32."""

GRID = 48  # tiles begin at multiples of it, so that networks that take 2, 3, 4 ... pixels as one meet the same ones as in the whole
SMALLEST = 96  # pixels a side of a tile that may be asked for: a step, and an overlap that is no larger
FEATHER = 8  # pixels over which a tile blends into the next, beyond what it cannot know
WIDE = 96  # by how much tiles overlap where a model looks at the whole picture
LEAST = 16  # sides to which smaller pictures are padded by their border
MEMORY = 96 * 2**20  # bytes that the network may take for a tile, as estimated: more is slower on a processor, for its cache
EDGE = 16  # pixels by which a picture goes on beyond its borders at least: what is flat tells more of what is far than other pictures do
WHOLE = 768 * 2**20  # and for a whole picture, where tiles would differ from it
_FAR = 96  # how far is looked for the reach of a model
_TINY = 0.25 / 255  # share of a model's answer that may come from beyond its reach


@dataclass(frozen=True)
class Plan:
    """How a picture is cut: a tile of ``step + overlap`` pixels a side begins at every multiple of ``step``."""

    step: int
    overlap: int
    reach: int | None  # pixels that the model looks around; None where every pixel depends on the whole picture
    note: str = ""  # what there is to say about it

    @property
    def tile(self) -> int:
        """Pixels a side of the source."""
        return self.step + self.overlap


@dataclass(frozen=True)
class Look:
    """What a model is like, measured on a patch."""

    reach: int | None  # pixels of the source that it looks around; None where a pixel depends on the whole picture
    cost: float  # bytes for each pixel of the source
    grid: int = GRID  # tiles begin at multiples of it
    multiple: int = 1  # pixels a side that the network takes as one

    @property
    def margin(self) -> int:
        """Pixels by which a picture goes on beyond its borders before the model sees it: as far as it looks, and `EDGE` at least."""
        return -(-max(EDGE, self.reach or 0) // self.multiple) * self.multiple


def plan(look: Look, height: int, width: int, tile: int | None = None) -> Plan:
    """Tiles for a picture of ``height`` x ``width``: as large as `MEMORY` allows, or at most as large as asked for.

    A model in which every pixel depends on all (by statistics of the image) gets the whole picture where that fits into `WHOLE`.
    """
    reach, grid = look.reach, look.grid
    overlap = WIDE if reach is None else 2 * reach + FEATHER
    if tile is None:
        tile = max(int(math.sqrt(MEMORY / look.cost)), 4 * GRID, 3 * overlap, grid + overlap)
        if reach is None and height * width * look.cost <= WHOLE:
            tile = max(height, width)
    if tile >= max(height, width):
        return Plan(tile, 0, reach)
    step = max(grid, (tile - overlap) // grid * grid)
    overlap = min(overlap, step)  # no three tiles may meet in a row
    size, note = step + overlap, ""
    if size > tile:
        note = f"tiles are {size} pixels a side, the least for this model, which takes squares of pixels as one"
    if reach is None:
        note = f"this model looks at the whole picture: tiles of {size} pixels may differ in tone, larger ones (`tile`) less"
    elif overlap <= 2 * reach:
        note = f"tiles of {size} pixels are small for this model, which looks {reach} pixels around: seams may show"
    return Plan(step, overlap, reach, note)


def look_of(function: Function, module: nn.Module, channels: int) -> Look:
    """How far a model looks, and what it costs.

    The reach is the smallest number of pixels beyond which lies less than 1/1020 of the absolute gradient of a few pixels in the
    middle; None where it is not within 96 pixels. A ``reach`` of the model's own is exact, but may be far more than matters: it is
    believed up to `GRID`. The cost is four times what the greediest layer reads and writes. A layer that takes ``multiple`` pixels a side
    together says so by an attribute of that name; the pixels that are tried are the last ones of such a square, which look farthest.
    """
    multiple = math.lcm(*(value for layer in module.modules() if isinstance(value := getattr(layer, "multiple", None), int)))
    last = -(-(_FAR + 8) // multiple) * multiple
    first = last - 8
    side = -(-(last + _FAR + GRID) // multiple) * multiple
    rng = torch.Generator().manual_seed(0)
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    patch = (torch.rand(1, channels, side, side, generator=rng) * 2 - 1).to(device).requires_grad_()
    greedy = [1.0]

    def weigh(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        sizes = [value.numel() for value in (*inputs, output) if isinstance(value, Tensor)]
        greedy.append(16 * sum(sizes) / side**2)

    hooks = [layer.register_forward_hook(weigh) for layer in module.modules() if not list(layer.children())]
    try:
        with torch.enable_grad():
            result = function(patch)
            scale = result.shape[2] // side
            middle = slice(scale * first, scale * last)
            if not result.requires_grad:
                return Look(None, max(greedy), math.lcm(GRID, multiple), multiple)
            (gradient,) = torch.autograd.grad(result[:, :, middle, middle].sum(), patch)
    finally:
        for hook in hooks:
            hook.remove()
    share = gradient.abs().sum((0, 1)).cpu().double()
    total = float(share.sum())
    for reach in range(_FAR + 1):
        inside = slice(first - reach, last + reach)
        if total - float(share[inside, inside].sum()) <= _TINY * total:
            own = getattr(module, "reach", 0)
            return Look(max(reach, min(own, GRID)), max(greedy), math.lcm(GRID, multiple), multiple)
    return Look(None, max(greedy), math.lcm(GRID, multiple), multiple)


def tiled(function: Function, window: Window, write: Write, height: int, width: int, plan: Plan, done: Callable[[float], None]) -> None:
    """Apply ``function`` to a source of ``height`` x ``width`` and write the result by bands of rows, from the top.

    Neighbors overlap by at least twice the reach; what a tile cannot know at its inner borders has weight zero, and in between a
    raised cosine leads over, so that weights sum to one and the result is that of the whole picture. ``done`` is told the share
    that is done after every tile.
    """
    rows, columns = _spans(height, plan), _spans(width, plan)
    across = _weights(columns, plan.reach or 0)
    band: Tensor | None = None
    scale = finished = count = 0
    for (top, bottom), down in zip(rows, _weights(rows, plan.reach or 0), strict=True):
        for (left, right), weight in zip(columns, across, strict=True):
            result = padded(function, window(top, bottom, left, right))[0].float().cpu()
            scale = result.shape[1] // (bottom - top)
            if band is None:
                band = torch.zeros(len(result), scale * min(plan.tile, height), scale * width)
            soft = _stretched(down, scale)[:, None] * _stretched(weight, scale)
            band[:, scale * (top - finished) : scale * (bottom - finished), scale * left : scale * right] += result * soft
            count += 1
            done(count / (len(rows) * len(columns)))
        assert band is not None
        until = bottom if bottom == height else rows[rows.index((top, bottom)) + 1][0]
        ready = scale * (until - finished)
        write(scale * finished, band[:, :ready])
        rest = band[:, ready:].clone()
        band[:, : rest.shape[1]] = rest
        band[:, rest.shape[1] :] = 0
        finished = until


def mirrored(window: Window, height: int, width: int, margin: int) -> Window:
    """A source of ``height`` x ``width`` that goes on as its mirror image by ``margin`` pixels on every side, borders repeated.

    A network that pads with zeros, as convolutions do, takes what is beyond the border for gray, and paints some of it inside. The
    mirror image is what lies there as far as anybody knows; smaller pictures made by a symmetric kernel go on like that exactly.
    """
    rows, columns = _mirror(height, margin), _mirror(width, margin)

    def larger(top: int, bottom: int, left: int, right: int) -> Tensor:
        down, across = rows[top:bottom], columns[left:right]
        first, start = int(down.min()), int(across.min())
        part = window(first, int(down.max()) + 1, start, int(across.max()) + 1)
        return part[:, :, down - first][:, :, :, across - start]

    return larger


def sampled(window: Window, height: int, width: int, side: int, channels: int) -> Tensor | None:
    """Pixels of a source of ``height`` x ``width`` in a grid of ``side`` a side at most, (1, channels, h, w); None for 0."""
    if not side:
        return None
    rows, columns = (torch.arange(n := min(full, side)) * full // n for full in (height, width))
    return torch.cat([window(row, row + 1, 0, width)[:, :channels, :, columns] for row in rows.tolist()], 2)


def within(write: Write, height: int, width: int, margin: int) -> Write:
    """Takes the rows of a result and passes on those ``height`` rows and ``width`` columns that have ``margin`` pixels around them."""

    def inner(first: int, rows: Tensor) -> None:
        top, bottom = max(margin, first), min(margin + height, first + rows.shape[1])
        if top < bottom:
            write(top - margin, rows[:, top - first : bottom - first, margin : margin + width])

    return inner


def _mirror(side: int, margin: int) -> Tensor:
    place = torch.arange(-margin, side + margin) % (2 * side)
    return torch.where(place < side, place, 2 * side - 1 - place)


def padded(function: Function, source: Tensor) -> Tensor:
    """``function`` of a source with sides below 16 pixels too: these are padded by their border, and the result is cut."""
    height, width = source.shape[2:]
    if min(height, width) >= LEAST:
        return function(source)
    large = functional.pad(source, (0, max(0, LEAST - width), 0, max(0, LEAST - height)), mode="replicate")
    result = function(large)
    scale = result.shape[2] // large.shape[2]
    return result[:, :, : scale * height, : scale * width]


def _spans(side: int, plan: Plan) -> list[tuple[int, int]]:
    """The first and the last but one place of each tile along a side."""
    if plan.tile >= side:
        return [(0, side)]
    return [(start, min(start + plan.tile, side)) for start in range(0, side - plan.overlap, plan.step)]


def _weights(spans: list[tuple[int, int]], reach: int) -> list[Tensor]:
    """How much each place of each tile counts; at every place of the side they sum to one."""
    weights = [torch.ones(end - start, dtype=torch.float64) for start, end in spans]
    for (_, end), (start, _), left, right in zip(spans, spans[1:], weights, weights[1:], strict=False):
        overlap = end - start
        blind = min(reach, (overlap - 1) // 2)
        rise = torch.zeros(overlap, dtype=torch.float64)
        rise[overlap - blind :] = 1
        soft = overlap - 2 * blind
        rise[blind : blind + soft] = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(soft, dtype=torch.float64) + 0.5) / soft)
        left[-overlap:] *= 1 - rise
        right[:overlap] *= rise
    return [weight.float() for weight in weights]


def _stretched(weight: Tensor, scale: int) -> Tensor:
    return weight.repeat_interleave(scale) if scale > 1 else weight
