"""The networks that a GAN may be made of: a table of generators and one of discriminators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field

from calotype.errors import UserError
from calotype.networks.adversary import ImageDiscriminator, LatentGenerator
from calotype.networks.biggan import BigGANDiscriminator, BigGANDiscriminatorConfig, BigGANGenerator, BigGANGeneratorConfig
from calotype.networks.blocks import LabelEmbedding
from calotype.networks.dcgan import DCGANDiscriminator, DCGANDiscriminatorConfig, DCGANGenerator, DCGANGeneratorConfig
from calotype.networks.mlp import MLPDiscriminator, MLPDiscriminatorConfig, MLPGenerator, MLPGeneratorConfig
from calotype.networks.modern import ModernDiscriminator, ModernDiscriminatorConfig, ModernGenerator, ModernGeneratorConfig
from calotype.networks.progressive import (
    ProgressiveDiscriminator,
    ProgressiveDiscriminatorConfig,
    ProgressiveGenerator,
    ProgressiveGeneratorConfig,
)
from calotype.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from calotype.networks.residual_gan import ResNetDiscriminator, ResNetDiscriminatorConfig, ResNetGenerator, ResNetGeneratorConfig
from calotype.networks.skip import SkipGenerator, SkipGeneratorConfig
from calotype.networks.style import StyleDiscriminator, StyleDiscriminatorConfig, StyleGenerator, StyleGeneratorConfig

GeneratorConfig = Annotated[
    MLPGeneratorConfig
    | DCGANGeneratorConfig
    | ResNetGeneratorConfig
    | BigGANGeneratorConfig
    | ProgressiveGeneratorConfig
    | StyleGeneratorConfig
    | ModernGeneratorConfig
    | SkipGeneratorConfig,
    Field(discriminator="network"),
]
DiscriminatorConfig = Annotated[
    MLPDiscriminatorConfig
    | DCGANDiscriminatorConfig
    | ResNetDiscriminatorConfig
    | BigGANDiscriminatorConfig
    | ProgressiveDiscriminatorConfig
    | StyleDiscriminatorConfig
    | ModernDiscriminatorConfig
    | ProjectedDiscriminatorConfig,
    Field(discriminator="network"),
]


def _projected(shape: tuple[int, int, int], *, classes: int, **settings: Any) -> ImageDiscriminator:
    """Heads on features, and the plain discriminator that teaches before them."""
    discriminator = ProjectedDiscriminator(shape, classes=classes, **settings)
    if discriminator.warmup:
        discriminator.taught_by(DCGANDiscriminator(shape, classes=classes, width=discriminator.width // 2))
    return discriminator


GENERATORS: dict[type, Callable[..., LatentGenerator]] = {
    MLPGeneratorConfig: MLPGenerator,
    DCGANGeneratorConfig: DCGANGenerator,
    ResNetGeneratorConfig: ResNetGenerator,
    BigGANGeneratorConfig: BigGANGenerator,
    ProgressiveGeneratorConfig: ProgressiveGenerator,
    StyleGeneratorConfig: StyleGenerator,
    ModernGeneratorConfig: ModernGenerator,
    SkipGeneratorConfig: SkipGenerator,
}

DISCRIMINATORS: dict[type, Callable[..., ImageDiscriminator]] = {
    MLPDiscriminatorConfig: MLPDiscriminator,
    DCGANDiscriminatorConfig: DCGANDiscriminator,
    ResNetDiscriminatorConfig: ResNetDiscriminator,
    BigGANDiscriminatorConfig: BigGANDiscriminator,
    ProgressiveDiscriminatorConfig: ProgressiveDiscriminator,
    StyleDiscriminatorConfig: StyleDiscriminator,
    ModernDiscriminatorConfig: ModernDiscriminator,
    ProjectedDiscriminatorConfig: _projected,
}


def generator_of(
    config: GeneratorConfig, shape: tuple[int, int, int], latent: int, classes: int, label_scale: float = 1.0
) -> LatentGenerator:
    """A new generator of images (C, H, W)."""
    generator = GENERATORS[type(config)](shape, latent=latent, classes=classes, **_settings(config))
    for part in generator.modules():
        if isinstance(part, LabelEmbedding):
            part.scale = label_scale
    return generator


def discriminator_of(config: DiscriminatorConfig, shape: tuple[int, int, int], classes: int, frozen: int = 0) -> ImageDiscriminator:
    """A new discriminator of images (C, H, W), of which so many early blocks will not be trained (FreezeD, Mo et al. 2020).

    Raises:
        UserError: where it does not have so many.
    """
    discriminator = DISCRIMINATORS[type(config)](shape, classes=classes, **_settings(config))
    early = discriminator.early()
    if frozen > len(early):
        advice = f"has {len(early)} of them before its head: give at most as many" if early else "has none: give 0, or another network"
        raise UserError(
            f"`model.freeze_discriminator` keeps early blocks of the discriminator, and that of the network {config.network} {advice}"
        )
    for part in (part for block in early[:frozen] for part in block):
        part.requires_grad_(False)
    return discriminator


def _settings(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """What a network is built with."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name != "network"}
