"""CycleGAN: two translators that undo each other, learned from two sets of pictures that are not paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from calotype import parallel
from calotype.errors import UserError
from calotype.models.restorer import source_of
from calotype.models.translation import Direction, patch_discriminator, require_room, side_of, taken_for_real, told_apart, watched
from calotype.networks.blocks import evaluating
from calotype.networks.translator import ResNetTranslator
from calotype.settings import WIDEST, Depth, NotNegative, Width, unless
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step, chosen


@dataclass(frozen=True)
class CycleGANConfig:
    """Two generators, two discriminators and what binds them."""

    kind: Literal["cyclegan"] = "cyclegan"  # the family
    width: Annotated[Width, Field(ge=2)] = 12  # channels of a generator's first layer
    halvings: Annotated[int, Field(ge=0, le=4)] = 1  # how often a generator halves the map before its residual blocks
    blocks: Depth = 1  # residual blocks
    discriminator_width: Annotated[Width, Field(ge=2)] = 8  # channels of a discriminator's first layer
    discriminator_halvings: Annotated[int, Field(ge=1, le=3)] | None = (
        None  # 3 judge patches of 70 pixels; as many as fit where none is given
    )
    cycle_weight: NotNegative = 10.0  # weight of the L1 distance between a picture and its translation translated back
    identity_weight: NotNegative = 0.0  # relative to it, of the L1 distance between a picture and its translation to the side it is on
    pool: Annotated[int, Field(ge=0, le=WIDEST)] = 50  # earlier translations that the discriminators are shown again
    noise: NotNegative = 0.0  # standard deviation of noise on translations before they are translated back, against hidden information

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        alike = spec.source is not None and spec.source.channels == spec.channels
        return unless(alike, "two sides with the same number of channels", "identity_weight")


@dataclass(frozen=True)
class CycleGANSampling(SamplingOptions):
    """What a CycleGAN makes of what it is given."""

    direction: Direction = "a2b"  # from the source to the images that were trained on, or back


class ImagePool(nn.Module):
    """Earlier translations (Shrivastava et al. 2017, section 2.3), as 8-bit images; the same ones on all processes.

    A state of the training like any other: buffers, so that a resumed run sees what the uninterrupted one would.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, capacity: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(capacity, *shape, dtype=torch.uint8))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, fresh: Tensor, rng: torch.Generator) -> Tensor:
        """``fresh`` (N, C, H, W), of which about half are exchanged for earlier ones once the pool is full; until then it is filled."""
        capacity, count, filled = len(self.images), len(fresh), int(self.filled)
        if not capacity:
            return fresh
        rolls = parallel.of_first(torch.rand(capacity + count, generator=rng, device=fresh.device))
        kept = parallel.of_first(((fresh.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
        first = min(count, capacity - filled)  # these fill the pool and are shown as they are
        self.images[filled : filled + first] = kept[:first]
        self.filled += first
        others = min(count - first, capacity)
        if filled + first < capacity or not others:
            return fresh
        places, (swap,) = rolls[:capacity].argsort()[:others], torch.nonzero(rolls[capacity : capacity + others] < 0.5, as_tuple=True)
        shown = fresh.clone()
        shown[first + swap] = (self.images[places[swap]].to(fresh.dtype) / 127.5 - 1).to(fresh.dtype)
        self.images[places[swap]] = kept[first + swap]
        return shown


class CycleGAN(Model):
    """Learns to translate both ways without pairs (Zhu et al. 2017): least-squares GANs, and a cycle that must close.

    a2b makes an image of a source, b2a a source of an image.

    Raises:
        UserError: where there is no second kind of pictures.
    """

    from_source = True
    translates = True
    directions = ("a2b", "b2a")
    sampling = CycleGANSampling
    bf16_pays = False
    training_only = ("pools.",)  # pictures, which nobody who gets the model needs

    def __init__(self, config: CycleGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        side = side_of(spec)
        require_room(spec, config.halvings)
        self.config, self.spec = config, spec
        channels = {"a": side.channels, "b": spec.channels}
        self.generators = nn.ModuleDict({way: _generator(config, channels[way[0]], channels[way[2]]) for way in self.directions})
        self.discriminators = nn.ModuleDict(
            {s: patch_discriminator(c, config.discriminator_width, config.discriminator_halvings, spec.size) for s, c in channels.items()}
        )
        self.pools = nn.ModuleDict({s: ImagePool(config.pool, (c, spec.size, spec.size)) for s, c in channels.items()})
        self.mirrors = config.identity_weight > 0 and channels["a"] == channels["b"]

    def players(self) -> Sequence[Player]:
        """Both discriminators, then both generators."""
        return (
            Player("discriminator", self.discriminators, self._discriminate),
            Player("generator", self.generators, self._generate),
        )

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Translations (N, C, H, W) in [-1, 1] of ``condition.source``: a source for "a2b", an image of the other side for "b2a".

        ``noise`` has no part in it.

        Raises:
            UserError: for pictures whose channels are not those of the side that is translated from.
        """
        given, direction = source_of(condition), chosen(CycleGANSampling, options).direction
        wanted = side_of(self.spec).channels if direction == "a2b" else self.spec.channels
        if given.shape[1] != wanted:
            raise UserError(f"{direction} translates pictures of {wanted} channel{'s' * (wanted > 1)}, not {given.shape[1]}")
        translated: Tensor = self.generators[direction](given)
        return translated

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminator of the images makes of real and translated ones, and how well cycles close (L1 in [-1, 1])."""
        cycles = {}
        with evaluating(self.generators, self.discriminators):
            for name, batch in (("train", train), ("holdout", holdout)):
                source, image = source_of(batch.condition), batch.image
                again = self.generators["b2a"](self.generators["a2b"](source)), self.generators["a2b"](self.generators["b2a"](image))
                cycles[f"cycle_{name}"] = 0.5 * (l1_loss(again[0], source) + l1_loss(again[1], image))
            judge, fake = self.discriminators["b"], self.generators["a2b"](source_of(train.condition))
            return watched(judge(train.image), judge(fake), judge(holdout.image), boundary=0.5) | cycles

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        real = {"a": source_of(batch.condition), "b": batch.image}
        fake = {"a": self.generators["b2a"](real["b"]), "b": self.generators["a2b"](real["a"])}
        step.cache |= {f"fake_{side}": images for side, images in fake.items()}
        losses = {}
        for side in ("a", "b"):
            pool = self.pools[side]
            assert isinstance(pool, ImagePool)
            losses[side] = told_apart(self.discriminators[side], real[side], pool.exchange(fake[side].detach(), step.rng))
        return {"loss": losses["a"] + losses["b"], **losses}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        real, cycle, adversarial = {"a": source_of(batch.condition), "b": batch.image}, {}, {}
        mirrored = real["a"].new_zeros(())
        for way in self.directions:
            start, end = way[0], way[2]
            fake = step.cache.pop(f"fake_{end}", None)
            fake = self.generators[way](real[start]) if fake is None else fake
            adversarial[end] = taken_for_real(self.discriminators[end], fake)
            back = self.generators[f"{end}2{start}"](self._noisy(fake, step))
            cycle[start] = l1_loss(back, real[start])
            if self.mirrors:
                mirrored = mirrored + l1_loss(self.generators[way](real[end]), real[end])
        both = cycle["a"] + cycle["b"]
        loss = adversarial["a"] + adversarial["b"] + self.config.cycle_weight * (both + self.config.identity_weight * mirrored)
        return {"loss": loss, "adversarial": adversarial["a"] + adversarial["b"], "cycle": both} | (
            {"identity": mirrored} if self.mirrors else {}
        )

    def _noisy(self, images: Tensor, step: Step) -> Tensor:
        if not self.config.noise:
            return images
        return images + self.config.noise * torch.randn(images.shape, generator=step.rng, device=images.device)


def _generator(config: CycleGANConfig, channels: int, out: int) -> ResNetTranslator:
    return ResNetTranslator(channels, out, width=config.width, halvings=config.halvings, blocks=config.blocks)
