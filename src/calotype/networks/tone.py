"""One curve of brightness for a whole picture, drawn by a network that looks at all of it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from calotype.degrade.color import Luma
from calotype.networks.blocks import fitted
from calotype.precise import pooled
from calotype.types import Source

LEVELS = 32  # steps between the quantiles that the network is told, of four kinds of brightness
TAIL = 0.005  # share of the values at either end beyond them, as histograms are stretched
SAMPLED = 1 << 12  # pixels that quantiles are taken of
GLANCE = 96  # pixels a side of the small picture that is looked at
DEEPEST = 5  # convolutions, behind which a side is 3 places long
KNOTS = 16  # pieces of the curve
WITHHELD = 0.25  # share of the pictures that each kind of evidence is withheld from in training
TINT, SATURATION = 0.15, 0.4  # standard deviations of the logarithms of what colors of light and saturations are multiplied by
_ONE = 0.5413  # softplus of it is one


class Tone(nn.Module):
    """One increasing curve for all pixels and channels of a picture, found from its histogram and from what is on it.

    Too little light or contrast is one function of brightness for the whole picture, and what undoes it is another: a network that
    treats every place by itself has to guess it anew everywhere. Here quantiles of all values, of luma and of the largest and the smallest
    channel, and means and deviations of the features of a small copy (as in HDRnet, Gharbi et al. 2017), become the heights of a curve at
    its knots, which lie denser where it is dark; it is linear in between and goes on beyond. It starts as `calotype.degrade.tone.stretch`,
    which stretches the histogram to the full range. Gray stays gray, and no pixel overtakes a brighter one.

    A few hundred photographs have colors and a grain of their own, in which a brightness can be read that other pictures do not have. While
    it trains, the network therefore sees each picture in light of another color (`recolored`), and any kind of evidence is withheld from
    a quarter of the pictures.

    Args:
        source: What comes in.
        out: Channels of the result.
        width: Channels of the first features; the layers that draw the curve have eight times as many.
        depth: Convolutions, each to half the size of what it sees.
    """

    def __init__(self, source: Source, out: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.source, self.out = source, out
        wide = [source.channels, *(width * 2 ** min(i, 2) for i in range(depth))]
        layers: list[nn.Module] = []
        for before, after in pairwise(wide):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, padding_mode="replicate"), nn.SiLU()]
        self.look = nn.Sequential(*layers)
        told, hidden = 4 * (LEVELS + 1) + 2 + 2 * wide[-1], 8 * width
        self.think = nn.Sequential(nn.Linear(told, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.curve = nn.Linear(hidden, KNOTS + 1)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.curve.bias)
        self.bend = Bend()

    def forward(self, source: Tensor, whole: Tensor | None = None) -> Tensor:
        """(N, channels, H, W) to (N, out, H, W), by the curve of ``whole`` (N, channels, h, w) where it is a part of that."""
        with torch.autocast(source.device.type, enabled=False):
            low, span, heights = self.curves(source if whole is None else whole)
            picture = fitted(source[:, : self.source.channels].float(), self.out) / 2 + 0.5
            bent: Tensor = self.bend(picture, low, span, heights)
            return bent

    def curves(self, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of pictures in [-1, 1]: where in [0, 1] curves begin, (N, 1), how far they reach, (N, 1), their heights, (N, KNOTS + 1)."""
        picture = whole[:, : self.source.channels].float() / 2 + 0.5
        levels = _quantiles(picture)
        low, high = levels[:, 0, :1], levels[:, 0, -1:]
        span = (high - low).clamp(min=1 / 255)
        if self.training:
            picture = recolored(picture)
            levels = _quantiles(picture)
        histogram = (levels - low[..., None]) / span[..., None]
        seen = self.look((pooled(picture, GLANCE) - low[..., None, None]) / span[..., None, None] * 2 - 1)
        deviation = (seen.var((2, 3)) + 1e-6).sqrt()
        told = [*histogram.unbind(1), torch.cat([low, high], 1), torch.cat([seen.mean((2, 3)), deviation], 1)]
        if self.training:
            told = [part * (torch.rand_like(part[:, :1]) >= WITHHELD) for part in told]
        raw = self.curve(self.think(torch.cat(told, 1)))
        rise = _places(raw).diff() * functional.softplus(raw[:, 1:] + _ONE)
        return low, span, torch.cat([torch.zeros_like(low), rise.cumsum(1)], 1) + raw[:, :1] * 0.1


class Bend(nn.Module):
    """Pictures through curves that are linear between their knots: a layer of its own, so that its memory is counted."""

    def forward(self, picture: Tensor, low: Tensor, span: Tensor, heights: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to [-1, 1], as far as the heights are in [0, 1]; the other arguments are those of `Tone.curves`."""
        x = (picture.flatten(1) - low) / span
        which = (x.detach().clamp(0, 1).sqrt() * KNOTS).long().clamp_(max=KNOTS - 1)
        slope = heights.diff(dim=1) / _places(heights).diff()
        start = heights[:, :-1] - slope * _places(heights)[:-1]
        return (start.gather(1, which) + slope.gather(1, which) * x).view_as(picture) * 2 - 1


def recolored(picture: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] in light of random colors, more or less saturated, as bright as before; gray ones as they are."""
    if picture.shape[1] != 3:
        return picture
    luma = Luma()
    gray = luma.forward(picture)
    saturated = gray + (picture - gray) * torch.randn_like(gray[:, :, :1, :1]).mul(SATURATION).exp()
    lit = saturated * torch.randn_like(picture[:, :, :1, :1]).mul(TINT).exp()
    return lit * gray.mean((2, 3), keepdim=True) / luma.forward(lit).mean((2, 3), keepdim=True).clamp(min=1e-6)


def _places(like: Tensor) -> Tensor:
    """Where the knots are, (KNOTS + 1,) from 0 to 1."""
    return torch.linspace(0, 1, KNOTS + 1, device=like.device).square()


def _quantiles(picture: Tensor) -> Tensor:
    """Of (N, C, H, W): the quantiles of all values, of luma, of the largest and of the smallest channel, (N, 4, LEVELS + 1)."""
    flat = picture.flatten(2)
    flat = flat[:, :, :: -(-flat.shape[2] // SAMPLED)]
    luma = Luma().forward(flat[..., None]) if flat.shape[1] == 3 else flat[:, :1, :, None]
    ranked = [part.sort(1).values for part in (flat.flatten(1), luma.flatten(1), flat.amax(1), flat.amin(1))]
    share = torch.linspace(TAIL, 1 - TAIL, LEVELS + 1, device=picture.device)
    return torch.stack([part[:, (share * (part.shape[1] - 1)).round().long()] for part in ranked], 1)
