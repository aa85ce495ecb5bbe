"""CUT: a translation in one direction, without pairs and without a way back, by what a place of the output shares with the input's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype import pictures
from calotype.losses.contrastive import patch_nce
from calotype.models.restorer import source_of
from calotype.models.translation import patch_discriminator, require_room, side_of, taken_for_real, told_apart, watched
from calotype.networks.blocks import evaluating
from calotype.networks.translator import PatchProjector, ResNetTranslator
from calotype.settings import Depth, NotNegative, Positive, Width
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step


@dataclass(frozen=True)
class CUTConfig:
    """A generator, a discriminator, and heads that compare places."""

    kind: Literal["cut"] = "cut"  # the family
    width: Annotated[Width, Field(ge=2)] = 12  # channels of the generator's first layer
    halvings: Annotated[int, Field(ge=0, le=4)] = 1  # how often the generator halves the map before its residual blocks
    blocks: Depth = 1  # residual blocks
    discriminator_width: Annotated[Width, Field(ge=2)] = 8  # channels of the discriminator's first layer
    discriminator_halvings: Annotated[int, Field(ge=1, le=3)] | None = (
        None  # 3 judge patches of 70 pixels; as many as fit where none is given
    )
    nce_weight: NotNegative = 1.0  # weight of the contrast between places of a translation and of what it was made from
    identity_weight: NotNegative = 1.0  # the same for images of the other side, which should stay as they are
    patches: Width = 64  # places of each map that are compared
    features: Width = 64  # numbers that a place becomes
    temperature: Positive = 0.07  # of the contrast: the smaller, the sharper


class CUT(Model):
    """Contrastive unpaired translation (Park et al. 2020): each place must be recognizable among others of the same picture.

    Raises:
        UserError: where there is no second kind of pictures.
    """

    from_source = True
    translates = True
    bf16_pays = False

    def __init__(self, config: CUTConfig, spec: ImageSpec) -> None:
        super().__init__()
        side = side_of(spec)
        require_room(spec, config.halvings)
        self.config, self.spec = config, spec
        generator = ResNetTranslator(side.channels, spec.channels, width=config.width, halvings=config.halvings, blocks=config.blocks)
        head, inner = 1, config.halvings + 2  # among what the generator's first half makes: the head's map, and the first block's
        self.layers = sorted({0, *range(head + 1, inner), inner, inner + (config.blocks - 1) // 2})
        widths = [
            side.channels,
            *(config.width << i for i in range(config.halvings + 1)),
            *[config.width << config.halvings] * config.blocks,
        ]
        self.translator = nn.ModuleDict(
            {"generator": generator, "heads": PatchProjector([widths[i] for i in self.layers], config.features)}
        )
        self.discriminator = patch_discriminator(spec.channels, config.discriminator_width, config.discriminator_halvings, spec.size)

    def players(self) -> Sequence[Player]:
        """The discriminator, then the generator with the heads."""
        return (
            Player("discriminator", self.discriminator, self._discriminate),
            Player("generator", self.translator, self._generate),
        )

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Translations (N, C, H, W) in [-1, 1] of ``condition.source``; ``noise`` has no part in them."""
        return self.translate(source_of(condition))

    def translate(self, source: Tensor) -> Tensor:
        """(N, C', H, W) to (N, C, H, W)."""
        translated: Tensor = self.translator["generator"](source)
        return translated

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminator makes of real and translated images, and the contrast on both parts."""
        with evaluating(self.translator, self.discriminator):
            parts = {"train": source_of(train.condition), "holdout": source_of(holdout.condition)}
            made = {name: self.translate(source) for name, source in parts.items()}
            judge = self.discriminator
            beliefs = watched(judge(train.image), judge(made["train"]), judge(holdout.image), boundary=0.5)
            return beliefs | {f"nce_{name}": self._contrast(made[name], source, step) for name, source in parts.items()}

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        fake = self.translate(source_of(batch.condition))
        step.cache["fake"] = fake
        return {"loss": told_apart(self.discriminator, batch.image, fake.detach())}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        source = source_of(batch.condition)
        fake = step.cache.pop("fake", None)
        fake = self.translate(source) if fake is None else fake
        terms = {"adversarial": taken_for_real(self.discriminator, fake), "nce": self._contrast(fake, source, step)}
        loss = terms["adversarial"] + self.config.nce_weight * terms["nce"]
        if self.config.identity_weight:
            own = pictures.like(batch.image, source)
            terms["identity"] = self._contrast(self.translate(own), own, step)
            loss = loss + self.config.identity_weight * terms["identity"]
        return {"loss": loss, **terms}

    def _contrast(self, made: Tensor, source: Tensor, step: Step) -> Tensor:
        """The loss between both pictures' features, averaged over the layers; the output is shown in the source's channels.

        Places of the output are the queries; those of the source are the keys, from which nothing is learned.
        """
        generator, heads = self.translator["generator"], self.translator["heads"]
        assert isinstance(generator, ResNetTranslator)
        with torch.no_grad():
            encoded = generator.encode(source)
            of_source = [encoded[i] for i in self.layers]
            places = [self._places(features, step) for features in of_source]
            keys = heads(of_source, places)
        of_made = generator.encode(pictures.like(made, source))
        queries = heads([of_made[i] for i in self.layers], places)
        losses = [patch_nce(q, k, self.config.temperature) for q, k in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()

    def _places(self, features: Tensor, step: Step) -> Tensor:
        count = features.shape[2] * features.shape[3]
        return torch.randperm(count, generator=step.rng, device=features.device)[: self.config.patches]
