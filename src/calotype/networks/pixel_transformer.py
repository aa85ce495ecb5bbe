"""A causal transformer over the pixels of an image, or over short runs of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.transformer import Cache, TransformerBlock

ABOVE, ASIDE = 3, 3  # what a token sees of the rows above by itself: so many rows, and columns to either side


class PixelTransformer(nn.Module):
    """A transformer whose tokens are runs of pixels in raster order (after Chen et al. 2020 and Parmar et al. 2018).

    A token knows the run before its own and a small window of the rows above; attention brings in all the rest. The pixels of a run
    are told apart by small layers at the end, which see what the token found, the rows above, and the pixels of the run before one.
    With runs of one pixel this is a plain pixel transformer; longer ones cost less and leave the factorization exact.

    Args:
        shape: (C, H, W) of the images.
        width: features of a token and of a pixel, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of the attention.
        segment: pixels of a run; a last run of a row may be shorter.
        classes: number of classes that the images may be conditional on; 0 for none.
        dropout: share of the features dropped in training, in each block.
    """

    def __init__(
        self, shape: tuple[int, int, int], *, width: int, depth: int, heads: int, segment: int, classes: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels, height, columns = shape
        self.segment = segment
        self.runs = -(-columns // segment)  # of a row
        self.before = nn.Linear(segment * channels, width)
        self.above = nn.Conv2d(channels, width, (ABOVE, segment + 2 * ASIDE), stride=(1, segment))
        self.row = nn.Parameter(torch.randn(height, 1, width) * 0.1)
        self.column = nn.Parameter(torch.randn(1, self.runs, width) * 0.1)
        self.label = nn.Embedding(classes, width) if classes else None
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, causal=True, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Linear(width, segment * width)
        self.near = nn.Conv2d(channels, width, (ABOVE, 2 * ASIDE + 1))
        self.earlier = nn.ModuleList(nn.Linear(pixel * channels, width, bias=False) for pixel in range(1, segment))
        self.inner = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        if self.label is not None:
            nn.init.normal_(self.label.weight, 0.0, 0.1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W) images and (N,) int64 labels to (N, width, H, W) features: those of a pixel depend on the pixels before it."""
        columns = x.shape[3]
        known = self._framed(x)
        above, near = self._look_up(known[:, :, :-1])
        runs = self._runs(known[:, :, ABOVE:])
        before = F.pad(runs, (0, 0, 1, 0))[:, :-1]
        tokens = self._tokens(before, above.flatten(1, 2), (self.row + self.column).flatten(0, 1), label)
        for block in self.blocks:
            tokens = block(tokens)
        coarse = self._spread(tokens).view(near.shape)
        runs = runs.view(*near.shape[:3], -1)
        pixels = [self._pixel(coarse[..., k, :], near[..., k, :], runs, k) for k in range(self.segment)]
        features = torch.stack(pixels, dim=3).flatten(2, 3)[:, :, :columns]
        return features.permute(0, 3, 1, 2)

    def visit(self, canvas: Tensor, label: Tensor | None = None, first: int = 0) -> Iterator[tuple[int, int, Tensor]]:
        """The same features, pixel by pixel from row ``first`` on: (row, column, (N, width)).

        The caller writes a pixel into ``canvas`` (N, C, H, W) before it asks for the next. Each token passes through the blocks once:
        the keys and values of those before it are kept.
        """
        height, columns = canvas.shape[2:]
        known = self._framed(canvas)  # a copy: pixels are entered as they come
        caches = [Cache() for _ in self.blocks]
        positions = self.row + self.column
        runs = self._runs(known[:, :, ABOVE:])
        before = torch.zeros_like(runs[:, :1])
        if first:
            above, _ = self._look_up(known[:, :, : ABOVE + first - 1])
            given = runs[:, : first * self.runs]
            tokens = self._tokens(F.pad(given, (0, 0, 1, 0))[:, :-1], above.flatten(1, 2), positions[:first].flatten(0, 1), label)
            self._through(tokens, caches, height)
            before = given[:, -1:]
        for row in range(first, height):
            above, near = self._look_up(known[:, :, row : row + ABOVE])
            for run in range(self.runs):
                token = self._tokens(before, above[:, 0, run : run + 1], positions[row, run], label)
                coarse = self._spread(self._through(token, caches, height))[:, 0]
                before = torch.zeros_like(before)
                for k in range(min(self.segment, columns - run * self.segment)):
                    column = run * self.segment + k
                    yield row, column, self._pixel(coarse[:, k], near[:, 0, run, k], before[:, 0], k)
                    pixel = canvas[:, :, row, column]
                    known[:, :, ABOVE + row, ASIDE + column] = pixel
                    before[:, 0, k * pixel.shape[1] : (k + 1) * pixel.shape[1]] = pixel

    def _framed(self, x: Tensor) -> Tensor:
        """The image with empty rows above it and empty columns beside it, wide enough for whole runs."""
        return F.pad(x, (ASIDE, ASIDE + self.runs * self.segment - x.shape[3], ABOVE, 0))

    def _look_up(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """What the rows above tell each run (N, rows, runs, width) and each pixel (N, rows, runs, segment, width)."""
        near = self.near(window).permute(0, 2, 3, 1)
        return self.above(window).permute(0, 2, 3, 1), near.reshape(*near.shape[:2], self.runs, self.segment, -1)

    def _runs(self, framed: Tensor) -> Tensor:
        """The pixels of each run, (N, runs of the image, segment * C)."""
        n, channels, height = framed.shape[:3]
        inner = framed[..., ASIDE:-ASIDE].permute(0, 2, 3, 1)
        return inner.reshape(n, height * self.runs, self.segment * channels)

    def _tokens(self, before: Tensor, above: Tensor, position: Tensor, label: Tensor | None) -> Tensor:
        tokens: Tensor = self.before(before) + above + position
        return tokens if self.label is None or label is None else tokens + self.label(label)[:, None]

    def _through(self, tokens: Tensor, caches: list[Cache], height: int) -> Tensor:
        for block, cache in zip(self.blocks, caches, strict=True):
            tokens = block(tokens, cache=cache, capacity=height * self.runs)
        return tokens

    def _spread(self, tokens: Tensor) -> Tensor:
        """From each token features for each of its pixels, (N, T, segment, width)."""
        spread: Tensor = self.spread(self.norm(tokens))
        return spread.view(*tokens.shape[:2], self.segment, -1)

    def _pixel(self, coarse: Tensor, near: Tensor, run: Tensor, k: int) -> Tensor:
        """The features of pixel ``k`` of a run, (..., width), given the pixels of the run (..., segment * C) before it."""
        hidden = coarse + near
        if k:
            layer = self.earlier[k - 1]
            hidden = hidden + layer(run[..., : layer.in_features])
        hidden = hidden + self.inner(F.silu(hidden))
        return F.silu(self.out(F.silu(hidden)))
