"""The recipe of feature spaces for one's own labelled images."""

from __future__ import annotations

from calotype.config import Config, Optimizer, Schedule, Training
from calotype.models.classifier import ClassifierConfig


def classifier() -> Config:
    """A recognizer of labelled images: not a generator, but the features that generators are scored in."""
    return Config(
        recipe="classifier",
        model=ClassifierConfig(),
        optimizer=Optimizer("adamw", lr=2e-3, betas=(0.9, 0.99), weight_decay=0.02),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=64, minutes=4.0),
    )
