"""The adversarial recipes. Each fits its published original to small images and to minutes of two processor cores.

They share one finding: on a budget of thousands of steps Adam without momentum, with a short memory of squares and a high rate that
falls to zero, learns several times faster than with the settings of the papers, which were made for hundreds of thousands.
"""

from __future__ import annotations

from calotype.config import Config, Optimizer, Schedule, Training
from calotype.models.gan import GANConfig

_ADAM = Optimizer("adam", lr=1e-3, betas=(0.0, 0.99))
_DECAY = Schedule("linear")
_TRAINING = Training(batch=64, minutes=4.0)


def gan() -> Config:
    """The original GAN on fully connected networks (Goodfellow et al. 2014)."""
    return Config(
        recipe="gan",
        model=GANConfig(network="mlp", width=256, discriminator_norm="none", dropout=0.3),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=_TRAINING,
    )


def dcgan() -> Config:
    """Deep convolutional GAN (Radford et al. 2016)."""
    return Config(recipe="dcgan", model=GANConfig(width=32), optimizer=_ADAM, schedule=_DECAY, train=_TRAINING)


def lsgan() -> Config:
    """Least squares GAN (Mao et al. 2017)."""
    return Config(recipe="lsgan", model=GANConfig(width=32, loss="least_squares"), optimizer=_ADAM, schedule=_DECAY, train=_TRAINING)


def wgan() -> Config:
    """Wasserstein GAN with clipped weights (Arjovsky et al. 2017)."""
    return Config(
        recipe="wgan",
        model=GANConfig(width=32, loss="wasserstein", critic_steps=2, clip_weights=0.03),
        optimizer=Optimizer("rmsprop", lr=1e-3),
        schedule=_DECAY,
        train=_TRAINING,
    )


def wgan_gp() -> Config:
    """Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017)."""
    return Config(
        recipe="wgan-gp",
        model=GANConfig(width=32, loss="wasserstein", discriminator_norm="layer", critic_steps=2, penalty="gradient", penalty_weight=1.0),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=_TRAINING,
    )


def sngan() -> Config:
    """Spectrally normalized GAN with the non-saturating loss (Miyato et al. 2018)."""
    return Config(
        recipe="sngan",
        model=GANConfig(width=32, discriminator_norm="none", spectral=True),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=_TRAINING,
    )


def hinge() -> Config:
    """Spectrally normalized GAN with the hinge loss (Lim and Ye 2017; Miyato et al. 2018)."""
    return Config(
        recipe="hinge",
        model=GANConfig(width=32, loss="hinge", discriminator_norm="none", spectral=True),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=_TRAINING,
    )


def rpgan() -> Config:
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2024), by class where there are labels: the best of the GANs."""
    return Config(
        recipe="rpgan",
        model=GANConfig(
            width=32,
            conditional=True,
            loss="relativistic_pairing",
            discriminator_norm="none",
            penalty="r1_r2",
            penalty_weight=0.1,
            penalty_every=4,
        ),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=_TRAINING,
    )
