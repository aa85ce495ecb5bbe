"""One file a family. A model's configuration stands beside it and is passed to nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from calotype.models.classifier import Classifier, ClassifierConfig
from calotype.models.flow_matching import FlowMatching, FlowMatchingConfig
from calotype.models.gan import GAN, GANConfig
from calotype.types import ImageSpec, Model

ModelConfig = Annotated[GANConfig | FlowMatchingConfig | ClassifierConfig, Field(discriminator="kind")]

MODELS: dict[type, Any] = {GANConfig: GAN, FlowMatchingConfig: FlowMatching, ClassifierConfig: Classifier}
"""The model that each configuration describes; each is built as ``model(config, spec)``."""


def build(config: ModelConfig, spec: ImageSpec) -> Model:
    """A new model with random weights for images like ``spec``."""
    model: Model = MODELS[type(config)](config, spec)
    return model


__all__ = [
    "GAN",
    "MODELS",
    "Classifier",
    "ClassifierConfig",
    "FlowMatching",
    "FlowMatchingConfig",
    "GANConfig",
    "ModelConfig",
    "build",
]
