"""A UNet for images with a time and a class: what diffusion and flow matching learn with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.blocks import TimeEmbedding, zeroed
from calotype.networks.norms import ChannelNorm

Join = Literal["concat", "add"]


class Block(nn.Module):
    """A residual block scaled and shifted by an embedding of time and class (He et al. 2016; Dhariwal & Nichol 2021).

    The last convolution starts at zero, so that a new block is the identity.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = ChannelNorm()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.second = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, embedding) to (N, outputs, H, W)."""
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.norm(self.first(F.silu(self.norm(x))))
        hidden = F.silu(torch.addcmul(shift, hidden, 1 + scale))
        out: Tensor = self.skip(x) + self.second(self.dropout(hidden))
        return out


class Attention(nn.Module):
    """Multi-head attention among the pixels of a small map (Vaswani et al. 2017), added to it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm()
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, 3, self.heads, c // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, h, w, c).permute(0, 3, 1, 2)
        out: Tensor = x + self.out(mixed)
        return out


class UNet(nn.Module):
    """An encoder and a decoder with skips between them (Ronneberger et al. 2015; Ho et al. 2020), on pixel-unshuffled input.

    The stem folds ``unshuffle`` x ``unshuffle`` pixels into channels (Hoogeboom et al. 2023): a quarter of the work at 2, for
    little loss on small images. Images of any size are padded to the next size that halves evenly and cropped again.

    Args:
        channels: of the image, in and out.
        width: channels of the first level.
        multipliers: channels of each level relative to ``width``; every level halves the height and width of the one before.
        depth: residual blocks of each level, on the way down and again on the way up.
        unshuffle: pixels that the stem folds, 1 for none.
        heads: of the attention at the lowest level; 0 for none.
        embedding: numbers that time and class become.
        classes: labels 0 to ``classes - 1``; the label ``classes`` means none.
        dropout: share of features dropped in each block in training.
        told: further numbers that it may be told of an image; zero where they are not given.
        join: how the way up meets the way down: its channels beside the others, or added to them.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int,
        multipliers: Sequence[int],
        depth: Sequence[int],
        unshuffle: int = 2,
        heads: int = 0,
        embedding: int = 128,
        classes: int = 0,
        dropout: float = 0.0,
        told: int = 0,
        join: Join = "concat",
    ) -> None:
        super().__init__()
        widths = [width * m for m in multipliers]
        folded = channels * unshuffle**2
        self.unshuffle = unshuffle
        self.multiple = unshuffle * 2 ** (len(widths) - 1)
        self.classes = classes
        self.join = join
        self.embed = TimeEmbedding(embedding, classes, told)
        self.stem = nn.Conv2d(folded, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            nn.ModuleList(Block(w, w, embedding, dropout) for _ in range(d)) for w, d in zip(widths, depth, strict=True)
        )
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.attention = Attention(widths[-1], heads) if heads else nn.Identity()
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(
            nn.ModuleList(Block(w if i or join == "add" else 2 * w, w, embedding, dropout) for i in range(d))
            for w, d in zip(widths[:-1], depth[:-1], strict=True)
        )
        self.norm = ChannelNorm()
        self.out = zeroed(nn.Conv2d(widths[0], folded, 3, padding=1))

    def forward(self, image: Tensor, time: Tensor, label: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """(N, C, H, W) images, (N,) times, (N,) int64 labels and further numbers (N, told) to (N, C, H, W)."""
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))
        hidden = self.stem(F.pixel_unshuffle(padded, self.unshuffle))
        hidden = self._levels(hidden, self.embed(time, label, told))
        out: Tensor = F.pixel_shuffle(self.out(F.silu(self.norm(hidden))), self.unshuffle)
        return out[..., :height, :width]

    def named_layers(self) -> dict[str, nn.Module]:
        """The last block of each level, down and up again, and the attention between, by name: maps (N, C, h, w) each."""
        down: list[Any] = list(self.encoder)
        up: list[Any] = list(self.decoder)
        found: dict[str, nn.Module] = {f"down {level}": blocks[-1] for level, blocks in enumerate(down, 1) if len(blocks)}
        if not isinstance(self.attention, nn.Identity):
            found["attention"] = self.attention
        return found | {f"up {level}": blocks[-1] for level, blocks in reversed(list(enumerate(up, 1))) if len(blocks)}

    def _levels(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        skips = []
        for level, blocks in enumerate(self.encoder):
            if level:
                skips.append(hidden)
                hidden = self.shrink[level - 1](hidden)
            for block in blocks:  # type: ignore[attr-defined]
                hidden = block(hidden, embedding)
        hidden = self.attention(hidden)
        for level in reversed(range(len(self.decoder))):
            grown = F.pixel_shuffle(self.grow[level](hidden), 2)
            hidden = grown + skips[level] if self.join == "add" else torch.cat([grown, skips[level]], dim=1)
            for block in self.decoder[level]:  # type: ignore[attr-defined]
                hidden = block(hidden, embedding)
        return hidden
