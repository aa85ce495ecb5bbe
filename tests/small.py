"""Recipes cut down until a step takes milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calotype.config import Config, Logging
from calotype.engine import checkpoint
from calotype.models import (
    AutoregressiveConfig,
    ClassifierConfig,
    DiffusionConfig,
    FlowConfig,
    GANConfig,
    HVAEConfig,
    TarFlowConfig,
    VAEConfig,
    VQVAEConfig,
)
from calotype.recipes import named

NARROW: dict[type, dict[str, Any]] = {
    GANConfig: {"width": 8},
    DiffusionConfig: {"width": 16},
    FlowConfig: {"width": 8, "depth": 2},
    TarFlowConfig: {"width": 16, "layers": 1, "depth": 2, "patch": 7},
    ClassifierConfig: {"width": 16},
    AutoregressiveConfig: {"width": 8, "depth": 2},
    VAEConfig: {"width": 8},
    HVAEConfig: {"width": 8, "rungs": 1},
    VQVAEConfig: {"width": 8, "codes": 16, "prior_width": 16, "prior_depth": 1, "prior_heads": 2},
}
"""What makes the networks of each family small."""


def small(name: str, steps: int = 6, **model: Any) -> Config:
    """The recipe as it is but for its size: its losses, penalties, optimizers and schedules are what is under test."""
    config = named(name)
    train = replace(config.train, batch=8, minutes=None, steps=steps, threads=1)
    model = {**NARROW[type(config.model)], **model}
    return replace(config, model=replace(config.model, **model), train=train, log=Logging(every=2, checkpoints=2, grid=4))


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
