"""The adversarial recipes on networks that came after DCGAN, each as small as minutes of two processor cores ask for."""

from __future__ import annotations

from calotype.config import Config, Optimizer, Schedule, Training
from calotype.models.gan_config import GANConfig
from calotype.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.modern import ModernDiscriminatorConfig, ModernGeneratorConfig
from calotype.networks.progressive import ProgressiveDiscriminatorConfig, ProgressiveGeneratorConfig
from calotype.networks.residual_gan import ResNetDiscriminatorConfig, ResNetGeneratorConfig
from calotype.networks.style import StyleGeneratorConfig
from calotype.recipes.gan import ADAM, DECAY

ATTENTION = 12  # the smallest map of at least so many pixels a side has attention
WIDER = (1, 2, 4)  # smaller maps have more channels than in the papers' networks for small images, which cost little there and teach much


def _config(recipe: str, model: GANConfig, *, optimizer: Optimizer = ADAM, schedule: Schedule = DECAY, batch: int = 32) -> Config:
    return Config(recipe=recipe, model=model, optimizer=optimizer, schedule=schedule, train=Training(batch=batch, minutes=4.0))


def resgan() -> Config:
    """Residual networks, the discriminator spectrally normalized (Miyato et al. 2018, appendix B), by class where there are labels.

    At twice the rate, which digits stand, the discriminator said the same of all photographs after some hundred steps.
    """
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=16, multipliers=WIDER),
        discriminator=ResNetDiscriminatorConfig(width=16, multipliers=WIDER),
        loss="hinge",
        conditional=True,
        latent=128,
    )
    return _config("resgan", model)


def sagan() -> Config:
    """Self-attention GAN (Zhang et al. 2019): residual networks by class, in both of which distant places look at each other.

    The paper normalizes the weights of the generator, too, which in so few steps made it draw one image of a class over and over.
    """
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=16, multipliers=WIDER, attention=ATTENTION),
        discriminator=ResNetDiscriminatorConfig(width=16, multipliers=WIDER, attention=ATTENTION),
        loss="hinge",
        conditional=True,
        latent=128,
        discriminator_lr_mult=2.0,
    )
    return _config("sagan", model)


def biggan() -> Config:
    """BigGAN (Brock et al. 2019): classes and parts of the latent reach every layer; made for truncation."""
    model = GANConfig(
        generator=BigGANGeneratorConfig(width=8, multipliers=(1, 4, 8), shared=32),
        discriminator=BigGANDiscriminatorConfig(width=8, multipliers=(1, 4, 8)),
        loss="hinge",
        conditional=True,
        latent=64,
        discriminator_lr_mult=2.0,
        orthogonal_weight=1e-4,
    )
    return _config("biggan", model)


def progan() -> Config:
    """Progressive growing (Karras et al. 2018): from images of 4 pixels a side to the whole size; here by class.

    By the relativistic loss with R1 and R2, and with classes told softly: else it drew one image of each in minutes.
    """
    model = GANConfig(
        generator=ProgressiveGeneratorConfig(width=8, widest=64, growth=0.3),
        discriminator=ProgressiveDiscriminatorConfig(width=8, widest=64, growth=0.3),
        loss="relativistic_pairing",
        conditional=True,
        label_scale=0.3,
        latent=128,
        penalty="r1_r2",
        penalty_weight=0.1,
        penalty_every=4,
    )
    return _config("progan", model, optimizer=Optimizer("adam", lr=3e-3, betas=ADAM.betas))


def stylegan2() -> Config:
    """StyleGAN2 (Karras et al. 2020): styles scale the layers of the generator, with path length regularization; by class, told softly.

    Weights of unit variance, equalized afterwards, take so few steps as minutes have only at a high rate. The paper's discriminator, with
    R1, takes half of the time on a processor and taught too little in minutes: here is a plain one, spectrally normalized, that halves
    images before anything else.
    """
    model = GANConfig(
        generator=StyleGeneratorConfig(width=8, widest=64, mixing=0.5),
        discriminator=DCGANDiscriminatorConfig(width=32, norm="none", spectral=True),
        loss="hinge",
        conditional=True,
        label_scale=0.5,
        latent=128,
        path_length_weight=2.0,
        path_length_every=16,
    )
    return _config("stylegan2", model, optimizer=Optimizer("adam", lr=5e-3, betas=ADAM.betas))


def r3gan() -> Config:
    """R3GAN (Huang et al. 2024): residual networks without normalization, the relativistic loss and penalties on both sides."""
    model = GANConfig(
        generator=ModernGeneratorConfig(width=64, wide=2, blocks=1),
        discriminator=ModernDiscriminatorConfig(width=64, wide=2, blocks=1),
        loss="relativistic_pairing",
        conditional=True,
        label_scale=0.07,  # classes that are told beside the latents as loudly as these would have one image each
        latent=64,
        penalty="r1_r2",
        penalty_weight=0.1,
        penalty_weight_end=0.02,
        penalty_every=4,
    )
    optimizer = Optimizer("adam", lr=2e-3, betas=(0.0, 0.9), beta2_end=0.99)
    return _config("r3gan", model, optimizer=optimizer, schedule=Schedule("cosine"), batch=16)


def acgan() -> Config:
    """Auxiliary classifier GAN (Odena et al. 2017): the discriminator tells classes apart, and images have to be told."""
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=16, multipliers=WIDER),
        discriminator=ResNetDiscriminatorConfig(width=16, multipliers=WIDER, head="auxiliary"),
        loss="hinge",
        conditional=True,
        latent=128,
        auxiliary=1.0,
    )
    return _config("acgan", model)


def pacgan() -> Config:
    """PacGAN (Lin et al. 2018): the discriminator judges two images as one, and sees when they are too much alike."""
    model = GANConfig(generator=DCGANGeneratorConfig(width=32, condition="norm"), discriminator=DCGANDiscriminatorConfig(width=32), pack=2)
    return _config("pacgan", model, batch=64)
