"""pix2pix: translation learned from pairs, by the distance to the truth and a discriminator that sees source and image together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import l1_loss

from calotype.errors import UserError
from calotype.losses.adversarial import non_saturating
from calotype.models.restorer import source_of
from calotype.models.translation import patch_discriminator, side_of, watched
from calotype.networks.blocks import evaluating
from calotype.networks.translator import UNetTranslator, halvings_of_unet
from calotype.settings import NotNegative, Part, Width
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step


@dataclass(frozen=True)
class Pix2PixConfig:
    """A U-Net, a discriminator of patches, and the weight between them."""

    kind: Literal["pix2pix"] = "pix2pix"  # the family
    width: Annotated[Width, Field(ge=2)] = 24  # channels of the generator's first layer
    halvings: Annotated[int, Field(ge=1, le=8)] | None = None  # of the U-Net; down to a map of two pixels a side where none is given
    norm: Literal["batch", "instance"] = "batch"  # normalization of the U-Net; the paper's batches of one make both the same
    dropout: Part = 0.5  # share of features dropped in the innermost layers of the way up, in training only
    discriminator_width: Annotated[Width, Field(ge=2)] = 8  # channels of the discriminator's first layer
    discriminator_halvings: Annotated[int, Field(ge=1, le=3)] | None = (
        None  # 3 judge patches of 70 pixels; as many as fit where none is given
    )
    l1_weight: NotNegative = 100.0  # weight of the L1 distance to the truth


class Pix2Pix(Model):
    """Image translation by a conditional GAN (Isola et al. 2017). Dropout is for training alone: a source has one translation.

    Raises:
        UserError: where there is no source, or where it is not paired with the image.
    """

    from_source = True
    translates = True
    bf16_pays = False

    def __init__(self, config: Pix2PixConfig, spec: ImageSpec) -> None:
        super().__init__()
        side = side_of(spec)
        if not side.paired:
            raise UserError("pix2pix learns from pairs: leave out `data.paired=False`, or train cyclegan or cut")
        self.config, self.spec = config, spec
        halvings = config.halvings or halvings_of_unet(spec.size)
        self.generator = UNetTranslator(
            side.channels, spec.channels, width=config.width, halvings=halvings, norm=config.norm, dropout=config.dropout
        )
        self.discriminator = patch_discriminator(
            side.channels + spec.channels, config.discriminator_width, config.discriminator_halvings, spec.size
        )

    def players(self) -> Sequence[Player]:
        """The discriminator, then the generator."""
        return (
            Player("discriminator", self.discriminator, self._discriminate),
            Player("generator", self.generator, self._generate),
        )

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Translations (N, C, H, W) in [-1, 1] of ``condition.source``; ``noise`` has no part in them."""
        translated: Tensor = self.generator(source_of(condition))
        return translated

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminator makes of real and translated pairs, and the L1 distance to the truth (in [-1, 1]) on both parts."""
        with evaluating(self.generator, self.discriminator):
            made = {name: self.generator(source_of(b.condition)) for name, b in (("train", train), ("holdout", holdout))}
            beliefs = watched(
                self._judge(train, train.image), self._judge(train, made["train"]), self._judge(holdout, holdout.image), boundary=0.0
            )
        return beliefs | {"l1_train": l1_loss(made["train"], train.image), "l1_holdout": l1_loss(made["holdout"], holdout.image)}

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        fake = self.generator(source_of(batch.condition))
        step.cache["fake"] = fake
        on_real, on_fake = self._judge(batch, batch.image), self._judge(batch, fake.detach())
        return {"loss": 0.5 * non_saturating("discriminator", on_fake, on_real)}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        fake = step.cache.pop("fake", None)
        fake = self.generator(source_of(batch.condition)) if fake is None else fake
        adversarial, distance = non_saturating("generator", self._judge(batch, fake)), l1_loss(fake, batch.image)
        return {"loss": adversarial + self.config.l1_weight * distance, "adversarial": adversarial, "l1": distance}

    def _judge(self, batch: Batch, image: Tensor) -> Tensor:
        """Logits (N, h, w) of whether the images belong to the batch's sources."""
        logits: Tensor = self.discriminator(torch.cat([source_of(batch.condition), image], 1))
        return logits
