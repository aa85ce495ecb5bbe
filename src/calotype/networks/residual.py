"""What residual generators and discriminators are made of (Gulrajani et al. 2017; Miyato et al. 2018, appendix B).

A block is two 3x3 convolutions, each after a normalization and a ReLU. What leads past them makes it *residual* (what comes in is added, He
et al. 2016), *dense* (every convolution sees all that came before it, Huang et al. 2017) or *plain* (nothing does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.networks.adversary import ImageDiscriminator
from calotype.networks.blocks import ProjectionHead, size_chain
from calotype.networks.conditional_norm import normalized
from calotype.networks.norms import NormName, make_norm
from calotype.networks.resampling import doubled, halved
from calotype.networks.self_attention import SelfAttention, attending

BlockKind = Literal["residual", "dense", "plain"]
HeadName = Literal["projection", "auxiliary", "plain"]
HiddenName = Literal["outputs", "inputs"]
MakeNorm = Callable[[int], nn.Module]  # of the channels of a map

SMALL = 3  # halvings of small images, of at most 48 pixels, for which the papers have plans of their own


class _Block(nn.Module):
    """The layers of a block, whose two normalizations, two convolutions and join are the same on the way up and down."""

    def __init__(self, channels: tuple[int, int, int], norms: tuple[MakeNorm, MakeNorm], blocks: BlockKind, *, resized: bool) -> None:
        super().__init__()
        inputs, hidden, outputs = channels
        self.blocks = blocks
        # those of a dense block grow by half of its outputs at each convolution
        grown = -(-outputs // 2)
        seen, out = (inputs + grown, grown) if blocks == "dense" else (hidden, outputs)
        self.norms = nn.ModuleList(make(width) for make, width in zip(norms, (inputs, seen), strict=True))
        self.first = nn.Conv2d(inputs, grown if blocks == "dense" else hidden, 3, padding=1)
        self.second = nn.Conv2d(seen, out, 3, padding=1)
        self.join: nn.Conv2d | None = None
        if blocks == "dense":
            self.join = nn.Conv2d(seen + grown, outputs, 1)
        elif blocks == "residual" and (resized or inputs != outputs):
            self.join = nn.Conv2d(inputs, outputs, 1)

    def _active(self, index: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return F.relu(normalized(self.norms[index], x, condition))


class UpBlock(_Block):
    """Twice the size by nearest neighbors before the first convolution; of an odd ``side`` the last row and column are cut off."""

    def __init__(self, inputs: int, outputs: int, side: int, norm: MakeNorm, blocks: BlockKind = "residual") -> None:
        super().__init__((inputs, outputs, outputs), (norm, norm), blocks, resized=True)
        self.side = side

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W), with labels (N,) or vectors (N, features) for conditional norms, to (N, outputs, side, side)."""
        hidden = self._cut(doubled(self._active(0, x, condition), self.first.weight, self.first.bias))
        if self.blocks == "dense":
            hidden = torch.cat([self._cut(F.interpolate(x, scale_factor=2)), hidden], 1)
        out: Tensor = self.second(self._active(1, hidden, condition))
        if self.join is None:
            return out
        if self.blocks == "dense":
            joined: Tensor = self.join(torch.cat([hidden, out], 1))
            return joined
        # what a 1x1 convolution makes of a copy is a copy of what it makes: before the doubling it costs a quarter
        return out + self._cut(F.interpolate(self.join(x), scale_factor=2))

    def _cut(self, x: Tensor) -> Tensor:
        return x[..., : self.side, : self.side]


class DownBlock(_Block):
    """Half the size, rounded up, by means of 2x2 places after the second convolution, or the same size.

    ``bare``: for images, which are neither normalized nor cut at zero first.
    """

    def __init__(
        self, channels: tuple[int, int, int], norm: MakeNorm, blocks: BlockKind = "residual", *, halves: bool, bare: bool = False
    ) -> None:
        none: MakeNorm = nn.Identity
        super().__init__(channels, (none, none) if bare else (norm, norm), blocks, resized=halves)
        self.halves, self.bare = halves, bare

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), or (N, outputs, H, W)."""
        hidden = self.first(x if self.bare else self._active(0, x))
        if self.blocks == "dense":
            hidden = torch.cat([x.to(hidden.dtype), hidden], 1)
        active = self._active(1, hidden)
        out: Tensor = halved(active, self.second.weight, self.second.bias) if self.halves else self.second(active)
        if self.blocks == "plain":
            return out
        past = torch.cat([self._resized(hidden), out], 1) if self.blocks == "dense" else self._resized(x)
        joined: Tensor = past if self.join is None else self.join(past)
        return joined if self.blocks == "dense" else out + joined

    def _resized(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, ceil_mode=True) if self.halves else x


class UpBody(nn.Module):
    """Vectors to images, through blocks that double.

    Args:
        shape: (C, H, W) of the images.
        channels: of the map that the vectors become, and of what each block makes.
        inputs: length of the vectors.
        norms: what makes the normalizations of each block; ``last_norm`` is the one before the last convolution.
        attention: the side of the map that has attention; 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: Sequence[int],
        inputs: int,
        norms: Sequence[MakeNorm],
        last_norm: NormName,
        *,
        attention: int = 0,
        blocks: BlockKind = "residual",
    ) -> None:
        super().__init__()
        self.base, *sides = size_chain(shape[1])[::-1]
        self.first = nn.Linear(inputs, channels[0] * self.base**2)
        self.blocks = nn.ModuleList(
            UpBlock(a, b, side, norm, blocks) for (a, b), side, norm in zip(pairwise(channels), sides, norms, strict=True)
        )
        self.attends = attending(attention, sides)
        self.attention = None if self.attends is None else SelfAttention(channels[self.attends + 1])
        self.last_norm = make_norm(last_norm, channels[-1])
        self.last = nn.Conv2d(channels[-1], shape[0], 3, padding=1)

    def forward(self, vector: Tensor, conditions: Sequence[Tensor | None]) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of vectors (N, inputs) and of what each block's norms are told."""
        # the channels lie last, as in what follows
        x = self.first(vector).view(vector.shape[0], self.base, self.base, -1).permute(0, 3, 1, 2)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = block(x, condition)
            if self.attention is not None and i == self.attends:
                x = self.attention(x)
        out: Tensor = self.last(F.relu(self.last_norm(x)))
        return out.float().tanh()


class ResidualJudge(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N,) float32, through blocks that halve; the last map is summed up over its places.

    Without spectral normalization it is averaged: weights without bounds can make a sum of a mean, and logits would begin in the hundreds.

    Args:
        shape: (C, H, W) of the images.
        plan: of each block the channels that it makes, and whether it halves.
        hidden: whether the channels between two convolutions are as many as go out of a block, or as come in.
        head: what labels are for. *projection*: logits are of images and labels (Miyato & Koyama 2018). *auxiliary*: they are of images
            alone, and ``judge_and_classify`` gives logits of the classes as well (Odena et al. 2017). *plain*: for nothing.
        bias: of the last layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        plan: Sequence[tuple[int, bool]],
        *,
        classes: int,
        norm: NormName,
        spectral: bool,
        attention: int,
        head: HeadName,
        hidden: HiddenName = "outputs",
        blocks: BlockKind = "residual",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.mixes_batch = norm == "batch"
        self.sums = spectral
        make: MakeNorm = partial(make_norm, norm, running=False)
        (inputs, side, _), sides = shape, []
        self.blocks = nn.ModuleList()
        for outputs, halves in plan:
            channels = (inputs, outputs if hidden == "outputs" else inputs, outputs)
            self.blocks.append(DownBlock(channels, make, blocks, halves=halves, bare=not self.blocks))
            inputs, side = outputs, (side + 1) // 2 if halves else side
            sides.append(side)
        self.attends = attending(attention, sides)
        self.attention = None if self.attends is None else SelfAttention(plan[self.attends][0])
        self.head = ProjectionHead(inputs, classes if head == "projection" else 0, bias=bias)
        self.classifier = nn.Linear(inputs, classes) if head == "auxiliary" and classes else None

    def early(self) -> list[list[nn.Module]]:
        """A residual block each, and the attention behind it."""
        found: list[list[nn.Module]] = [[block] for block in self.blocks]
        if self.attention is not None and self.attends is not None:
            found[self.attends].append(self.attention)
        return found

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of images (N, C, H, W) and, with a head that projects, their labels (N,)."""
        logits: Tensor = self.head(self._features(image), label)
        return logits

    def judge_and_classify(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (N, C, H, W) the logits (N,) and those of their classes (N, classes), float32, from the same features.

        Raises:
            ValueError: where no head classifies.
        """
        if self.classifier is None:
            raise ValueError("only a discriminator with an auxiliary head and classes tells classes apart")
        features = self._features(image)
        with torch.autocast(image.device.type, enabled=False):
            return self.head(features), self.classifier(features)

    def _features(self, image: Tensor) -> Tensor:
        x = image
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention is not None and i == self.attends:
                x = self.attention(x)
        x = F.relu(x).float()
        return x.sum((2, 3)) if self.sums else x.mean((2, 3))


def levels_of(size: int, network: str) -> int:
    """How often images of ``size`` pixels a side halve.

    Raises:
        UserError: for sizes that the residual networks have no plan for.
    """
    if not 8 <= size <= 512:
        raise UserError(f"the {network} network takes images of 8 to 512 pixels, not {size}: give another `data.size`")
    return len(size_chain(size)) - 1


def down_plan(levels: int, channels: Sequence[int]) -> list[tuple[int, bool]]:
    """Of each block of a discriminator the channels that it makes and whether it halves: the last keeps the size.

    Small images halve once less than they could, and two blocks keep the size (Miyato et al. 2018, table 4).
    """
    halvings = max(1, levels - 1) if levels <= SMALL else levels
    return [(outputs, i < halvings) for i, outputs in enumerate(channels)]


def multiplied(multipliers: Sequence[int], published: Sequence[int]) -> Sequence[int]:
    """The channels of maps relative to a width: the published ones where none are given, and the last given for all that are left."""
    return [multipliers[min(i, len(multipliers) - 1)] for i in range(len(published))] if multipliers else published
