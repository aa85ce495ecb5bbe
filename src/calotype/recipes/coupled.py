"""Coupled GANs: digits and drawings of their edges, made together from the same noise, though no pair of them was ever shown."""

from __future__ import annotations

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.coupled import CoupledGANConfig

_EDGES = Data("mnist5k", degrade="edges", paired=False)


def cogan() -> Config:
    """Coupled GAN (Liu and Tuzel 2016): pairs of images of two kinds, learned from images of either without pairs."""
    return Config(
        recipe="cogan",
        model=CoupledGANConfig(),
        data=_EDGES,
        optimizer=Optimizer("adam", lr=1e-3, betas=(0.0, 0.99)),
        schedule=Schedule("linear"),
        train=Training(batch=64, minutes=4.0),
    )


def cogan_published() -> Config:
    """The paper's: its networks for digits, the whole of MNIST, weight decay, and neither decay of the rate nor averaged weights."""
    return Config(
        recipe="cogan",
        model=CoupledGANConfig(network="digits"),
        data=Data("mnist", degrade="edges", paired=False),
        optimizer=Optimizer("adam", lr=2e-4, betas=(0.5, 0.999), weight_decay=5e-4),
        train=Training(batch=64, steps=5_000, ema=0),
    )
