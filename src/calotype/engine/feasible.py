"""What a training must be before anything of it is built: every setting has an effect, and the model fits the machine and the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from calotype.capabilities import MayIdle
from calotype.config import Config, Optimizer
from calotype.data.check import batch_for
from calotype.engine.device import require_memory, trainable
from calotype.engine.distributed import World
from calotype.engine.muon import hidden
from calotype.errors import SettingError, UserError
from calotype.models import MODELS, blank
from calotype.recipes import PUBLISHED, RECIPES
from calotype.settings import checked
from calotype.types import ImageSpec, Model

SECTIONS = ("model", "optimizer", "schedule", "train", "log")
PLAYERS = ("model.generator", "model.discriminator")  # of a GAN, which are configured by themselves


def require_effect(config: Config, spec: ImageSpec, besides: Sequence[Config] = ()) -> None:
    """Raise `UserError` for a setting that is neither the usual one nor read by anything: whoever set it expects something of it.

    Usual is what the recipe has, or one of the configurations ``besides``.
    """
    if config.data.patch is not None and not MODELS[type(config.model)].draws:
        raise SettingError("a classifier sees whole images, and never a part of them: leave out `data.patch`", "data.patch")
    usual = [*_presets(config), *besides]
    for section in (*SECTIONS, *PLAYERS):
        part = _section(config, section)
        for name, needed in part.idle(spec).items() if isinstance(part, MayIdle) else ():
            given = getattr(part, name)
            if given not in [getattr(one, name, None) for one in (type(part)(), *(_section(other, section) for other in usual))]:
                field = f"{section}.{name}"
                raise SettingError(f"`{field}` has no effect here without {needed}: leave it out, or give that as well", field)


def _section(config: Config, path: str) -> Any:
    """A part of a configuration by its place; None where a model has no such part."""
    part: Any = config
    for name in path.split("."):
        part = getattr(part, name, None)
    return part


def fitting(config: Config, count: int, parts: int = 1) -> Config:
    """The configuration with a batch that ``count`` images make, where it has that of its recipe, which is too large for them.

    ``parts`` share each batch. A batch that somebody asked for is left as it is.
    """
    if count >= config.train.batch or config.train.batch not in [preset.train.batch for preset in _presets(config)]:
        return config
    batch = max(1, batch_for(count) // parts) * parts
    return replace(config, train=replace(config.train, batch=batch))


def _presets(config: Config) -> list[Config]:
    """What the recipe of a configuration is by itself, in every preset that it has."""
    return [presets[config.recipe]() for presets in (RECIPES, PUBLISHED) if config.recipe in presets]


def require_room(config: Config, spec: ImageSpec, device: torch.device, world: World) -> None:
    """Raise `UserError` for a model that cannot be kept in memory while it is trained, and for batches too small for its layers."""
    model = blank(config.model, checked(ImageSpec, spec))
    size = needed(config.optimizer, model, device)
    what = f"training {sum(p.numel() for p in model.parameters()) / 1e6:,.1f} M parameters"
    if device.type == "cpu" and world.here > 1:  # each process has a model of its own in the one memory
        size, what = size * world.here, f"{what} in each of {world.here} processes"
    require_memory(size, what, "make the network smaller", device)
    parts = world.size * config.train.accumulate
    if config.train.batch // parts < model.least_batch:
        raise UserError(
            f"batch normalization has nothing to normalize in batches of {config.train.batch // parts}: give a `train.batch` of "
            f"{model.least_batch * parts} or more, or another normalization"
        )


def needed(optimizer: Optimizer, model: Model, device: torch.device) -> int:
    """Bytes that a training takes whatever the images: weights and their average, gradients, what the optimizer remembers.

    Where all of it is on the processor, a checkpoint takes as much again, twice: side by side in memory, and as the file to be written.
    """
    whole = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    weights = sum(p.numel() * p.element_size() for p in trainable(model))
    remembered = {"adam": 2, "adamw": 2, "muon": 2, "rmsprop": 1, "adagrad": 1, "sgd": 0}[optimizer.name] + (optimizer.momentum > 0)
    state = 2 * whole + remembered * weights
    if optimizer.name == "muon":  # one tensor of a hidden layer in place of two
        state -= sum(p.numel() * p.element_size() for player in model.players() for p in hidden(player.module))
    return int(state + weights + (2 * state if device.type == "cpu" else 0))
