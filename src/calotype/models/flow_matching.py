"""Flow matching: one network learns the velocity that carries noise to images along straight lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from calotype.diffusion.guidance import guide, scale_at
from calotype.diffusion.path import interpolate, velocity_to
from calotype.diffusion.samplers import SOLVERS, SolverName
from calotype.diffusion.times import logit_normal, steps_between
from calotype.errors import UserError
from calotype.networks.unet import UNet
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, Step

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

LEAST_TIME_LEFT = 0.05  # in the loss: errors of the image weigh at most 1 / 0.05 ** 2


@dataclass(frozen=True)
class FlowMatchingConfig:
    """A UNet, how it learns the way from noise to images, and how it is sampled."""

    kind: Literal["flow-matching"] = "flow-matching"
    conditional: bool = True  # learn the classes where the data have labels
    width: Annotated[int, Field(ge=8)] = 32  # channels of the first level
    multipliers: tuple[Count, ...] = (1, 2)  # channels of each level relative to width; each level halves the size
    depth: tuple[Count, ...] = (1, 2)  # residual blocks of each level, going down and again going up
    unshuffle: Literal[1, 2, 4, 8] | None = None  # fold so many pixels a side into channels first; by the size where none is given
    heads: Annotated[int, Field(ge=0)] = 0  # of the attention at the lowest level; 0 for none
    embedding: Count = 128  # numbers that time and class become
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of features dropped in training
    predict: Literal["image", "velocity"] = "image"  # what the network puts out; the other follows from it
    time_mean: float = -0.8  # of the logit of the training times: above 0 trains more near the image, below 0 near the noise
    time_spread: Positive = 1.0  # standard deviation of the logit of the training times
    label_dropout: Share = 0.1  # share of labels hidden in training, which guidance needs
    solver: SolverName = "heun"  # euler: one evaluation a step; heun: two, and far more exact
    steps: Count = 8  # of the solver when sampling
    shift: Positive = 1.0  # above 1 puts more steps near the noise
    guidance: Annotated[float, Field(ge=0)] = 2.0  # towards the class: 1 for none, more for clearer and less varied images
    guidance_interval: tuple[Share, Share] = (0.3, 1.0)  # times between noise (0) and image (1) at which guidance acts


class FlowMatching(Model):
    """Rectified flow (Liu et al. 2022; Lipman et al. 2022).

    The state at time t is x_t = (1 - t) noise + t image: noise at 0, an image at 1. The loss is the squared error of the velocity
    image - noise; following the learned velocity from noise gives images. The network itself puts out the image, which lies on
    a simpler set than a velocity full of noise, and the velocity follows from it (Li & He 2025). Times are logit-normal
    (Esser et al. 2024), and labels are hidden now and then for classifier-free guidance (Ho & Salimans 2022). Without labels
    the model is unconditional.

    Raises:
        UserError: where options contradict each other.
    """

    def __init__(self, config: FlowMatchingConfig, spec: ImageSpec) -> None:
        super().__init__()
        _check(config)
        self.config = config
        self.spec = spec
        self.classes = len(spec.classes) if config.conditional else 0
        self.conditional = self.classes > 0
        self.network = UNet(
            spec.channels,
            width=config.width,
            multipliers=config.multipliers,
            depth=config.depth,
            unshuffle=config.unshuffle or _unshuffle_for(spec.size),
            heads=config.heads,
            embedding=config.embedding,
            classes=self.classes,
            dropout=config.dropout,
        )

    def players(self) -> Sequence[Player]:
        """The velocity network."""
        return (Player("velocity", self.network, self._loss),)

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": self._error(batch, step.rng, self.config.label_dropout)}

    def _error(self, batch: Batch, rng: torch.Generator, label_dropout: float) -> Tensor:
        """The conditional flow matching objective (Lipman et al. 2022, equation 14): mean squared error of the velocity."""
        image = batch.image
        time = logit_normal(len(image), rng, mean=self.config.time_mean, spread=self.config.time_spread)
        noise = torch.randn(image.shape, generator=rng, device=image.device)
        x = interpolate(noise, image, time)
        out = self.network(x, time, self._hidden(batch.condition.label, rng, label_dropout)).float()
        velocity = out if self.config.predict == "velocity" else velocity_to(out, x, time, LEAST_TIME_LEFT)
        target = image - noise if self.config.predict == "velocity" else velocity_to(image, x, time, LEAST_TIME_LEFT)
        return (velocity - target).square().mean()

    def _hidden(self, label: Tensor | None, rng: torch.Generator, share: float) -> Tensor | None:
        """The labels, some of them replaced by the one that means none."""
        if label is None or not self.classes:
            return None
        drop = torch.rand(label.shape, generator=rng, device=label.device) < share
        return torch.where(drop, self.classes, label)

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The loss on images and labels that were never trained on: it rises where the network begins to learn by heart."""
        return {"loss_holdout": self._error(holdout, step.rng, 0.0)}

    @torch.no_grad()
    def sample(
        self, noise: Noise, condition: Condition | None = None, *, steps: int | None = None, guidance: float | None = None
    ) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; without labels, those of a conditional model are drawn uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            steps: of the solver; those of the configuration where none are given.
            guidance: as in the configuration.

        Raises:
            UserError: for labels that the model does not know, or no steps.
        """
        scale = self.config.guidance if guidance is None else guidance
        steps = self.config.steps if steps is None else steps
        if steps < 1:
            raise UserError(f"sampling takes at least one step, not {steps}")
        start = noise.normal(*self.spec.shape)
        label = self.wanted(noise, condition)

        def velocity(x: Tensor, time: float) -> Tensor:
            return self._guided(x, time, label, scale_at(time, scale, self.config.guidance_interval))

        times = steps_between(steps, self.config.shift)
        return SOLVERS[self.config.solver](velocity, start, times).clamp(-1, 1)

    def _guided(self, x: Tensor, time: float, label: Tensor | None, scale: float) -> Tensor:
        """The velocity at one time, with and without the label in one pass where guidance needs both."""
        if label is None or scale == 1:
            return self._velocity(x, time, label)
        labels = torch.cat([label, torch.full_like(label, self.classes)])
        conditional, unconditional = self._velocity(torch.cat([x, x]), time, labels).chunk(2)
        return guide(conditional, unconditional, scale)

    def _velocity(self, x: Tensor, time: float, label: Tensor | None) -> Tensor:
        out: Tensor = self.network(x, torch.full((len(x),), time, device=x.device), label)
        return out if self.config.predict == "velocity" else velocity_to(out, x, time)


def _unshuffle_for(size: int) -> int:
    """2, 4 or 8, such that the first level is at most 24 pixels wide where that is possible."""
    return next((factor for factor in (2, 4) if size <= 24 * factor), 8)


def _check(config: FlowMatchingConfig) -> None:
    if len(config.multipliers) != len(config.depth):
        raise UserError(
            f"multipliers and depth describe the same levels, but there are {len(config.multipliers)} and {len(config.depth)} of them"
        )
    lowest = config.width * config.multipliers[-1] if config.multipliers else 0
    if not lowest:
        raise UserError("a UNet needs at least one level: --model.multipliers 1 --model.depth 2")
    if config.heads and lowest % config.heads:
        raise UserError(
            f"{lowest} channels of the lowest level cannot be shared by {config.heads} heads: give a divisor with --model.heads"
        )
    if config.guidance_interval[0] > config.guidance_interval[1]:
        raise UserError("the guidance interval ends before it begins: --model.guidance-interval LOW HIGH")
