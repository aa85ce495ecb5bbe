"""The adversarial recipes. Each fits its published original to small images and to minutes of two processor cores.

They share one finding: on a budget of thousands of steps Adam without momentum, with a short memory of squares and a high rate that
falls to zero, learns several times faster than with the settings of the papers, which were made for hundreds of thousands.
"""

from __future__ import annotations

from typing import Any

from calotype.config import Config, Optimizer, Schedule, Training
from calotype.models.gan_config import GANConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig
from calotype.networks.norms import NormName
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.networks.skip import SkipGeneratorConfig

ADAM = Optimizer("adam", lr=1e-3, betas=(0.0, 0.99))
DECAY = Schedule("linear")
_TRAINING = Training(batch=64, minutes=4.0)


def _dcgan(norm: NormName = "batch", spectral: bool = False, **game: Any) -> GANConfig:
    """Networks of 32 channels; ``norm`` and ``spectral`` are the discriminator's.

    Classes, where they are learned, come in by the generator's normalizations: beside the latents they make it draw one image of each.
    """
    return GANConfig(
        generator=DCGANGeneratorConfig(width=32, condition="norm"),
        discriminator=DCGANDiscriminatorConfig(width=32, norm=norm, spectral=spectral),
        **game,
    )


def gan() -> Config:
    """The original GAN on fully connected networks (Goodfellow et al. 2014)."""
    return Config(
        recipe="gan",
        model=GANConfig(generator=MLPGeneratorConfig(), discriminator=MLPDiscriminatorConfig(dropout=0.3)),
        optimizer=ADAM,
        schedule=DECAY,
        train=_TRAINING,
    )


def dcgan() -> Config:
    """Deep convolutional GAN (Radford et al. 2016)."""
    return Config(recipe="dcgan", model=_dcgan(), optimizer=ADAM, schedule=DECAY, train=_TRAINING)


def lsgan() -> Config:
    """Least squares GAN (Mao et al. 2017)."""
    return Config(recipe="lsgan", model=_dcgan(loss="least_squares"), optimizer=ADAM, schedule=DECAY, train=_TRAINING)


def wgan() -> Config:
    """Wasserstein GAN with clipped weights (Arjovsky et al. 2017)."""
    return Config(
        recipe="wgan",
        model=_dcgan(loss="wasserstein", critic_steps=2, clip_weights=0.03),
        optimizer=Optimizer("rmsprop", lr=1e-3),
        schedule=DECAY,
        train=_TRAINING,
    )


def wgan_gp() -> Config:
    """Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017).

    A critic of several steps with a penalty at each has so few of them in the same minutes that it learns far less.
    """
    return Config(
        recipe="wgan-gp",
        model=_dcgan(norm="layer", loss="wasserstein", penalty="gradient", penalty_weight=1.0, penalty_every=4),
        optimizer=ADAM,
        schedule=DECAY,
        train=_TRAINING,
    )


def sngan() -> Config:
    """Spectrally normalized GAN with the non-saturating loss (Miyato et al. 2018)."""
    return Config(
        recipe="sngan",
        model=_dcgan(norm="none", spectral=True),
        optimizer=ADAM,
        schedule=DECAY,
        train=_TRAINING,
    )


def hinge() -> Config:
    """Spectrally normalized GAN with the hinge loss (Lim and Ye 2017; Miyato et al. 2018), by class where there are labels."""
    return Config(
        recipe="hinge",
        model=_dcgan(norm="none", spectral=True, loss="hinge", conditional=True),
        optimizer=ADAM,
        schedule=DECAY,
        train=_TRAINING,
    )


def rpgan() -> Config:
    """Relativistic pairing GAN with R1 and R2 (Huang et al. 2024), by class where there are labels.

    On plain networks: those of the paper, with its settings, are the recipe r3gan.
    """
    return Config(
        recipe="rpgan",
        model=_dcgan(norm="none", conditional=True, loss="relativistic_pairing", penalty="r1_r2", penalty_weight=0.1, penalty_every=4),
        optimizer=ADAM,
        schedule=DECAY,
        train=_TRAINING,
    )


def projected() -> Config:
    """Projected GAN (Sauer et al. 2021): a discriminator on features of photographs, the quickest way to plausible ones."""
    return Config(
        recipe="projected",
        model=GANConfig(
            generator=SkipGeneratorConfig(),
            discriminator=ProjectedDiscriminatorConfig(),
            loss="hinge",
            latent=128,
            augment=("translation", "cutout"),  # with color as well the generator is free to draw other colors than those of the images
        ),
        optimizer=ADAM,
        schedule=DECAY,
        train=Training(batch=32, minutes=20.0),
    )
