"""The adversarial recipes as they were published: for a GPU and days, with the parameters and settings of the papers."""

from __future__ import annotations

from dataclasses import replace

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.gan_config import GANConfig
from calotype.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig
from calotype.networks.modern import ModernDiscriminatorConfig, ModernGeneratorConfig
from calotype.networks.progressive import ProgressiveDiscriminatorConfig, ProgressiveGeneratorConfig
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.networks.residual_gan import ResNetDiscriminatorConfig, ResNetGeneratorConfig
from calotype.networks.skip import SkipGeneratorConfig
from calotype.networks.style import StyleDiscriminatorConfig, StyleGeneratorConfig

_CIFAR = Data("cifar10", flip=False)
_FALLING = Schedule("linear")


def _config(recipe: str, model: GANConfig, optimizer: Optimizer, train: Training, schedule: Schedule | None = None) -> Config:
    return Config(recipe=recipe, model=model, data=_CIFAR, optimizer=optimizer, schedule=schedule or Schedule(), train=train)


def gan() -> Config:
    """Goodfellow et al. (2014) on MNIST: two layers of 1,200 rectifiers against two of 240 maxout units, SGD with momentum.

    Not as in the paper: its latents are uniform, a fifth of the pixels is dropped too, and momentum rises to 0.7 in the first 250 epochs;
    how long it trained it does not say. Nor does the learning rate fall slowly.
    """
    model = GANConfig(
        generator=MLPGeneratorConfig(width=1200, depth=2, activation="relu", norm="none"),
        discriminator=MLPDiscriminatorConfig(width=240, depth=2, activation="maxout", dropout=0.5),
    )
    config = _config("gan", model, Optimizer("sgd", lr=0.1, momentum=0.5), Training(batch=100, epochs=250, ema=0.0))
    return replace(config, data=Data("mnist", flip=False))


def dcgan() -> Config:
    """Radford et al. (2016): Adam with half of the usual momentum, batches of 128; 25 epochs of CIFAR-10."""
    model = GANConfig(generator=DCGANGeneratorConfig(), discriminator=DCGANDiscriminatorConfig())
    return _config("dcgan", model, Optimizer("adam", lr=2e-4, betas=(0.5, 0.999)), Training(batch=128, epochs=25, ema=0.0))


def lsgan() -> Config:
    """Mao et al. (2017) on bedrooms of 112 pixels: kernels of 5, latents of 1,024 numbers, Adam with half of the usual momentum.

    Not as in the paper: its networks stop at maps of 7 pixels, ours at 4, and its generator has transposed convolutions that keep the size
    between those that double it. How long it trained it does not say.
    """
    model = GANConfig(
        generator=DCGANGeneratorConfig(kernel=5),
        discriminator=DCGANDiscriminatorConfig(kernel=5),
        loss="least_squares",
        latent=1024,
    )
    config = _config("lsgan", model, Optimizer("adam", lr=1e-3, betas=(0.5, 0.999)), Training(batch=64, steps=200_000, ema=0.0))
    return _of_folder(config, 112, "bedrooms/")


def wgan() -> Config:
    """Arjovsky et al. (2017), algorithm 1: RMSprop, five steps of the critic, weights clipped at 0.01."""
    model = GANConfig(
        generator=DCGANGeneratorConfig(),
        discriminator=DCGANDiscriminatorConfig(),
        loss="wasserstein",
        critic_steps=5,
        clip_weights=0.01,
    )
    return _config("wgan", model, Optimizer("rmsprop", lr=5e-5), Training(batch=64, steps=200_000, ema=0.0))


def wgan_gp() -> Config:
    """Gulrajani et al. (2017) on CIFAR-10: residual networks of 128 channels, five steps of the critic, 100,000 of the generator.

    The authors' generator has batches of 128, here both players have 64.
    """
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=128),
        discriminator=ResNetDiscriminatorConfig(width=128, norm="none", spectral=False),
        loss="wasserstein",
        latent=128,
        critic_steps=5,
        penalty="gradient",
        penalty_weight=10.0,
    )
    return _config("wgan-gp", model, Optimizer("adam", lr=2e-4, betas=(0.0, 0.9)), Training(batch=64, steps=100_000, ema=0.0), _FALLING)


def sngan() -> Config:
    """Miyato et al. (2018), the convolutional networks of table 3 on CIFAR-10: spectral normalization, setting C of table 1.

    Not as in the paper: leaky rectifiers keep 0.2 of what is negative and not 0.1; biases that batch normalization takes away are left out.
    """
    model = GANConfig(
        generator=DCGANGeneratorConfig(same_size=True),
        discriminator=DCGANDiscriminatorConfig(norm="none", spectral=True, same_size=True),
        latent=128,
    )
    return _config("sngan", model, Optimizer("adam", lr=2e-4, betas=(0.5, 0.999)), Training(batch=64, steps=50_000, ema=0.0))


def hinge() -> Config:
    """The hinge loss (Lim and Ye 2017; Miyato et al. 2018) on the convolutional networks of sngan; on residual ones it is resgan's."""
    config = sngan()
    assert isinstance(config.model, GANConfig)
    return replace(config, recipe="hinge", model=replace(config.model, loss="hinge"))


def projected() -> Config:
    """Sauer et al. (2021) at 256 pixels: hinge, all augmentations, no warm-up, ten million images.

    Not as in the paper: the generator has maps of other widths and no random noise added to them, and learns no transposed convolution.
    """
    model = GANConfig(
        generator=SkipGeneratorConfig(width=128),
        discriminator=ProjectedDiscriminatorConfig(warmup=0.0),
        loss="hinge",
        latent=256,
        augment=("color", "translation", "cutout"),
    )
    train = Training(batch=64, steps=156_250, ema=0.05, ema_images=20_000)
    return _of_folder(_config("projected", model, Optimizer("adam", lr=2e-4, betas=(0.0, 0.99)), train), 256, "photos/")


def resgan() -> Config:
    """SNGAN on CIFAR-10 (Miyato et al. 2018): 256 and 128 channels, hinge, five steps of the discriminator.

    The paper's generator has batches of 128, here both players have 64.
    """
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=256),
        discriminator=ResNetDiscriminatorConfig(width=128),
        loss="hinge",
        latent=128,
        critic_steps=5,
    )
    return _config("resgan", model, Optimizer("adam", lr=2e-4, betas=(0.0, 0.9)), Training(batch=64, steps=50_000, ema=0.0), _FALLING)


def sagan() -> Config:
    """Zhang et al. (2019) at 128 pixels: attention at 64, the generator at a quarter of the discriminator's rate."""
    model = GANConfig(
        generator=ResNetGeneratorConfig(width=64, spectral=True, attention=64),
        discriminator=ResNetDiscriminatorConfig(width=64, attention=64),
        loss="hinge",
        conditional=True,
        latent=128,
        discriminator_lr_mult=4.0,
    )
    config = _config("sagan", model, Optimizer("adam", lr=1e-4, betas=(0.0, 0.9)), Training(batch=256, steps=1_000_000, ema=0.0))
    return _of_folder(config, 128)


def biggan() -> Config:
    """BigGAN on CIFAR-10 (Brock et al. 2019, appendix C.2): batches of 50, four steps of the discriminator, 64 channels."""
    model = GANConfig(
        generator=BigGANGeneratorConfig(shared=0),
        discriminator=BigGANDiscriminatorConfig(),
        loss="hinge",
        conditional=True,
        latent=128,
        critic_steps=4,
        orthogonal_weight=1e-4,
    )
    train = Training(batch=50, steps=100_000, ema=1.0, ema_images=1_390_000)
    return _config("biggan", model, Optimizer("adam", lr=2e-4, betas=(0.0, 0.999)), train)


def progan() -> Config:
    """Progressive growing on CIFAR-10 (Karras et al. 2018): 600,000 images for each size and as many for each fade, then more."""
    model = GANConfig(
        generator=ProgressiveGeneratorConfig(width=512, widest=512, growth=0.3),
        discriminator=ProgressiveDiscriminatorConfig(width=512, widest=512, growth=0.3),
        loss="wasserstein",
        latent=512,
        penalty="gradient",
        penalty_weight=10.0,
        drift=1e-3,
    )
    train = Training(batch=16, steps=750_000, ema=1.0, ema_images=11_000)
    return _config("progan", model, Optimizer("adam", lr=1e-3, betas=(0.0, 0.99)), train)


def stylegan2() -> Config:
    """StyleGAN2 on CIFAR-10 as Karras et al. (2020, training with limited data) have it: R1 of 0.01, neither path lengths nor mixing.

    Left out: the correction of rate and betas for lazy penalties, and groups of 32 for the standard deviation of a batch, which are 4 here.
    """
    model = GANConfig(
        generator=StyleGeneratorConfig(width=512, widest=512, styles=512, depth=2, mixing=0.0),
        discriminator=StyleDiscriminatorConfig(width=512, widest=512, residual=False),
        loss="non_saturating",
        latent=512,
        penalty="r1",
        penalty_weight=0.01,
        penalty_every=16,
    )
    train = Training(batch=64, steps=1_562_500, ema=0.05, ema_images=500_000)
    return _config("stylegan2", model, Optimizer("adam", lr=2.5e-3, betas=(0.0, 0.99)), train)


def r3gan() -> Config:
    """R3GAN, config E, on CIFAR-10 (Huang et al. 2024): all schedules along one cosine over 20 million images."""
    model = GANConfig(
        generator=ModernGeneratorConfig(),
        discriminator=ModernDiscriminatorConfig(),
        loss="relativistic_pairing",
        conditional=True,
        latent=64,
        penalty="r1_r2",
        penalty_weight=0.05,
        penalty_weight_end=0.005,
        augment=("adaptive",),
        augment_end=0.55,
    )
    train = Training(batch=512, steps=39_063, ema=0.25, ema_images=5_000_000, ema_ramp="cosine")
    optimizer = Optimizer("adam", lr=2e-4, betas=(0.0, 0.9), beta2_end=0.99)
    config = _config("r3gan", model, optimizer, train, Schedule("cosine", final=0.25))
    return replace(config, data=Data("cifar10", flip=True))


def _of_folder(config: Config, size: int, folder: str = "imagenet/") -> Config:
    """For a folder of photographs, brought to that size."""
    return replace(config, data=Data(folder, size=size, flip=True))
