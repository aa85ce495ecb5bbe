"""Holes filled along straight lines: what lies at both ends of each is looked up, and a network chooses among the directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.networks.blocks import padded
from calotype.networks.body import Body
from calotype.types import Source

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))  # rows and columns of a step
FARTHEST = 256  # steps after which a line ends
_NONE = 1e6  # steps to a known pixel where there is none
_TOLD = 3  # maps for each direction
_APART, _SHORT, _NARROW = 8.0, 5.0, 10.0  # of `preferred`, chosen on held-out photographs


class Rays(nn.Module):
    """Fills each missing pixel with a mixture of what lines through it in eight directions connect, and of its smooth filling.

    On each line the nearest known pixels to both sides are interpolated. An edge that enters a hole on one side and leaves it on the other
    goes on along one of them, however wide the hole is, while convolutions would have to carry it across; a network of them
    sees for each direction how long the line is, how well its ends agree and by how much it differs from the smooth filling, gives weights
    (softmax) and adds a correction. It starts with those of `preferred`.

    Args:
        source: What comes in: a picture whose holes have smooth colors, and a map "mask" that is one where pixels are known.
        out: Channels of the result, those of the picture.
        width: As the others those of `calotype.networks.restorer.Body`.
        depth: Blocks.
        levels: Halvings.
        unshuffle: Pixels a side that become one place.
    """

    def __init__(self, source: Source, out: int, *, width: int, depth: int, levels: int, unshuffle: int) -> None:
        super().__init__()
        self.channels, self.mask = source.channels, source.channels + source.conditioning.index("mask")
        told = source.channels + len(source.conditioning) + _TOLD * len(DIRECTIONS)
        self.body = Body(told, width=width, depth=depth, levels=levels, unshuffle=unshuffle, block="residual")
        self.tail = nn.Conv2d(width, (len(DIRECTIONS) + 1 + out) * unshuffle**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, source: Tensor) -> Tensor:
        """(N, channels + maps, H, W) to (N, out, H, W); known pixels as they are."""
        height, width = source.shape[2:]
        x = padded(source, self.body.multiple).float()
        picture, hole = x[:, : self.channels].permute(0, 2, 3, 1), x[:, self.mask] <= 0.5
        values, told = along(picture, hole)
        answer = functional.pixel_shuffle(self.tail(self.body(torch.cat([x, told], 1))), self.body.unshuffle)
        answer = answer.float().permute(0, 2, 3, 1)[hole]
        count = len(values)
        weights = (answer[:, :count] + preferred(told.permute(0, 2, 3, 1)[hole])).softmax(1)
        filled = (weights.T[..., None] * values).sum(0) + answer[:, count:]
        made = picture.contiguous().index_put((hole,), filled).permute(0, 3, 1, 2)
        return made[:, :, :height, :width]


def preferred(told: Tensor) -> Tensor:
    """Logits (n, D + 1) of the smooth filling and of each direction before anything was learned, by what is told of a pixel, (n, 3 D).

    Lines count the more, the better their ends agree and the shorter they are; in narrow holes there is nothing like the smooth filling.
    """
    apart, short = told[:, 1::_TOLD], told[:, 2::_TOLD]
    return torch.cat([_NARROW * short.mean(1, keepdim=True), _SHORT * short - _APART * apart], 1)


def along(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """What lines connect, for pictures (N, H, W, C) with smooth colors where ``hole`` (N, H, W) is true.

    Returns:
        For each of n missing pixels its smooth color, then that of each direction, (D + 1, n, C); and maps (N, 3 D, H, W) of each
        direction: how much brighter it is than the smooth color, how far its ends differ, and how short it is; zero where pixels are known.
    """
    n, height, width, channels = picture.shape
    at, flat = hole.flatten().nonzero()[:, 0], picture.reshape(-1, channels)
    smooth = flat[at]
    values, told = [smooth], torch.zeros(_TOLD * len(DIRECTIONS), n * height * width, device=picture.device)
    for number, (down, across) in enumerate(DIRECTIONS):
        near, far = (steps(hole, sign * down, sign * across).flatten()[at] for sign in (1, -1))
        first, second = ((steps_ < _NONE) for steps_ in (near, far))
        step = down * width + across
        ahead = flat[at + torch.where(first, near, 0).long() * step]
        behind = flat[at - torch.where(second, far, 0).long() * step]
        share = torch.where(first & second, near / (near + far), torch.where(first, 0.0, 1.0))[:, None]
        value = torch.where((first | second)[:, None], ahead * (1 - share) + behind * share, smooth)
        length = torch.where(first & second, near + far, 2 * torch.minimum(near, far)) * (down**2 + across**2) ** 0.5
        apart = torch.where(first & second, (ahead - behind).abs().mean(1), 1.0)
        told[_TOLD * number : _TOLD * (number + 1), at] = torch.stack([(value - smooth).mean(1), apart, 8 / (8 + length)]).detach()
        values.append(value)
    return torch.stack(values), told.view(-1, n, height, width).transpose(0, 1)


@torch.no_grad()
def steps(hole: Tensor, down: int, across: int) -> Tensor:
    """How many steps of (down, across) lead from each pixel to one that is known, (N, H, W); `_NONE` or more where none does.

    By doubling: what is known of the steps to 2^k is also known of the pixel 2^k steps ahead.
    """
    found = torch.where(hole, _NONE, 0.0)
    reach = 1
    while reach < FARTHEST and reach * max(abs(down), abs(across)) < max(hole.shape[1:]):
        found = torch.minimum(found, _ahead(found, reach * down, reach * across) + reach)
        reach *= 2
    return found


def _ahead(x: Tensor, down: int, across: int) -> Tensor:
    """The values (N, H, W) from ``down`` rows and ``across`` columns ahead, `_NONE` from beyond the borders."""
    height, width = x.shape[1:]
    out = torch.full_like(x, _NONE)
    if abs(down) < height and abs(across) < width:
        to = [slice(max(-by, 0), side - max(by, 0)) for by, side in ((down, height), (across, width))]
        of = [slice(max(by, 0), side - max(-by, 0)) for by, side in ((down, height), (across, width))]
        out[:, to[0], to[1]] = x[:, of[0], of[1]]
    return out
