"""The networks inside of affine couplings: any map of images will do, for it is never inverted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.blocks import zeroed
from calotype.networks.norms import ChannelNorm


class CouplingNetwork(nn.Module):
    """Residual blocks between two convolutions, starting as zero (after Dinh et al. 2017, section 3.2, and Kingma & Dhariwal 2018).

    Each position of the image has a bias of its own: most of what there is to know of a pixel of a centered object is where it is.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: channels in between.
        depth: residual blocks.
        size: height and width of the image.
        kernel: of the first convolution of each block.
        embedding: features of the context, 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, depth: int, size: int, kernel: int = 3, embedding: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(width, size, size))
        self.blocks = nn.ModuleList(PreActivationBlock(width, kernel) for _ in range(depth))
        self.context = nn.Linear(embedding, width, bias=False) if embedding else None
        self.out = zeroed(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) and (N, embedding) to (N, outputs, H, W)."""
        hidden = self.stem(x) + self.place
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)[:, :, None, None]
        for block in self.blocks:
            hidden = block(hidden)
        out: Tensor = self.out(F.relu(hidden))
        return out


class PreActivationBlock(nn.Module):
    """A convolution and a 1x1 convolution, normalized before and added after."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = ChannelNorm()
        self.first = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.second = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        out: Tensor = x + self.second(F.relu(self.first(F.relu(self.norm(x)))))
        return out
