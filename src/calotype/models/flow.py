"""Normalizing flows of affine couplings: RealNVP and Glow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from calotype.flows.base import CompositeTransform, Transform
from calotype.flows.coupling import ChannelCoupling, CheckerboardCoupling
from calotype.flows.linear import ActNorm, InvertibleConv
from calotype.flows.shape import MultiScale, Squeeze, Standardize
from calotype.models.dequantized import DequantizedFlow, PixelsName, dequantization, pixels
from calotype.networks.coupling import CouplingNetwork
from calotype.settings import DEEPEST, Depth, NotNegative, Positive, Share, Width, unless
from calotype.types import ImageSpec

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class FlowConfig:
    """The steps of a flow, the networks in its couplings, and how pixels become real numbers."""

    kind: Literal["flow"] = "flow"
    architecture: Literal["glow", "realnvp"] = "glow"  # actnorm, 1x1 convolutions and channel couplings, or checkerboards as well
    conditional: bool = True  # learn the classes where the data have labels
    levels: Annotated[int, Field(ge=1, le=8)] = 2  # each folds 2x2 pixels into channels and all but the last factor half of them out
    depth: Depth = 6  # steps of each level (glow), couplings of each mask (realnvp)
    width: Annotated[Width, Field(ge=4)] = 32  # channels of the networks in the couplings
    blocks: Annotated[int, Field(ge=0, le=DEEPEST)] = 1  # residual blocks of each of these networks
    kernel: Literal[1, 3] = 3  # of the convolutions in these blocks
    embedding: Width = 32  # numbers that a class becomes
    label_dropout: Share = 0.1  # share of labels hidden in training: what is drawn or judged without one
    bound: Positive = 1.0  # largest absolute log-scale of a coupling
    pixels: PixelsName = "histogram"  # how pixels become real numbers: scaled, by a logit, or such that they are normal
    dequantization: Literal["uniform", "variational"] = "variational"  # noise added to pixels: the same for all, or learned
    temperature: NotNegative = 0.7  # of the latents when sampling: below 1 for clearer and less varied images

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return {
            **unless(self.conditional and spec.classes, "images with labels and `model.conditional=True`", "embedding", "label_dropout"),
            **unless(self.blocks, "`model.blocks` above 0", "kernel"),
        }


class Flow(DequantizedFlow):
    """RealNVP (Dinh et al. 2017) and Glow (Kingma & Dhariwal 2018).

    Both are chains of affine couplings on several scales, whose log-scales are bounded. Both normalize by actnorm, which unlike batch
    normalization gives an image the same likelihood whatever stands beside it. The classes enter the couplings and the prior.
    """

    def __init__(self, config: FlowConfig, spec: ImageSpec) -> None:
        super().__init__(
            spec,
            conditional=config.conditional,
            multiple=2 ** (config.levels if config.architecture == "glow" else config.levels - 1),
            label_dropout=config.label_dropout,
            temperature=config.temperature,
        )
        self.config = config
        features = config.embedding if self.classes else 0
        self.embed = nn.Embedding(self.classes + 1, features) if features else None
        self.dequantize = dequantization(config.dequantization, spec, config.width // 2)
        self.flow = CompositeTransform(
            [pixels(config.pixels), _multi_scale(config, (spec.channels, spec.size + self.pad, spec.size + self.pad), features)]
        )


def _multi_scale(config: FlowConfig, shape: Shape, features: int) -> MultiScale:
    levels: list[Transform] = []
    splits: list[Standardize] = []
    shapes: list[Shape] = []
    build = _glow_level if config.architecture == "glow" else _realnvp_level
    for index in range(config.levels):
        last = index == config.levels - 1
        steps, shape = build(config, shape, features, last)
        if last and features:
            steps.append(Standardize(_zero(nn.Linear(features, 2 * math.prod(shape))), config.bound))
        levels.append(CompositeTransform(steps))
        shapes.append(shape)
        if not last:
            c, h, w = shape
            splits.append(Standardize(CouplingNetwork(c - c // 2, 2 * (c // 2), width=config.width, depth=0, size=h), config.bound))
            shape = (c - c // 2, h, w)
    return MultiScale(levels, splits, shapes)


def _glow_level(config: FlowConfig, shape: Shape, features: int, last: bool) -> tuple[list[Transform], Shape]:
    c, h, w = shape[0] * 4, shape[1] // 2, shape[2] // 2
    steps: list[Transform] = [Squeeze()]
    for _ in range(config.depth):
        steps += [ActNorm(c), InvertibleConv(c), _channels(config, (c, h, w), features, swap=False)]
    return steps, (c, h, w)


def _realnvp_level(config: FlowConfig, shape: Shape, features: int, last: bool) -> tuple[list[Transform], Shape]:
    c, h, w = shape
    steps: list[Transform] = []
    for index in range(config.depth + int(last)):
        network = CouplingNetwork(c, 2 * c, width=config.width, depth=config.blocks, size=h, kernel=config.kernel, embedding=features)
        steps += [CheckerboardCoupling(network, config.bound, shape, odd=index % 2 == 1), ActNorm(c)]
    if last:
        return steps, shape
    c, h, w = c * 4, h // 2, w // 2
    steps.append(Squeeze())
    for index in range(config.depth):
        steps += [_channels(config, (c, h, w), features, swap=index % 2 == 1), ActNorm(c)]
    return steps, (c, h, w)


def _channels(config: FlowConfig, shape: Shape, features: int, *, swap: bool) -> ChannelCoupling:
    c, h, _ = shape
    network = CouplingNetwork(
        c - c // 2, 2 * (c // 2), width=config.width, depth=config.blocks, size=h, kernel=config.kernel, embedding=features
    )
    return ChannelCoupling(network, config.bound, swap=swap)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
