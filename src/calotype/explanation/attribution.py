"""Which pixels a score comes from: integrated gradients, and Grad-CAM. Pure functions of a score and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calotype.networks.hooks import recorded

ImageScore = Callable[[Tensor, Tensor], Tensor]
"""Images (N, C, H, W) and what is asked of each, such as a class, (N,) int64, to scores (N,), each of its image alone."""

COMPLETE = 0.01  # of the difference between image and baseline that attributions may miss
FEWEST, MOST = 16, 1024  # intervals of the path
AT_ONCE = 8  # of them that are halved before the whole is looked at again
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
    an image is F(x) - F(x0) (completeness, proposition 1). The integral is computed by the trapezoidal rule. Of every interval it is known
    what the gradients along the way should add up to, which is the difference of the scores at its ends: those that miss most are halved
    until the whole is right to ``tolerance``. Near the baseline scores bend most, so that even intervals would take many times as many.

    Args:
        score: what is explained.
        x: images (N, C, H, W).
        target: what is asked of each, (N,) int64.
        baseline: broadcastable to an image: what counts as nothing to be seen.
        tolerance: the share of F(x) - F(x0) that may be missing; 0 takes ``most`` intervals.
        most: intervals: who is not complete then says so in ``remaining``.
    """
    found = [_integrated(score, x[i : i + 1], target[i : i + 1], baseline, tolerance, most) for i in range(len(x))]
    maps, gained, missing, steps = zip(*found, strict=True)
    gains, shares = torch.tensor(gained, dtype=torch.float64), torch.tensor(missing, dtype=torch.float64)
    return IntegratedGradients(torch.cat(maps), gains, shares, torch.tensor(steps, dtype=torch.int64))


def _integrated(
    score: ImageScore, x: Tensor, target: Tensor, baseline: Tensor, tolerance: float, most: int
) -> tuple[Tensor, float, float, int]:
    """Of one image: the attributions, what they should add up to, the share that is missing, and the intervals."""
    way = x - baseline
    along = way.cpu().double()  # sums are of doubles, on the CPU: not every device has any
    places = torch.linspace(0, 1, min(FEWEST, most) + 1, dtype=torch.float64)
    scores, gradients = _at(score, x, way, target, places)
    while True:
        slopes = (gradients.double() * along).flatten(1).sum(1)  # of the score along the way
        errors = scores.diff() - (slopes[1:] + slopes[:-1]) / 2 * places.diff()
        gained = float(scores[-1] - scores[0])
        missing = abs(float(errors.sum())) / max(abs(gained), 1e-12)
        if missing <= tolerance or len(errors) >= most:
            break
        worst = errors.abs().topk(min(AT_ONCE, len(errors), most - len(errors))).indices.sort().values
        middles = (places[worst] + places[worst + 1]) / 2
        more, sloped = _at(score, x, way, target, middles)
        order = torch.cat([places, middles]).argsort()
        places = torch.cat([places, middles])[order]
        scores, gradients = torch.cat([scores, more])[order], torch.cat([gradients, sloped])[order]
    weights = torch.zeros(len(places), dtype=torch.float64)
    weights[1:] += places.diff() / 2
    weights[:-1] += places.diff() / 2
    mean = torch.einsum("k,kchw->chw", weights, gradients.double())
    return (mean * along).float().to(x.device), gained, missing, len(places) - 1


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


def _at(score: ImageScore, x: Tensor, way: Tensor, target: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (K,) float64 of places on the way to one image, and their gradients (K, C, H, W) float32, on the CPU."""
    back = (1 - places).to(way).view(-1, 1, 1, 1)
    points, asked = x - back * way, target.expand(len(places))
    scores, gradients = [], []
    for rows in _parts(points):
        with torch.enable_grad():
            at = points[rows].detach().requires_grad_()
            found = score(at, asked[rows])
            gradients.append(torch.autograd.grad(found.sum(), at)[0].cpu().float())
        scores.append(found.detach().cpu().double())
    return torch.cat(scores), torch.cat(gradients)


def _parts(x: Tensor) -> list[slice]:
    step = max(1, PIXELS // (x.shape[2] * x.shape[3]))
    return [slice(first, first + step) for first in range(0, len(x), step)]
