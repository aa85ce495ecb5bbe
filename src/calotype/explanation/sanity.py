"""Whether a map explains the network that it is drawn of, or would be drawn of any (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from calotype.networks.hooks import recorded

SURVIVES = 0.5  # rank correlation above which a map does not depend on the layer that tells classes apart
DRAWS = 3  # of random weights of the top layer
MAPS = 24  # pairs of maps that a verdict is of at least, where more draws can make them
SETTLING = 15  # uses after which the spectral norm of shuffled weights is known well enough
LAYERS = 10  # steps of the cascade at most

MapsAnew = Callable[[], Tensor]
"""Draws the maps (N, ...) of the same images anew, of the network as it is now, as readers see them: signed where they see signs."""


@dataclass(frozen=True)
class LayerSanity:
    """What is left of the maps after one more layer was randomized."""

    layer: str  # the last one that was randomized; all above it are, too
    correlation: float  # Spearman's, of the maps as they are shown; the mean over images and draws
    absolute: float  # the same of their absolute values
    error: float  # standard error of ``correlation`` over images


@dataclass(frozen=True)
class Sanity:
    """What is left of maps as the network loses what it has learned, from the top down."""

    cascade: tuple[LayerSanity, ...]

    @property
    def top(self) -> LayerSanity:
        """After the top layer alone."""
        return self.cascade[0]

    @property
    def refused(self) -> bool:
        """Whether the maps are not of this network: they look much the same when it no longer knows the classes."""
        return self.top.correlation > SURVIVES


def cascade(
    layers: list[tuple[str, list[nn.Module]]],
    maps: MapsAnew,
    *,
    seed: int = 0,
    most: int = LAYERS,
    progress: Callable[[int, int], None] | None = None,
) -> Sanity:
    """Randomize a network layer by layer from the top and see what becomes of its maps (Adebayo et al. 2018, section 3.1).

    Weights are randomized by shuffling (`shuffled`). The verdict hangs on the top layer: it is drawn several times. The network is as it
    was when this returns.

    Args:
        layers: as `layers_of` finds them, from the top down.
        maps: draws the maps (N, ...).
        seed: of the shuffles.
        most: steps, where there are more layers.
        progress: told how many of how many sets of maps are drawn.
    """
    original = maps()
    count = max(DRAWS, -(-MAPS // len(original)))
    places = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), most)).round().astype(int)).tolist()
    found, total = [], count + len(places) - 1
    for number, place in enumerate(places):
        pairs = []
        for draw in range(count if number == 0 else 1):
            with shuffled([module for _, part in layers[: place + 1] for module in part], seed + draw):
                pairs.append(_correlations(original, maps()))
            if progress is not None:
                progress(number + (draw if number == 0 else count - 1) + 1, total)
        signed, absolute = np.mean(pairs, axis=0)
        error = float(signed.std(ddof=1) / len(signed) ** 0.5) if len(signed) > 1 else float("nan")
        found.append(LayerSanity(layers[place][0], float(signed.mean()), float(absolute.mean()), error))
    return Sanity(tuple(found))


def layers_of(network: nn.Module, run: Callable[[], object]) -> list[tuple[str, list[nn.Module]]]:
    """The layers that ``run`` goes through, from the last to the first: names, and the modules that hold the weights of each.

    A layer is a map with a matrix of weights, such as a convolution, together with what normalizes its output, and with embeddings, which
    see no image: a discriminator that is told the class has one beside its last layer (Miyato & Koyama 2018), both of which make the score.
    """
    holders: dict[nn.Module, tuple[nn.Module, str]] = {}  # of weights that are computed, such as normalized ones: whose they are
    for name, module in network.named_modules():
        of = name.partition("parametrizations")[0].rstrip(".")
        holder = network.get_submodule(of)
        if _weights(holder):
            holders[module] = holder, of
    order: dict[nn.Module, str] = {}

    def look(module: nn.Module, given: object, out: object) -> None:
        holder, name = holders[module]
        order.setdefault(holder, name)

    with torch.no_grad(), recorded(list(holders), look):
        run()
    layers: list[tuple[str, list[nn.Module]]] = []
    for module, name in order.items():
        if not layers or (any(t.ndim > 1 for t in _weights(module)) and not isinstance(module, nn.Embedding)):
            layers.append((name or "the network", [module]))
        else:
            layers[-1][1].append(module)
    return layers[::-1]


@contextmanager
def shuffled(modules: list[nn.Module], seed: int) -> Iterator[None]:
    """For a while, what modules hold in tensors of their own stands in another order: as large as it was, and nothing learned is left.

    Numbers by channel (scales, shifts and running statistics of a normalization) keep each other's company, else a statistic would
    belong to another scale.
    """
    rng = torch.Generator().manual_seed(seed)
    kept = [(tensor, tensor.data.clone()) for module in modules for tensor in (*_weights(module), *_statistics(module))]
    try:
        for module in modules:
            alike: dict[int, Tensor] = {}
            for tensor in _weights(module):
                size = tensor.numel()
                order = torch.randperm(size, generator=rng) if tensor.ndim > 1 or size not in alike else alike[size]
                if tensor.ndim == 1:
                    alike[size] = order
                tensor.data.copy_(tensor.data.flatten()[order.to(tensor.device)].view_as(tensor))
            _settle(module)
        yield
    finally:
        for tensor, data in kept:
            tensor.data.copy_(data)


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two maps of one size, ties at their mean rank; 0 where one of them is the same everywhere."""
    x, y = rankdata(a.ravel()), rankdata(b.ravel())
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0


def _correlations(a: Tensor, b: Tensor) -> NDArray[np.float64]:
    """(2, N): of the maps as they are, and of their absolute values."""
    one, other = a.cpu().double().numpy(), b.cpu().double().numpy()
    pairs = list(zip(one, other, strict=True))
    return np.array([[rank_correlation(x, y) for x, y in pairs], [rank_correlation(np.abs(x), np.abs(y)) for x, y in pairs]])


def _weights(module: nn.Module) -> list[Tensor]:
    """The parameters and saved statistics that a module itself holds, but counters; of weights that are computed what they are made of."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if not isinstance(module, ParametrizationList):
        own += [part.original for part in _computed(module)]
    return [tensor for tensor in own if tensor.is_floating_point() and tensor.ndim > 0]


def _computed(module: nn.Module) -> list[ParametrizationList]:
    known = module.parametrizations if is_parametrized(module) else None
    found = known.values() if isinstance(known, nn.ModuleDict) else ()
    return [part for part in found if isinstance(part, ParametrizationList)]


def _statistics(module: nn.Module) -> list[Tensor]:
    """What the norms of weights remember of them."""
    return [buffer for part in _computed(module) for buffer in part.buffers()]


@torch.no_grad()
def _settle(module: nn.Module) -> None:
    """Let norms find the scale of the weights that they now have: they look for it in training, a step with each use."""
    for part in _computed(module):
        part.train()
        for _ in range(SETTLING):
            part()
        part.eval()
