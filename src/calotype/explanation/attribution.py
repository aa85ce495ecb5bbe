"""Which pixels a score comes from: integrated gradients, and Grad-CAM. Pure functions of a score and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calotype.explanation.layers import recorded

ImageScore = Callable[[Tensor, Tensor], Tensor]
"""Images (N, C, H, W) and what is asked of each, such as a class, (N,) int64, to scores (N,), each of its image alone."""

COMPLETE = 0.01  # of the difference between image and baseline that attributions may miss
FEWEST, MOST = 16, 1024  # intervals of the path
PIXELS = 64 * 32 * 32  # of the images that are differentiated at once
SIDE = 7  # places a side that a map of Grad-CAM has at least, as those of the ResNets of Selvaraju et al. (2017)


@dataclass(frozen=True)
class IntegratedGradients:
    """Attributions, and what they leave unexplained."""

    map: Tensor  # (N, C, H, W) float32: what each number of the image adds to the score
    gained: Tensor  # (N,) float64: the score of the image less that of the baseline, which the attributions add up to
    remaining: Tensor  # (N,) float64: the share of ``gained`` by which their sum misses it
    steps: Tensor  # (N,) int64: intervals that it took


def integrated_gradients(
    score: ImageScore, x: Tensor, target: Tensor, baseline: Tensor, *, tolerance: float = COMPLETE, most: int = MOST
) -> IntegratedGradients:
    """The gradients of a score along the straight way from a baseline to the image, times their difference.

    Sundararajan et al. (2017), equation 1: (x - x0) times the mean of dF/dx over x0 + a (x - x0), a in [0, 1]. The sum over all numbers of
    an image is F(x) - F(x0) (completeness, proposition 1). The integral is computed by the trapezoidal rule, whose intervals are halved
    until the sum is right to ``tolerance``; nothing is computed twice.

    Args:
        score: what is explained.
        x: images (N, C, H, W).
        target: what is asked of each, (N,) int64.
        baseline: broadcastable to ``x``: what counts as nothing to be seen.
        tolerance: the share of F(x) - F(x0) that may be missing; 0 takes ``most`` intervals.
        most: intervals, a power of two: who is not complete then says so in ``remaining``.

    Raises:
        ValueError: where ``most`` is no power of two.
    """
    if most < 1 or most & (most - 1):
        raise ValueError(f"the intervals are halved: give a power of two, not {most}")
    way = x - baseline
    ends = _scores(score, torch.cat([x, (x - way).expand_as(x)]), target.repeat(2)).view(2, -1)
    gained = ends[0] - ends[1]
    total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    steps, missed = torch.zeros_like(target), torch.full_like(gained, torch.inf)
    open_ = torch.arange(len(x), device=x.device)
    intervals = min(FEWEST, most)
    # the ends count half; those between are added as the intervals are halved
    shares, weights = torch.linspace(0, 1, intervals + 1), torch.ones(intervals + 1)
    weights[[0, -1]] = 0.5
    while True:
        total[open_] += _along(score, x[open_], way[open_], target[open_], shares, weights)
        sums = (total[open_] / intervals * way[open_]).flatten(1).sum(1)
        missed[open_] = (sums - gained[open_]).abs() / gained[open_].abs().clamp(min=1e-12)
        steps[open_] = intervals
        open_ = open_[missed[open_] > tolerance]
        if intervals == most or not len(open_):
            break
        intervals *= 2
        shares, weights = (torch.arange(intervals // 2) + 0.5) / (intervals // 2), torch.ones(intervals // 2)
    found = total / steps.view(-1, 1, 1, 1) * way
    return IntegratedGradients(found.float(), gained, missed, steps)


def grad_cam(score: ImageScore, layer: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Where the maps of a layer speak for a score: (N, h, w) float32 at their own size, nowhere below 0.

    Selvaraju et al. (2017), equations 1 and 2: the maps of the layer, each weighted by the mean of the score's gradient over it, added up;
    what is below zero, which speaks against the score, is cut off.

    Args:
        score: what is explained.
        layer: a module that ``score`` calls, whose output is (N, C', h, w).
        x: images (N, C, H, W).
        target: what is asked of each, (N,) int64.
    """
    found = []
    for rows in _parts(x):
        found.append(_grad_cam(score, layer, x[rows], target[rows]))
    return torch.cat(found)


def _grad_cam(score: ImageScore, layer: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    kept: list[Tensor] = []

    def look(module: nn.Module, given: object, out: object) -> None:
        assert isinstance(out, Tensor)
        kept.append(out)

    with torch.enable_grad(), recorded([layer], look):
        scores = score(x.detach().requires_grad_(), target)
        (gradient,) = torch.autograd.grad(scores.sum(), kept[-1])
    weights = gradient.float().mean((2, 3), keepdim=True)
    return (weights * kept[-1].detach().float()).sum(1).relu()


def spatial_layer(network: nn.Module, run: Callable[[], object], side: int = SIDE) -> tuple[str, nn.Module, tuple[int, int]]:
    """The last layer whose maps have ``side`` places a side or more: its name within ``network``, itself, and the size of its maps.

    Where the network has none, the finest. The last maps of a network mean most and say least of where: on small images they have 4x4
    places, which is no map of where.

    Args:
        network: whose layers are meant.
        run: what lets it judge an image.
        side: places a side.

    Raises:
        ValueError: for a network that makes no maps.
    """
    names = {module: name for name, module in network.named_modules() if name}
    seen: list[tuple[str, nn.Module, tuple[int, int]]] = []

    def look(module: nn.Module, given: object, out: object) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and min(out.shape[2:]) > 1:
            seen.append((names[module], module, (out.shape[2], out.shape[3])))

    with torch.no_grad(), recorded(list(names), look):
        run()
    if not seen:
        raise ValueError("the network makes no maps: there is no layer for Grad-CAM")
    fine = [one for one in seen if min(one[2]) >= side]
    return fine[-1] if fine else max(reversed(seen), key=lambda one: min(one[2]))


def _scores(score: ImageScore, x: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([score(x[rows], target[rows]).double() for rows in _parts(x)])


def _along(score: ImageScore, x: Tensor, way: Tensor, target: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
    """The sum of the gradients (N, C, H, W) at shares of the way, each times its weight; as many at once as fit."""
    total = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    step = max(1, PIXELS // (len(x) * x.shape[2] * x.shape[3]))
    for first in range(0, len(shares), step):
        share, weight = (part[first : first + step].to(x.device).view(-1, 1, 1, 1, 1) for part in (shares, weights))
        points = (x - (1 - share) * way).flatten(0, 1)
        gradients = _gradients(score, points, target.repeat(len(share))).view(len(share), *x.shape)
        total += (weight * gradients).sum(0)
    return total


def _gradients(score: ImageScore, x: Tensor, target: Tensor) -> Tensor:
    """Of each score by its own image, (N, C, H, W) float64."""
    found = []
    for rows in _parts(x):
        with torch.enable_grad():
            at = x[rows].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(score(at, target[rows]).sum(), at)
        found.append(gradient.double())
    return torch.cat(found)


def _parts(x: Tensor) -> list[slice]:
    step = max(1, PIXELS // (x.shape[2] * x.shape[3]))
    return [slice(first, first + step) for first in range(0, len(x), step)]
