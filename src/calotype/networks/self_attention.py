"""Attention among the places of a map, as adversarial networks have it (Zhang et al. 2019, Self-attention GANs)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """What each place of a map gathers from all others, added to it with a gain that starts at zero (Zhang et al. 2019, eq. 1 to 3).

    Queries and keys have an eighth of the channels and values half of them; keys and values are halved in size by the maximum of 2x2
    places, as in the authors' code. Products are not scaled.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2, ceil_mode=True).flatten(2) for layer in (self.key, self.value))
        # written out, because gradients of gradients go through it, which fused attention lacks
        share = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        gathered = (value @ share.transpose(1, 2)).view(x.shape[0], -1, *x.shape[2:])
        out: Tensor = x + self.gain.to(x.dtype) * self.out(gathered)
        return out


def attending(side: int, sides: list[int]) -> int | None:
    """After which of several blocks a map has attention: the first of the smallest with at least that side, or of the largest.

    None where ``side`` is 0.
    """
    return sides.index(min((one for one in sides if one >= side), default=max(sides))) if side else None
