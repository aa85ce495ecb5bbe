"""The gated PixelCNN: what a pixel may look like given all pixels above it and to its left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ABOVE, ASIDE = 3, 3  # reach of the first layer: rows up, and columns to either side


class PixelCNN(nn.Module):
    """A gated PixelCNN (van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", figure 2).

    Two stacks of convolutions leave no blind spot: the vertical one sees all rows above a pixel, the horizontal one the
    pixels to its left, and with it what the vertical one found. Both are residual, and each position has features of its own,
    learned as the sum of one for its row and one for its column.

    Args:
        shape: (C, H, W) of the images.
        width: features of each stack.
        depth: gated layers.
        classes: number of classes that the images may be conditional on; 0 for none.
        dropout: share of the features dropped in training, in each layer.
    """

    def __init__(self, shape: tuple[int, int, int], *, width: int, depth: int, classes: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        channels, height, columns = shape
        self.width = width
        self.above = nn.Conv2d(channels, width, (ABOVE, 2 * ASIDE + 1))
        self.left = nn.Conv2d(channels, width, (1, ASIDE))
        self.row = nn.Parameter(torch.randn(width, height, 1) * 0.1)
        self.column = nn.Parameter(torch.randn(width, 1, columns) * 0.1)
        self.layers = nn.ModuleList(GatedLayer(width, classes, dropout) for _ in range(depth))
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, C, H, W) images and (N,) int64 labels to (N, width, H, W) features: those of a pixel depend on the pixels before it."""
        down = self.above(F.pad(x, (ASIDE, ASIDE, ABOVE, 0))[:, :, :-1]) + (self.row + self.column)
        right = self.left(F.pad(x, (ASIDE, 0))[..., :-1])
        for layer in self.layers:
            down, right = layer(down, right, label)
        return F.silu(self.out(F.silu(right)))

    def visit(self, canvas: Tensor, label: Tensor | None = None, first: int = 0) -> Iterator[tuple[int, int, Tensor]]:
        """The same features, pixel by pixel from row ``first`` on: (row, column, (N, width)).

        The caller writes a pixel into ``canvas`` (N, C, H, W) before it asks for the next. Nothing is computed twice: a row of the
        vertical stack is computed when the row above is complete, and the horizontal stack keeps what it found of the pixel before
        (Ramachandran et al. 2017).
        """
        height, columns = canvas.shape[2:]
        known = F.pad(canvas, (ASIDE, ASIDE, ABOVE, 0))  # a copy: pixels are entered as they come
        layers: list[GatedLayer] = list(self.layers)  # type: ignore[arg-type]
        steps = [layer.stepper() for layer in layers]
        start = self.left.weight.flatten(1)
        rows = [canvas.new_zeros(canvas.shape[0], self.width, 1, columns) for _ in layers]  # what each layer saw of the row above
        for row in range(height):
            down = self.above(known[:, :, row : row + ABOVE]) + (self.row[:, row, None] + self.column)
            hints = []
            for i, layer in enumerate(layers):
                window, rows[i] = torch.cat([rows[i], down], dim=2), down
                down, hint = layer.descend(window, label)
                hints.append(hint[:, :, 0].permute(2, 0, 1).contiguous())
            if row < first:
                continue
            left = [canvas.new_zeros(canvas.shape[0], self.width) for _ in layers]  # what each layer saw of the pixel to the left
            for column in range(columns):
                right = F.linear(known[:, :, ABOVE + row, column : column + ASIDE].flatten(1), start, self.left.bias)
                for i, step in enumerate(steps):
                    left[i], right = right, step(left[i], right, hints[i][column])
                yield row, column, F.silu(F.linear(F.silu(right), self.out.weight[:, :, 0, 0], self.out.bias))
                known[:, :, ABOVE + row, ASIDE + column] = canvas[:, :, row, column]


class GatedLayer(nn.Module):
    """One layer of both stacks: convolutions that see the row above and the pixel to the left, added to what came in.

    The gates are those of the horizontal stack. In the vertical one, whose convolution is the dearest, they were measured to cost
    more steps of training than they earn.
    """

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(width, width, (2, 3), padding=(0, 1))
        self.link = nn.Conv2d(width, 2 * width, 1)
        self.horizontal = nn.Conv2d(width, 2 * width, (1, 2), bias=False)
        self.mix = nn.Conv2d(width, width, 1, bias=False)
        self.label = nn.Embedding(classes, width) if classes else None
        self.dropout = nn.Dropout2d(dropout)  # of whole maps: drawing that mask is nearly free
        if self.label is not None:
            nn.init.normal_(self.label.weight, 0.0, 0.1)

    def forward(self, down: Tensor, right: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features (N, width, H, W) of both stacks to the same."""
        down, hint = self.descend(F.pad(down, (0, 0, 1, 0)), label)
        side = self.horizontal(F.pad(right, (1, 0))) + hint
        return down, right + self.mix(self.dropout(gate(side)))

    def descend(self, window: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical stack of all rows but the first of ``window``, and what it tells the horizontal one (N, 2 width, ...)."""
        seen = self.vertical(window)
        if self.label is not None and label is not None:
            seen = seen + self.label(label)[:, :, None, None]
        seen = window[:, :, 1:] + self.dropout(F.silu(seen))
        return seen, self.link(seen)

    def stepper(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The horizontal stack of one pixel, from features (N, width) of the pixel to the left and of its own."""
        old, new = (self.horizontal.weight[:, :, 0, i].t().contiguous() for i in range(2))
        mix = self.mix.weight[:, :, 0, 0].t().contiguous()

        def step(left: Tensor, right: Tensor, hint: Tensor) -> Tensor:
            side = torch.addmm(hint, left, old).addmm_(right, new)
            return torch.addmm(right, gate(side), mix)

        return step


def gate(x: Tensor) -> Tensor:
    """tanh of one half of the features times the sigmoid of the other (equation 2)."""
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
