"""Autoregressive models: one pixel after another, with an exact likelihood."""

from __future__ import annotations

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.autoregressive import AutoregressiveConfig


def pixelcnn() -> Config:
    """Gated PixelCNN (van den Oord et al. 2016): pixel by pixel, with an exact likelihood."""
    return Config(
        recipe="pixelcnn",
        model=AutoregressiveConfig(),
        optimizer=Optimizer("adamw", lr=4e-3, betas=(0.9, 0.98), weight_decay=0.01, clip=1.0),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=8, minutes=10, ema=0.05),
    )


def pixel_transformer() -> Config:
    """Causal transformer over runs of pixels (after Parmar et al. 2018 and Chen et al. 2020), sampled with a cache."""
    return Config(
        recipe="pixel-transformer",
        model=AutoregressiveConfig(network="transformer", width=128, depth=4, heads=4, segment=7),
        optimizer=Optimizer("adamw", lr=3e-3, betas=(0.9, 0.98), weight_decay=0.05, clip=1.0),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=8, minutes=10, ema=0.05),
    )


def pixelcnn_published() -> Config:
    """CIFAR-10 as in van den Oord et al. 2016: 15 gated layers of 128 features; published at 3.03 bits/dim.

    The head is the mixture of ten logistics of Salimans et al. 2017, whose network, with its shortcuts between resolutions, reaches 2.92.
    """
    return Config(
        recipe="pixelcnn",
        model=AutoregressiveConfig(width=128, depth=15, dropout=0.5, output="mixture", conditional=False),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=1e-3, betas=(0.95, 0.9995)),
        schedule=Schedule("cosine", final=0.01),
        train=Training(batch=128, epochs=400, ema_images=250_000),
    )


def pixel_transformer_published() -> Config:
    """CIFAR-10 as in Parmar et al. 2018 (Image Transformer): 12 layers of 512 features, ten logistics; published at 2.90 bits/dim."""
    return Config(
        recipe="pixel-transformer",
        model=AutoregressiveConfig(
            network="transformer", width=512, depth=12, heads=4, segment=1, dropout=0.3, output="mixture", conditional=False
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=5e-4, betas=(0.9, 0.98), clip=1.0),
        schedule=Schedule("cosine", warmup=0.02),
        train=Training(batch=64, epochs=300),
    )
