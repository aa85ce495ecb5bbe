"""Points in the plane: the testbeds of mode coverage, in a minute of one core."""

from __future__ import annotations

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.gan_config import GANConfig
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig


def points() -> Config:
    """Relativistic pairing GAN on fully connected networks, for points in the plane: the testbeds ring and grid.

    A high rate and a penalty that falls to zero bring points near to their modes within thousands of steps; more of the penalty keeps modes
    more even and points farther from them.
    """
    return Config(
        recipe="points",
        model=GANConfig(
            generator=MLPGeneratorConfig(width=128, activation="relu", norm="none"),
            discriminator=MLPDiscriminatorConfig(width=128, activation="relu"),
            loss="relativistic_pairing",
            latent=16,
            penalty="r1_r2",
            penalty_weight=0.004,
            penalty_weight_end=0.0,
            penalty_every=4,
        ),
        data=Data("ring"),
        optimizer=Optimizer("adam", lr=6e-3, betas=(0.0, 0.99)),
        schedule=Schedule("linear", warmup=0.05),
        train=Training(batch=128, minutes=1.0),
    )
