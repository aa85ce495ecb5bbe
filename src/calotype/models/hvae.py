"""A hierarchical variational autoencoder: latents at several sizes, inferred from the top down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.losses.divergence import kl_standard, log_normal
from calotype.models.variational import Inference, ObjectiveConfig, Variational
from calotype.networks.ladder import Ladder, LevelPosterior
from calotype.settings import Depth, NotNegative, Width
from calotype.types import Condition, ImageSpec, Noise, Player, SamplingOptions, chosen


@dataclass(frozen=True)
class HVAEConfig(ObjectiveConfig):
    """A ladder of latents, and the objective that it is trained by."""

    kind: Literal["hvae"] = "hvae"
    latent: Width = 16  # numbers of the vector at the top
    channels: Width = 4  # latents at each position of a map
    latent_blocks: Depth = 2  # maps of latents of each size
    width: Annotated[Width, Field(ge=8)] = 32  # channels of the largest map; every smaller one has twice as many
    depth: Depth = 1  # residual blocks of each size in the encoder
    temperature: NotNegative = 1.0  # in sampling: scale of the latents, below 1 for cleaner and less varied images


@dataclass(frozen=True)
class HVAESampling(SamplingOptions):
    """How a hierarchical variational autoencoder draws."""

    temperature: NotNegative | None = None  # scale of the latents: below 1 for cleaner and less varied images


class HVAE(Variational):
    """A top-down hierarchy (ladder VAE, Sønderby et al. 2016; very deep VAE, Child 2021).

    A vector of latents comes first, then maps of them from small to large. The prior of each is normal with mean and scale learned
    from all above it, the posterior likewise, and from the image. Images are drawn as the decoder's expected pixels.

    Raises:
        UserError: where options contradict each other.
    """

    sampling = HVAESampling

    def __init__(self, config: HVAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.config = config
        self.ladder = Ladder(
            spec.shape,
            self.observation.outputs,
            latent=config.latent,
            channels=config.channels,
            latent_blocks=config.latent_blocks,
            width=config.width,
            depth=config.depth,
            classes=self.classes,
        )
        self._bounds = [0]
        for shape in self.ladder.shapes:
            self._bounds.append(self._bounds[-1] + prod(shape))

    def players(self) -> Sequence[Player]:
        """The ladder."""
        return (Player("autoencoder", self.ladder, self._loss),)

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; a conditional model without labels draws them uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `HVAESampling`.

        Raises:
            UserError: for labels that the model does not know.
        """
        temperature = chosen(HVAESampling, options).temperature
        latents = noise.normal(*self.latent_shape) * (self.config.temperature if temperature is None else temperature)
        return self._picture(latents, self.wanted(noise, condition))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(z,): the latents of all levels, from top to bottom."""
        return (self._bounds[-1],)

    @property
    def decoding(self) -> nn.Module:
        """The ladder, from the top down."""
        return self.ladder

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Posterior means (N, z) of images (N, C, H, W), of all levels from top to bottom in units of their priors.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        inference = self._infer(self._encode(x), self.needed(condition), None)
        return torch.cat([mean.flatten(1) for mean in inference.means], dim=1)

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Expected images (N, C, H, W) in [-1, 1] of latents (N, z) as ``encode`` gives them.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        return self._picture(z, self.needed(condition))

    def _picture(self, latents: Tensor, label: Tensor | None) -> Tensor:
        levels = [latents[:, a:b].view(-1, *s) for (a, b), s in zip(pairwise(self._bounds), self.ladder.shapes, strict=True)]
        return self.observation.mean(self.ladder(levels, label))

    def _encode(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.ladder.encoder(image)
        return features

    def _infer(self, features: list[Tensor], label: Tensor | None, rng: torch.Generator | None) -> Inference:
        def draw(mean: Tensor, log_scale: Tensor) -> Tensor:
            return mean if rng is None else mean + log_scale.exp() * torch.randn(mean.shape, generator=rng, device=mean.device)

        out, levels = self.ladder.infer(features, draw, label)
        return Inference(
            out=out,
            kl=tuple(_units(kl_standard(level.mean, level.log_scale)) for level in levels),
            means=tuple(_units(level.mean) for level in levels),
            log_weight=torch.stack([_log_weight(level) for level in levels]).sum(0),
        )


def _units(level: Tensor) -> Tensor:
    """(N, units) or (N, units, h, w) as (N, units, positions)."""
    return level.reshape(*level.shape[:2], -1)


def _log_weight(level: LevelPosterior) -> Tensor:
    zero = torch.zeros_like(level.mean)
    return (log_normal(level.latent, zero, zero) - log_normal(level.latent, level.mean, level.log_scale)).flatten(1).sum(1)
