"""How different two images look, judged by networks that nobody trained."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from calotype.losses.perceptual import feature_distance
from calotype.metrics.features_kinds import RANDOM_SEEDS
from calotype.metrics.features_space import hash_of
from calotype.networks.recognizer import RandomNetwork


@torch.no_grad()
def perceptual_distance(a: Tensor, b: Tensor) -> Tensor:
    """The distance of images (N, C, H, W) in [-1, 1] in the features of three fixed random networks, (N,) float64.

    Zero for equal images; the mean over the networks. It is not LPIPS: see `calotype.losses.perceptual.feature_distance`. No
    network is one that trainings look through.
    """
    a, b = a.detach().float().cpu(), b.detach().float().cpu()
    total = torch.zeros(len(a), dtype=torch.float64)
    for network in _networks(a.shape[1]):
        total += feature_distance(network.maps(a), network.maps(b))
    return total / len(RANDOM_SEEDS)


def perceptual_name(channels: int) -> str:
    """What the distance is called where it is quoted: the kind of the features and the hash of their weights."""
    mark = hash_of({f"{i}.{name}": t for i, network in enumerate(_networks(channels)) for name, t in network.state_dict().items()})
    return f"feature distance[random x{len(RANDOM_SEEDS)}@{mark}]"


@lru_cache(maxsize=2)
def _networks(channels: int) -> tuple[RandomNetwork, ...]:
    return tuple(RandomNetwork(channels, seed).eval().requires_grad_(False) for seed in RANDOM_SEEDS)
