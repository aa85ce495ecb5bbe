"""Normalizing flows.

The laptop presets depart from the papers where minutes count: a histogram of the first batch makes the pixels normal before the flow
sees them, without which thousands of steps go into learning that most pixels of a digit are black; the noise within a pixel's bin is
learned; the networks know where in the image they are; and a high rate falls to zero over the budget.
"""

from __future__ import annotations

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.flow import FlowConfig
from calotype.models.tarflow import TarFlowConfig

_COUPLINGS = Optimizer("adamw", lr=5e-3, betas=(0.9, 0.99), clip=1.0)
_TRANSFORMERS = Optimizer("adamw", lr=3e-3, betas=(0.9, 0.99), clip=1.0)
_SCHEDULE = Schedule("cosine", warmup=0.05)
_TRAINING = Training(batch=32, minutes=8.0, ema=0.05)


def glow() -> Config:
    """Glow: actnorm, invertible 1x1 convolutions and affine couplings (Kingma & Dhariwal 2018)."""
    return Config(recipe="glow", model=FlowConfig(), optimizer=_COUPLINGS, schedule=_SCHEDULE, train=_TRAINING)


def realnvp() -> Config:
    """RealNVP: affine couplings of checkerboards and of channels (Dinh et al. 2017)."""
    model = FlowConfig(architecture="realnvp", depth=3)
    return Config(recipe="realnvp", model=model, optimizer=_COUPLINGS, schedule=_SCHEDULE, train=_TRAINING)


def tarflow() -> Config:
    """TarFlow: causal transformers over patches, each in the opposite direction to the one before (Zhai et al. 2024)."""
    return Config(recipe="tarflow", model=TarFlowConfig(), optimizer=_TRANSFORMERS, schedule=_SCHEDULE, train=_TRAINING)


def glow_published() -> Config:
    """Glow on CIFAR-10 (Kingma & Dhariwal 2018, table 2 and section 5): 3 levels of 32 steps, 512 channels; 3.35 bits/dim in the paper.

    The hidden 1x1 convolution of the paper's networks is residual and normalized here.
    """
    return Config(
        recipe="glow",
        model=FlowConfig(
            conditional=False, levels=3, depth=32, width=512, kernel=1, bound=2.0, pixels="scale", dequantization="uniform", temperature=0.7
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=1e-3, betas=(0.9, 0.999)),
        schedule=Schedule("constant", warmup=0.01),
        train=Training(batch=512, epochs=1800),
    )


def realnvp_published() -> Config:
    """RealNVP on CIFAR-10 (Dinh et al. 2017, section 4.1): 8 residual blocks of 64 channels in each coupling; 3.49 bits/dim in the paper.

    Actnorm takes the place of batch normalization, and every coupling has the same width.
    """
    return Config(
        recipe="realnvp",
        model=FlowConfig(
            architecture="realnvp", conditional=False, depth=3, width=64, blocks=8, bound=2.0, pixels="logit", dequantization="uniform"
        ),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adam", lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-5),
        train=Training(batch=64, epochs=500),
    )


def tarflow_published() -> Config:
    """TarFlow (Zhai et al. 2024, table 2): 8 transforms of 8 blocks, 768 features, patches of 2; 2.99 bits/dim on ImageNet at 64x64.

    For images like the paper's set ``data.source`` and ``data.size`` to 64. The paper found float32 necessary for likelihoods.
    """
    return Config(
        recipe="tarflow",
        model=TarFlowConfig(conditional=False, patch=2, depth=8, layers=8, width=768, heads=12, pixels="scale", dequantization="uniform"),
        data=Data("cifar10", flip=True),
        optimizer=Optimizer("adamw", lr=1e-4, betas=(0.9, 0.95), weight_decay=1e-4),
        schedule=Schedule("cosine", warmup=0.01, final=0.01),
        train=Training(batch=256, epochs=200, precision="fp32"),
    )
