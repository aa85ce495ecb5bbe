"""A transformer of patches with a time and a class (DiT): the other network of diffusion and flow matching."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.blocks import TimeEmbedding, zeroed
from calotype.networks.transformer import TransformerBlock


class DiT(nn.Module):
    """Patches become tokens, time and class modulate every block (Peebles & Xie 2023, adaLN-Zero).

    Positions are sines and cosines of both coordinates, so that any size can come in; images are padded to whole patches and
    cropped again.

    Args:
        channels: of the image, in and out.
        width: features of a token, a multiple of ``heads`` and of 4.
        depth: blocks.
        heads: of the attention.
        patch: pixels of a side of a patch.
        embedding: numbers that time and class become.
        classes: labels 0 to ``classes - 1``; the label ``classes`` means none.
        dropout: share of features dropped in each block in training.
        told: further numbers that it may be told of an image; zero where they are not given.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int,
        depth: int,
        heads: int,
        patch: int = 2,
        embedding: int = 128,
        classes: int = 0,
        dropout: float = 0.0,
        told: int = 0,
    ) -> None:
        super().__init__()
        folded = channels * patch**2
        self.patch = patch
        self.width = width
        self.embed = TimeEmbedding(embedding, classes, told)
        self.stem = nn.Linear(folded, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, embedding=embedding, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zeroed(nn.Linear(embedding, 2 * width))
        self.out = zeroed(nn.Linear(width, folded))

    def forward(self, image: Tensor, time: Tensor, label: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """(N, C, H, W) images, (N,) times, (N,) int64 labels and further numbers (N, told) to (N, C, H, W)."""
        height, width = image.shape[-2:]
        right, down = -width % self.patch, -height % self.patch
        folded = F.pixel_unshuffle(F.pad(image, (0, right, 0, down)) if right or down else image, self.patch)
        rows, columns = folded.shape[-2:]
        embedding = self.embed(time, label, told)
        tokens = self.stem(folded.flatten(2).transpose(1, 2)) + positions(rows, columns, self.width, image.device)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulate(embedding)[:, None].chunk(2, dim=-1)
        tokens = self.out(torch.addcmul(shift, self.norm(tokens), 1 + scale))
        out: Tensor = F.pixel_shuffle(as_maps(tokens, rows), self.patch)
        return out[..., :height, :width]

    def named_layers(self) -> dict[str, nn.Module]:
        """Its blocks, by name: tokens (N, places, width) each, which `as_maps` makes maps of."""
        return {f"block {number}": block for number, block in enumerate(self.blocks, 1)}


def as_maps(tokens: Tensor, rows: int) -> Tensor:
    """Tokens (N, rows * columns, C) as maps (N, C, rows, columns)."""
    n, places, width = tokens.shape
    return tokens.transpose(1, 2).reshape(n, width, rows, places // rows)


def positions(rows: int, columns: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Sines and cosines of the row in one half of the features and of the column in the other (Vaswani et al. 2017, section 3.5).

    (rows * columns, width) float32, row by row; ``width`` is a multiple of 4.
    """
    rates = 10_000.0 ** (-torch.arange(width // 4, device=device) / (width // 4))

    def waves(length: int) -> Tensor:
        angle = torch.arange(length, device=device)[:, None] * rates
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    down = waves(rows)[:, None].expand(rows, columns, -1)
    across = waves(columns)[None].expand(rows, columns, -1)
    return torch.cat([down, across], dim=2).flatten(0, 1)
