"""How different two images look, judged by a network that learned to see photographs, or by networks that nobody trained."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from calotype.degrade.base import round8
from calotype.losses.perceptual import STAGES, feature_distance
from calotype.metrics.features_kinds import RANDOM_SEEDS
from calotype.metrics.features_photos import PHOTOS
from calotype.metrics.features_space import hash_of
from calotype.networks.published import PhotographEye, file_of
from calotype.networks.recognizer import RandomNetwork

SQUARE = 128  # pixels a side that larger images are cut into
SQUARES = 8  # that are looked at of each image


class Eye(Protocol):
    """A network that sees images (N, C, H, W) in [-1, 1] as maps of features, level by level."""

    def maps(self, x: Tensor) -> list[Tensor]:
        """For each level (N, c, h, w)."""
        ...


def perceptual_distance(a: Tensor, b: Tensor, through: Collection[str] = ()) -> Tensor:
    """The distance of images (N, C, H, W) in [-1, 1] in features of photographs, (N,) float64.

    Those of the first five stages of EfficientNet-Lite0; where its weights are not installed, or a loss looked ``through`` that network
    (`calotype.types.Model.through`), those of three fixed random networks, which hardly see color and no content. Zero for equal
    images; the mean over squares of 128 pixels, of which large images have 8 looked at, evenly spread. Images are clipped and rounded to
    8 bit first. It is not LPIPS: see `calotype.losses.perceptual.feature_distance`.
    """
    return perceptual_distances([a], b, through)[0]


@torch.no_grad()
def perceptual_distances(images: Sequence[Tensor], truth: Tensor, through: Collection[str] = ()) -> list[Tensor]:
    """`perceptual_distance` of several sets of images to the same truth, which is looked at once."""
    total = [torch.zeros(len(truth), dtype=torch.float64) for _ in images]
    area, eyes = 0, _eyes(truth.shape[1], through)
    for rows, columns in _squares(truth.shape[2], truth.shape[3]):
        cut = (round8(x[:, :, rows, columns].detach().float().cpu()) for x in (truth, *images))
        true, *others = (x.contiguous(memory_format=torch.channels_last) for x in cut)
        size = true.shape[2] * true.shape[3]
        for eye in eyes:
            maps = eye.maps(true)
            for sum_, other in zip(total, others, strict=True):
                sum_ += size * feature_distance(eye.maps(other), maps)
        area += size
    return [sum_ / (area * len(eyes)) for sum_ in total]


def perceptual_name(channels: int, through: Collection[str] = ()) -> str:
    """What the distance is called where it is quoted: the kind of the features and the hash of their weights."""
    if _sees(through):
        return f"feature distance[{PHOTOS.network} stages 1-{STAGES}@{PHOTOS.sha256[:8]}]"
    mark = hash_of({f"{i}.{name}": t for i, network in enumerate(_random(channels)) for name, t in network.state_dict().items()})
    return f"feature distance[random x{len(RANDOM_SEEDS)}@{mark}]"


def _sees(through: Collection[str]) -> bool:
    return PHOTOS.network not in through and file_of(PHOTOS) is not None


def _eyes(channels: int, through: Collection[str]) -> Sequence[Eye]:
    return (PhotographEye(PHOTOS, STAGES),) if _sees(through) else _random(channels)


def _squares(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    down, across = (math.ceil(side / SQUARE) for side in (height, width))
    count = min(SQUARES, down * across)
    for number in range(count):
        row, column = divmod((2 * number + 1) * down * across // (2 * count), across)
        yield (
            slice(row * height // down, (row + 1) * height // down),
            slice(column * width // across, (column + 1) * width // across),
        )


@lru_cache(maxsize=2)
def _random(channels: int) -> tuple[RandomNetwork, ...]:
    networks = tuple(RandomNetwork(channels, seed).eval().requires_grad_(False) for seed in RANDOM_SEEDS)
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster by two thirds
    return networks
