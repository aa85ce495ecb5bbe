"""Coupled GAN: pairs of images of two domains, drawn from noise, learned from images of either that are not paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.losses.adversarial import LOSSES
from calotype.models.translation import watched
from calotype.networks.blocks import evaluating
from calotype.networks.coupled import CoupledDiscriminator, CoupledGenerator, Sides, of_digits
from calotype.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from calotype.settings import Width, unless
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Source, Step

GameName = Literal["non_saturating", "least_squares", "hinge", "relativistic_pairing"]


@dataclass(frozen=True)
class CoupledGANConfig:
    """Two generators and two discriminators that share most of their layers."""

    kind: Literal["coupled"] = "coupled"  # the family
    network: Literal["dcgan", "digits"] = "dcgan"  # dcgan takes images of 8 to 256 pixels; digits is that of the paper, for 28
    width: Width = 32  # channels of the largest hidden maps
    spectral: bool = True  # spectral normalization of the discriminators
    loss: GameName = "non_saturating"  # what generators and discriminators play for
    latent: Width = 100  # numbers that a pair is made from

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.network == "dcgan", "`model.network=dcgan`", "width", "spectral")


class CoupledGAN(Model):
    """Learns the joint distribution of two domains from their marginal ones (Liu and Tuzel 2016), as `DrawsPairs` has it.

    Both games are played at once and their losses added. That pairs show the same follows from the layers that the networks share alone.

    Raises:
        UserError: where the data have no second side, or one that is paired or no picture of the same size.
    """

    def __init__(self, config: CoupledGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        other = _second(spec)
        self.config, self.spec = config, spec
        self.adversarial = LOSSES[config.loss]
        self.generator, self.discriminator = coupled(config, (spec.shape, (other.channels, spec.size, spec.size)))

    def players(self) -> Sequence[Player]:
        """Both discriminators, then both generators."""
        return (
            Player("discriminator", self.discriminator, self._discriminate),
            Player("generator", self.generator, self._generate),
        )

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images of the first domain in [-1, 1].

        Raises:
            UserError: where labels are given.
        """
        return self.sample_pairs(noise, condition, options)[0]

    def sample_pairs(
        self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None
    ) -> tuple[Tensor, Tensor]:
        """What ``sample`` draws, (noise.n, C, H, W), and its counterparts in the other domain, (noise.n, C', H, W), both in [-1, 1].

        Raises:
            UserError: where labels are given.
        """
        self.wanted(noise, condition)
        first, second = self.generator(noise.normal(self.config.latent))
        return first, second

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.config.latent,)

    @property
    def decoding(self) -> nn.Module:
        """Both generators, which share their first layers."""
        return self.generator

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) of the first domain in [-1, 1] of latents (N, latent)."""
        first: Tensor = self.generator(z)[0]
        return first

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminators make of training, generated and held-out images of both domains together."""
        with evaluating(self.generator, self.discriminator):
            on_real, on_fake = self._judge(_both(train), self._pairs(train, step))
            on_holdout = self.discriminator(*_both(holdout))
        boundary = self.adversarial.boundary
        middle = float(0.5 * (on_real.mean() + on_fake.mean())) if boundary is None else boundary
        return watched(on_real[:, None], on_fake[:, None], on_holdout[:, None], middle)

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        first, second = self._pairs(batch, step)
        step.cache |= {"first": first, "second": second}
        on_real, on_fake = self._judge(_both(batch), (first.detach(), second.detach()))
        return {"loss": self._loss("discriminator", on_fake, on_real), "d_real": on_real.mean(), "d_fake": on_fake.mean()}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        fake = (step.cache.pop("first"), step.cache.pop("second")) if "first" in step.cache else self._pairs(batch, step)
        if self.adversarial.needs_real:
            on_real, on_fake = self._judge(_both(batch), fake)
            return {"loss": self._loss("generator", on_fake, on_real)}
        return {"loss": self._loss("generator", self.discriminator(*fake), None)}

    def _loss(self, role: Literal["discriminator", "generator"], on_fake: Tensor, on_real: Tensor | None) -> Tensor:
        """The sum over the domains, which have as many logits each."""
        return 2 * self.adversarial.function(role, on_fake, on_real)

    def _pairs(self, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
        first, second = self.generator(torch.randn(len(batch.image), self.config.latent, generator=step.rng, device=batch.image.device))
        return first, second

    def _judge(self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The logits of real and of generated images of both domains, (2 N,) each, in one pass."""
        logits = self.discriminator(*(torch.cat(one) for one in zip(real, fake, strict=True))).view(2, 2, -1)
        on_real, on_fake = logits.unbind(1)
        return on_real.flatten(), on_fake.flatten()


def coupled(config: CoupledGANConfig, sides: Sides) -> tuple[CoupledGenerator, CoupledDiscriminator]:
    """Networks for images of two shapes (C, H, W), which differ in their channels at most.

    Raises:
        UserError: for images of a size that the network is not made for.
    """
    if config.network == "digits":
        return of_digits(sides, config.latent)
    generators = [DCGANGenerator(shape, latent=config.latent, width=config.width) for shape in sides]
    discriminators = [DCGANDiscriminator(shape, width=config.width, norm="none", spectral=config.spectral) for shape in sides]
    # of the second of each, only the layer that is not shared is kept
    makers, judges = [one.layers for one in generators], [one.layers for one in discriminators]
    return (
        CoupledGenerator(makers[0][:-1], [layers[-1] for layers in makers]),
        CoupledDiscriminator([layers[0] for layers in judges], judges[0][1:], discriminators[0].head),
    )


def _second(spec: ImageSpec) -> Source:
    """What is known of the second domain."""
    other = spec.source
    if other is None or other.paired:
        raise UserError(
            "a coupled GAN learns from two kinds of pictures that are not paired: name the second with `data.partner`, or how to make it "
            "with `data.degrade`, such as edges or invert, and give `data.paired=False`"
        )
    if other.scale != 1 or other.conditioning:
        raise UserError(f"a coupled GAN draws pairs of one size, which {other} does not give: take another `data.degrade`, such as edges")
    return other


def _both(batch: Batch) -> tuple[Tensor, Tensor]:
    """The images of both domains."""
    if batch.condition.source is None:
        raise ValueError("a coupled GAN learns from batches of two sides")
    return batch.image, batch.condition.source
