"""One file a family. A model's configuration stands beside it and is passed to nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from calotype.errors import UserError
from calotype.models.autoregressive import Autoregressive, AutoregressiveConfig, AutoregressiveSampling
from calotype.models.classifier import Classifier, ClassifierConfig
from calotype.models.colorizer import Colorizer, ColorizerConfig
from calotype.models.coupled import CoupledGAN, CoupledGANConfig
from calotype.models.cut import CUT, CUTConfig
from calotype.models.cyclegan import CycleGAN, CycleGANConfig, CycleGANSampling
from calotype.models.dequantized import FlowSampling
from calotype.models.diffusion import Diffusion, DiffusionConfig, DiffusionSampling
from calotype.models.flow import Flow, FlowConfig
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig, GANSampling
from calotype.models.hvae import HVAE, HVAEConfig, HVAESampling
from calotype.models.pix2pix import Pix2Pix, Pix2PixConfig
from calotype.models.recognition import DenseNetClassifier, DenseNetConfig, ResNetClassifier, ResNetConfig
from calotype.models.restorer import Restorer, RestorerConfig
from calotype.models.semi_supervised import SemiSupervisedGAN, SGANConfig
from calotype.models.tarflow import TarFlow, TarFlowConfig, TarFlowSampling
from calotype.models.transfer import TransferClassifier, TransferConfig
from calotype.models.vae import VAE, VAEConfig
from calotype.models.vqvae import VQVAE, VQVAEConfig, VQVAESampling
from calotype.settings import Setting, described
from calotype.types import ImageSpec, Model

ModelConfig = Annotated[
    AutoregressiveConfig
    | GANConfig
    | CoupledGANConfig
    | DiffusionConfig
    | FlowConfig
    | TarFlowConfig
    | ClassifierConfig
    | ResNetConfig
    | DenseNetConfig
    | TransferConfig
    | SGANConfig
    | VAEConfig
    | HVAEConfig
    | VQVAEConfig
    | RestorerConfig
    | ColorizerConfig
    | CycleGANConfig
    | CUTConfig
    | Pix2PixConfig,
    Field(discriminator="kind"),
]

MODELS: dict[Any, type[Any]] = {
    GANConfig: GAN,
    CoupledGANConfig: CoupledGAN,
    DiffusionConfig: Diffusion,
    FlowConfig: Flow,
    TarFlowConfig: TarFlow,
    AutoregressiveConfig: Autoregressive,
    ClassifierConfig: Classifier,
    ResNetConfig: ResNetClassifier,
    DenseNetConfig: DenseNetClassifier,
    TransferConfig: TransferClassifier,
    SGANConfig: SemiSupervisedGAN,
    VAEConfig: VAE,
    HVAEConfig: HVAE,
    VQVAEConfig: VQVAE,
    RestorerConfig: Restorer,
    ColorizerConfig: Colorizer,
    CycleGANConfig: CycleGAN,
    CUTConfig: CUT,
    Pix2PixConfig: Pix2Pix,
}
"""The model that each configuration describes; each is built as ``model(config, spec)``."""


def build(config: ModelConfig, spec: ImageSpec) -> Model:
    """A new model with random weights for images like ``spec``.

    Raises:
        UserError: for settings that contradict each other or the images, and for points where the family makes none.
    """
    kind = MODELS[type(config)]
    if spec.points is not None and not kind.makes_points:
        raise UserError(f"a model of the kind {config.kind} makes no points, which {spec.points.name} holds: take `calotype train points`")
    model: Model = kind(config, spec)
    return model


def blank(config: ModelConfig, spec: ImageSpec) -> Model:
    """The same without memory: names, shapes and types of its tensors alone."""
    with torch.device("meta"):
        return build(config, spec)


def sampling_of_families() -> dict[str, tuple[Setting, ...]]:
    """What users may choose when they draw images from noise, by family; families without such options are left out."""
    drawing = {config: model for config, model in MODELS.items() if model.draws and not model.from_source}
    found = {config.kind: described(model.sampling, model.sampling.names()) for config, model in drawing.items()}
    return {family: settings for family, settings in found.items() if settings}


__all__ = [
    "CUT",
    "GAN",
    "HVAE",
    "MODELS",
    "VAE",
    "VQVAE",
    "Autoregressive",
    "AutoregressiveConfig",
    "AutoregressiveSampling",
    "CUTConfig",
    "Classifier",
    "ClassifierConfig",
    "Colorizer",
    "ColorizerConfig",
    "CoupledGAN",
    "CoupledGANConfig",
    "CycleGAN",
    "CycleGANConfig",
    "CycleGANSampling",
    "DenseNetClassifier",
    "DenseNetConfig",
    "Diffusion",
    "DiffusionConfig",
    "DiffusionSampling",
    "Flow",
    "FlowConfig",
    "FlowSampling",
    "GANConfig",
    "GANSampling",
    "HVAEConfig",
    "HVAESampling",
    "ModelConfig",
    "Pix2Pix",
    "Pix2PixConfig",
    "ResNetClassifier",
    "ResNetConfig",
    "Restorer",
    "RestorerConfig",
    "SGANConfig",
    "SemiSupervisedGAN",
    "TarFlow",
    "TarFlowConfig",
    "TarFlowSampling",
    "TransferClassifier",
    "TransferConfig",
    "VAEConfig",
    "VQVAEConfig",
    "VQVAESampling",
    "blank",
    "build",
    "sampling_of_families",
]
