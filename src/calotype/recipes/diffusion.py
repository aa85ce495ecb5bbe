"""Diffusion: DDPM and EDM, and flow matching on a transformer."""

from __future__ import annotations

from dataclasses import replace

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.diffusion import DiffusionConfig


def ddpm() -> Config:
    """Denoising diffusion (Ho et al. 2020): the network finds the noise, on the cosine schedule of Nichol & Dhariwal (2021)."""
    return Config(
        recipe="ddpm",
        model=DiffusionConfig(
            path="vp-cosine", predict="noise", weighting="output", times="uniform", guidance_interval=(0.0, 1.0), solver="ddim", steps=20
        ),
        optimizer=Optimizer("adamw", lr=2e-3, betas=(0.9, 0.99)),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=32, minutes=8, ema=0.1),
    )


def edm() -> Config:
    """Diffusion as Karras et al. (2022) lay it out: a preconditioned network, log-normal noise levels, Heun's method.

    Trained on more noise than the photographs of the paper (P_mean 0, not -1.2): with few steps digits come out far better.
    """
    return Config(
        recipe="edm",
        model=DiffusionConfig(
            path="ve",
            predict="edm",
            weighting="output",
            time_mean=0.0,
            time_spread=1.2,
            guidance_interval=(0.0, 1.0),
            steps=10,
        ),
        optimizer=Optimizer("adamw", lr=2e-3, betas=(0.9, 0.99)),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=32, minutes=8, ema=0.1),
    )


def dit() -> Config:
    """Rectified flow on a small transformer of patches (Peebles & Xie 2023)."""
    return Config(
        recipe="dit",
        model=DiffusionConfig(network="dit", width=128, multipliers=(1,), depth=(4,), heads=4, unshuffle=4),
        optimizer=Optimizer("adamw", lr=1e-3, betas=(0.9, 0.99)),
        schedule=Schedule("cosine", warmup=0.05),
        train=Training(batch=32, minutes=8, ema=0.1),
    )


LARGE = DiffusionConfig(
    conditional=False, width=128, multipliers=(1, 2, 2, 2), depth=(4, 4, 4, 4), unshuffle=1, heads=1, embedding=512, guidance=1.0
)
"""The UNet of Ho et al. (2020, appendix B) as far as ours has its parts: 35.8 M parameters, attention at the lowest level only."""


def ddpm_published() -> Config:
    """Ho et al. (2020) on CIFAR-10: FID 3.17 after 800,000 steps, at most 3.75 bits/dim."""
    return Config(
        recipe="ddpm",
        model=replace(
            LARGE, path="vp-linear", predict="noise", weighting="output", times="uniform", dropout=0.1, solver="ddpm", steps=1000
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=2e-4, betas=(0.9, 0.999), clip=1.0),
        schedule=Schedule("constant", warmup=0.00625),
        train=Training(batch=128, steps=800_000, ema_images=900_000),
    )


def edm_published() -> Config:
    """Karras et al. (2022) on CIFAR-10, class-conditional: FID 1.79 with 35 evaluations after 200 million images."""
    return Config(
        recipe="edm",
        model=replace(
            LARGE,
            conditional=True,
            label_dropout=0.0,
            path="ve",
            predict="edm",
            weighting="output",
            time_mean=1.2,
            time_spread=1.2,
            dropout=0.13,
            steps=18,
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=1e-3, betas=(0.9, 0.999)),
        schedule=Schedule("constant", warmup=0.05),
        train=Training(batch=512, steps=390_625),
    )


def dit_published() -> Config:
    """DiT-S/2 of Peebles & Xie (2023), 32 M parameters: there FID 68.4 on latents of ImageNet at 256 x 256, here on CIFAR-10."""
    return Config(
        recipe="dit",
        model=DiffusionConfig(
            network="dit", width=384, multipliers=(1,), depth=(12,), heads=6, unshuffle=2, embedding=384, guidance=1.0, steps=50
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adamw", lr=1e-4, betas=(0.9, 0.999)),
        train=Training(batch=256, steps=400_000, ema_images=1_750_000),
    )
