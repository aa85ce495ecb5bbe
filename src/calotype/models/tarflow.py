"""TarFlow: a normalizing flow of causal transformers over patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.flows.autoregressive import AutoregressiveFlow
from calotype.flows.base import CompositeTransform, parts
from calotype.flows.shape import Flat, Patches
from calotype.models.dequantized import DequantizedFlow, FlowSampling, PixelsName, dequantization, pixels
from calotype.networks.causal import CausalNetwork
from calotype.settings import Depth, NotNegative, Part, Positive, Share, Width, unless
from calotype.types import Condition, ImageSpec, Noise, SamplingOptions, chosen


@dataclass(frozen=True)
class TarFlowConfig:
    """A chain of causal transformers, each in the opposite direction to the one before."""

    kind: Literal["tarflow"] = "tarflow"
    conditional: bool = True  # learn the classes where the data have labels
    patch: Annotated[int, Field(ge=1, le=1024)] = 4  # pixels of a side of a token
    depth: Depth = 4  # autoregressive transforms
    layers: Depth = 2  # transformer blocks of each
    width: Annotated[Width, Field(ge=4)] = 64  # features of a token inside of the transformers
    heads: Width = 2  # of the attention
    embedding: Width = 32  # numbers that a class becomes
    dropout: Part = 0.0  # share of features dropped in training
    label_dropout: Share = 0.1  # share of labels hidden in training, which guidance needs
    bound: Positive = 3.0  # largest absolute log-scale of a transform
    pixels: PixelsName = "histogram"  # how pixels become real numbers: scaled, by a logit, or such that they are normal
    dequantization: Literal["uniform", "variational"] = "variational"  # noise added to pixels: the same for all, or learned
    temperature: NotNegative = 0.8  # of the latents when sampling: below 1 for clearer and less varied images
    guidance: NotNegative = 0.5  # away from what is drawn without a class: 0 for none, more for clearer and less varied images

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        labels = self.conditional and spec.classes
        return unless(labels, "images with labels and `model.conditional=True`", "embedding", "label_dropout", "guidance")


@dataclass(frozen=True)
class TarFlowSampling(FlowSampling):
    """How a TarFlow draws."""

    guidance: NotNegative | None = None  # away from what is drawn without a class: 0 for none, more for clearer and less varied images


class TarFlow(DequantizedFlow):
    """Transformer autoregressive flow (Zhai et al. 2024).

    Raises:
        UserError: where the width cannot be shared by the heads.
    """

    flow: CompositeTransform
    sampling = TarFlowSampling
    in_order = True

    def __init__(self, config: TarFlowConfig, spec: ImageSpec) -> None:
        super().__init__(
            spec,
            conditional=config.conditional,
            multiple=config.patch,
            label_dropout=config.label_dropout,
            temperature=config.temperature,
        )
        if config.width % config.heads:
            raise UserError(f"{config.width} features cannot be shared by {config.heads} heads: give a divisor with `model.heads`")
        self.config = config
        embedding = config.embedding if self.classes else 0
        self.embed = nn.Embedding(self.classes + 1, embedding) if embedding else None
        self.dequantize = dequantization(config.dequantization, spec, config.width // 2)
        side = spec.size + self.pad
        tokens, features = (side // config.patch) ** 2, spec.channels * config.patch**2

        def transform(index: int) -> AutoregressiveFlow:
            network = CausalNetwork(
                tokens,
                features,
                2 * features,
                width=config.width,
                depth=config.layers,
                heads=config.heads,
                embedding=embedding,
                dropout=config.dropout,
            )
            return AutoregressiveFlow(network, config.bound, backwards=index % 2 == 1)

        self.flow = CompositeTransform(
            [pixels(config.pixels), Patches(config.patch, side), *(transform(i) for i in range(config.depth)), Flat((tokens, features))]
        )

    def require_invertible(self, options: SamplingOptions | None = None) -> None:
        """As `DequantizedFlow.require_invertible`, and raise `UserError` for guidance, which mixes two maps of which neither leads back."""
        super().require_invertible(options)
        if self.conditional and (guidance := self._guidance(chosen(TarFlowSampling, options))):
            raise UserError(f"guidance={guidance:g} leads elsewhere than the flow, by which a watermark is read: take guidance=0")

    def _guidance(self, options: TarFlowSampling) -> float:
        return self.config.guidance if options.guidance is None else options.guidance

    @torch.no_grad()
    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; without labels, those of a conditional model are drawn uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `TarFlowSampling`; guidance is that of Zhai et al. (2024, section 2.5).

        Raises:
            UserError: for labels that the model does not know.
        """
        given = chosen(TarFlowSampling, options)
        guidance = self._guidance(given)
        label = self.wanted(noise, condition)
        z = self._latents(noise, given)
        towards, away = self._context(label, noise.n), self._context(None, noise.n)
        for part in reversed(parts(self.flow.transforms)):
            if self.conditional and isinstance(part, AutoregressiveFlow):
                z = part.inverse(z, towards, away, guidance)
            else:
                z = part.inverse(z, towards)
        return self._images(z)
