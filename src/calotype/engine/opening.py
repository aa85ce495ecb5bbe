"""What a training asks of its settings and data before it begins, in the one order in which they are asked."""

from __future__ import annotations

import torch

from calotype.config import Config
from calotype.data import Split
from calotype.engine import feasible, selection, starting
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.engine.images import augmentation_of, fit_config, load_images


def opened(config: Config, device: torch.device, display: Display, world: World) -> tuple[Config, Split]:
    """The configuration as it fits its images, and these. Raises `UserError` for what no training can come of; nothing is written."""
    split = load_images(config, display, world)
    config = fit_config(config, split, world, display)
    spec = augmentation_of(config.data).spec(split.train)
    starting.require(config, spec)
    feasible.require_effect(config, spec, starting.usual(config))
    feasible.require_room(config, spec, device, world)
    selection.require(config, split)
    return config, split
