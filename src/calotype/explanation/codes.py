"""Where directions are sought: among the latents of a model, or among the styles that its latents become first."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from calotype.capabilities import HasLatents, HasStyles
from calotype.tasks import latents
from calotype.tasks.sample import Generator
from calotype.types import Condition, Noise


class Codes:
    """The codes of a generator: (N, d) float32 rows that images are made of, its latents, or its styles where it has any.

    Styles lie less twisted than latents (Karras et al. 2019, section 4), so that directions among them are sought there.
    Raises `UserError` for a model without latents.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.model: HasLatents = latents.with_latents(generator)
        model = generator.model
        self.styled: HasStyles | None = model if isinstance(model, HasStyles) and model.has_styles else None
        self.name = "latents" if self.styled is None else "styles"

    @torch.no_grad()
    def of(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Codes (N, d) of latents (N, *latent_shape), and of labels (N,) of a conditional model."""
        if self.styled is None:
            return z.flatten(1)
        return self.styled.styles(z.to(self.generator.device), self._condition(label))[:, 0].float().cpu()

    def draw(self, count: int, seed: int, label: Tensor | None = None) -> Tensor:
        """Codes (count, d) of what the model draws of a seed, as `calotype sample` takes it."""
        return self.of(Noise(count, seed).normal(*self.model.latent_shape), label)

    @torch.no_grad()
    def images(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W) float32 in [-1, 1], on the CPU, of codes (N, d)."""
        if self.styled is None:
            return latents.decode(self.generator, codes.view(-1, *self.model.latent_shape), label)
        parts = (codes[at : at + latents.BATCH] for at in range(0, len(codes), latents.BATCH))
        return torch.cat([self.on_device(part.to(self.generator.device)).cpu() for part in parts])

    def on_device(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """The same on the model's device, all at once and with gradients where they are asked for."""
        if self.styled is None:
            return self.model.decode(codes.view(-1, *self.model.latent_shape), self._condition(label)).float()
        return self.styled.of_styles(codes).float()

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """Labels (count,) to make images with: those of one class, or of each in turn; None for an unconditional model."""
        if not self.generator.model.conditional:
            return None
        classes = len(self.generator.spec.classes)
        return torch.arange(count) % classes if label is None else torch.full((count,), label)

    @property
    def dimension(self) -> int:
        """d."""
        return (
            math.prod(self.model.latent_shape)
            if self.styled is None
            else self.of(torch.zeros(1, *self.model.latent_shape), self.labels(1)).shape[1]
        )

    def _condition(self, label: Tensor | None) -> Condition:
        return Condition(label if self.generator.model.conditional else None).to(self.generator.device)
