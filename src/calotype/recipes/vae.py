"""Variational autoencoders. A mixture of logistics for each pixel tells ink from paper and both from the gray between them."""

from __future__ import annotations

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.hvae import HVAEConfig
from calotype.models.vae import VAEConfig
from calotype.models.vqvae import VQVAEConfig

_ADAM = Optimizer("adam", lr=2e-3, betas=(0.9, 0.99), clip=1.0)
_DECAY = Schedule("cosine", warmup=0.02)


def vae() -> Config:
    """Variational autoencoder with an 8-bit likelihood (Kingma & Welling 2014)."""
    return Config(
        recipe="vae",
        model=VAEConfig(latent=24, components=3),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=Training(batch=64, minutes=4.0),
    )


def vae_published() -> Config:
    """The network of Kingma & Welling 2014 (section 5): 500 hidden units, Bernoulli pixels, about 100 nats on MNIST with 20 latents."""
    return Config(
        recipe="vae",
        model=VAEConfig(network="mlp", width=500, depth=1, latent=20, likelihood="bernoulli", conditional=False),
        data=Data("mnist"),
        optimizer=Optimizer("adagrad", lr=0.02),
        train=Training(batch=100, epochs=1000, ema=0.0),
    )


def beta_vae() -> Config:
    """Beta-VAE: a heavier divergence, for latents that each mean one thing (Higgins et al. 2017)."""
    return Config(
        recipe="beta-vae",
        model=VAEConfig(latent=10, components=3, conditional=False, beta=4.0),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=Training(batch=64, minutes=4.0),
    )


def beta_vae_published() -> Config:
    """The network of Higgins et al. 2017 (table 1) for binary shapes of 64 pixels: fully connected, 10 latents, beta 4.

    Its data, 2D shapes, are none of the sources: give a folder of them with ``data.source``. Published: a disentanglement score of 99%.
    """
    return Config(
        recipe="beta-vae",
        model=VAEConfig(network="mlp", width=1200, depth=2, latent=10, beta=4.0, likelihood="bernoulli", conditional=False),
        data=Data("mnist", size=64),
        optimizer=Optimizer("adagrad", lr=0.01),
        train=Training(batch=64, steps=300_000, ema=0.0),
    )


def hvae() -> Config:
    """Hierarchical VAE: a vector and maps of latents, inferred from the top down (Sønderby et al. 2016; Child 2021)."""
    return Config(
        recipe="hvae",
        model=HVAEConfig(components=3, temperature=0.7),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=Training(batch=32, minutes=8.0),
    )


def hvae_published() -> Config:
    """A ladder of about the size of the very deep VAE (Child 2021, table 4), which has 40M parameters and 2.87 bits/dim on CIFAR-10.

    44 maps of latents make 50M parameters here.
    """
    return Config(
        recipe="hvae",
        model=HVAEConfig(latent=64, channels=16, latent_blocks=22, width=112, depth=4, components=10, conditional=False),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adamw", lr=2e-4, betas=(0.9, 0.9), weight_decay=0.01, clip=200.0),
        schedule=Schedule("constant", warmup=1e-4),
        train=Training(batch=32, steps=1_100_000),
    )


def vqvae() -> Config:
    """Vector-quantized VAE with a transformer prior over its codes (van den Oord et al. 2017)."""
    return Config(
        recipe="vqvae",
        model=VQVAEConfig(components=3, temperature=0.8),
        optimizer=_ADAM,
        schedule=_DECAY,
        train=Training(batch=64, minutes=6.0),
    )


def vqvae_published() -> Config:
    """The size of van den Oord et al. 2017 (section 4.1): 512 codes on an 8x8 grid, 256 channels; they report 4.67 bits/dim on CIFAR-10.

    Theirs has ten codes at each place and a PixelCNN for a prior; here it is one code and a transformer.
    """
    return Config(
        recipe="vqvae",
        model=VQVAEConfig(
            codes=512, features=64, width=128, depth=2, components=10, prior_width=512, prior_depth=8, prior_heads=8, conditional=False
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=2e-4, betas=(0.9, 0.999)),
        train=Training(batch=128, steps=250_000),
    )
