"""Recipes cut down until a step takes milliseconds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calotype.capabilities import DrawsPairs
from calotype.config import Config, Data, Logging
from calotype.data import Split
from calotype.data.images import Images, make_images
from calotype.engine import checkpoint
from calotype.engine.images import augmentation_of, open_images
from calotype.models import (
    MODELS,
    AutoregressiveConfig,
    ClassifierConfig,
    ColorizerConfig,
    CUTConfig,
    CycleGANConfig,
    DenseNetConfig,
    DiffusionConfig,
    FlowConfig,
    GANConfig,
    HVAEConfig,
    Pix2PixConfig,
    ResNetConfig,
    RestorerConfig,
    SGANConfig,
    TarFlowConfig,
    TransferConfig,
    VQVAEConfig,
)
from calotype.recipes import RECIPES, named
from calotype.types import Condition, ImageSpec, Noise

PATCH = 24  # pixels a side that recipes which start from images are trained on here: a multiple of every scale

ONE_OF_EACH = list({type(named(name).model): name for name in reversed(RECIPES)}.values())
"""A recipe of each kind of model."""

TINY_GAN = ["gan", "--steps", "4", "--model.generator.width", "8", "--model.discriminator.width", "8"]
"""The words of `calotype train` for a GAN that takes no time."""

NARROW: dict[type, dict[str, Any]] = {
    DiffusionConfig: {"width": 16},
    FlowConfig: {"width": 8, "depth": 2},
    TarFlowConfig: {"width": 16, "layers": 1, "depth": 2, "patch": 7},
    ClassifierConfig: {"width": 16},
    ResNetConfig: {"width": 4},
    DenseNetConfig: {"depth": 10, "growth": 4},
    SGANConfig: {"width": 8, "discriminator_width": 4, "latent": 8},
    TransferConfig: {"tune": 1, "probe": 24},
    AutoregressiveConfig: {"width": 8, "depth": 2},
    HVAEConfig: {"width": 8, "latent_blocks": 1},
    VQVAEConfig: {"width": 8, "codes": 16, "prior_width": 16, "prior_depth": 1, "prior_heads": 2},
    RestorerConfig: {"width": 8, "depth": 1},
    CycleGANConfig: {"width": 4, "discriminator_width": 8},
    CUTConfig: {"width": 4, "discriminator_width": 8, "features": 16},
    Pix2PixConfig: {"width": 4, "halvings": 3, "discriminator_width": 8},
    ColorizerConfig: {"width": 8, "depth": 1},
}
"""What makes the networks of each family small, where it takes more than their width."""


OF_RECIPE: dict[str, dict[str, Any]] = {"projected": {"discriminator.features": "random"}}
"""What makes one recipe small that takes more than its family."""


def small(name: str, steps: int = 6, **model: Any) -> Config:
    """The recipe as it is but for its size: its losses, penalties, optimizers and schedules are what is under test."""
    config = named(name)
    train = replace(config.train, batch=8, minutes=None, steps=steps, threads=1)
    data = small_data(config.data) if from_source(name) or config.data.size else config.data
    return replace(
        config,
        model=changed(config.model, **{**NARROW.get(type(config.model), {"width": 8}), **OF_RECIPE.get(name, {}), **model}),
        data=data,
        train=train,
        log=Logging(every=2, checkpoints=2, grid=4),
    )


def changed(config: Any, **settings: Any) -> Any:
    """A configuration with other settings, those of its parts by dotted names; what no GAN has by itself is that of both its networks."""
    for name, value in settings.items():
        if isinstance(config, GANConfig) and "." not in name and not hasattr(config, name):
            both = [side for side in ("generator", "discriminator") if hasattr(getattr(config, side), name)]
            config = changed(config, **{f"{side}.{name}": value for side in both})
            continue
        first, _, rest = name.partition(".")
        config = replace(config, **{first: changed(getattr(config, first), **{rest: value}) if rest else value})
    return config


def from_source(name: str) -> bool:
    """Whether a recipe makes images from images: it is fed by `condition_for`, and its images have the sizes of their sources."""
    return bool(MODELS[type(named(name).model)].from_source)


def in_pairs(name: str) -> bool:
    """Whether a recipe draws images of two domains together."""
    return issubclass(MODELS[type(named(name).model)], DrawsPairs)


def small_data(data: Data) -> Data:
    """The same degradation or partner on images of 28 pixels: photographs in small tiles, for digits have no color to restore.

    Clothes that are to be recognized are made as small as they can be.
    """
    if data.source == "clothing":
        return replace(data, size=32)
    return replace(data, source="photos", fit="tile", size=28, patch=PATCH) if data.source == "photos" else data


@lru_cache(maxsize=4)
def _opened(data: Data) -> Split:
    return open_images(data)


def split_of(name: str) -> Split:
    """The images that the small recipe trains on."""
    return _opened(small(name).data)


def spec_of(name: str, size: int | None = None, channels: int | None = None) -> ImageSpec:
    """What the model of a recipe is built for: images of this size, with channels of their own where none are given.

    For a recipe with two sides the description of the other one comes from its degradation or partner, as in a training.
    """
    if not (from_source(name) or in_pairs(name)):
        return ImageSpec(size or 28, channels or 1, tuple("0123456789"))
    side, train = size or (PATCH if from_source(name) else 28), split_of(name).train

    def blank(like: Images, channels: int | None) -> Images:
        return make_images(np.zeros((1, side, side, channels or like.spec.channels), np.uint8), None, (), "blank")

    images = replace(blank(train, channels), partner=None if train.partner is None else blank(train.partner, None))
    return replace(augmentation_of(small(name).data), patch=None).spec(images)


def condition_for(spec: ImageSpec, n: int, size: int | tuple[int, int] | None = None, seed: int = 0) -> Condition:
    """``n`` sources of random pixels such as a model for ``spec`` starts from, ``size`` pixels high and wide; none where it needs none."""
    if spec.source is None:
        return Condition()
    size = size or spec.size // spec.source.scale
    high, wide = (size, size) if isinstance(size, int) else size
    noise = Noise(n, seed)
    picture = noise.uniform(spec.source.channels, high, wide) * 2 - 1
    # in every map, 0 and 1 are valid values: nothing known and all known, no noise and a level
    maps = [noise.uniform(1, high, wide).round() for _ in spec.source.conditioning]
    return Condition(source=torch.cat([picture, *maps], 1))


def tiny_gan(steps: int) -> Config:
    """A fully connected GAN that takes thousands of steps a second."""
    return small("gan", steps, width=16, latent=4, depth=1)


def final_state(run: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint."""
    saved = checkpoint.load_newest(run / "checkpoints")
    assert saved is not None
    return saved.tensors


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
