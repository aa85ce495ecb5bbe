"""Model folders of networks with random weights, for commands that put them to work."""

from __future__ import annotations

from pathlib import Path

import torch

from calotype.config import Config
from calotype.engine.run import Run
from calotype.models import build
from calotype.types import ImageSpec, Source
from tests.small import small


def export(recipe: str, folder: Path, channels: int, source: Source | None) -> str:
    """A model folder of a network with random weights."""
    torch.manual_seed(0)
    spec = ImageSpec(24, channels, source=source)
    config: Config = small(recipe)
    model = build(config.model, spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    Run(folder).export(model, config, spec, 1, folder)
    return str(folder)
