"""Class-conditional flow matching: the default."""

from __future__ import annotations

from calotype.config import Config, Optimizer, Schedule, Training
from calotype.models.flow_matching import FlowMatchingConfig


def flow_matching() -> Config:
    """Rectified flow on a small UNet (Liu et al. 2022; Lipman et al. 2022): the best digits after a minute on two cores."""
    return Config(
        recipe="flow-matching",
        model=FlowMatchingConfig(),
        optimizer=Optimizer("adamw", lr=2e-3, betas=(0.9, 0.99)),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=32, minutes=1.25, ema=0.1),
    )
