"""Affine couplings: one part of an image scales and shifts the other, and stays as it is (Dinh et al. 2017, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calotype.flows.base import Transform, bounded


class ChannelCoupling(Transform):
    """The first half of the channels of (N, C, H, W) is scaled and shifted by what a network makes of the others.

    Args:
        network: (N, C - C // 2, H, W) and a context to (N, 2 (C // 2), H, W): raw log-scales, then shifts.
        bound: the largest absolute log-scale.
        swap: change the last half instead of the first.
    """

    def __init__(self, network: nn.Module, bound: float, *, swap: bool = False) -> None:
        super().__init__()
        self.network, self.bound, self.swap = network, bound, swap

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """exp(log_scale) x + shift for one half."""
        z, log_scale = self._scaled(x, context)
        return z, log_scale.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        z, log_scale = self._scaled(x, context)
        return z, log_scale.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """(z - shift) exp(-log_scale) for one half."""
        changed, kept = self._halves(z)
        log_scale, shift = self._affine(kept, context)
        return self._whole((changed - shift) * torch.exp(-log_scale), kept)

    def _scaled(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        changed, kept = self._halves(x)
        log_scale, shift = self._affine(kept, context)
        return self._whole(torch.addcmul(shift, changed, log_scale.exp()), kept), log_scale

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = x.shape[1] // 2
        return (x[:, -half:], x[:, :-half]) if self.swap else (x[:, :half], x[:, half:])

    def _whole(self, changed: Tensor, kept: Tensor) -> Tensor:
        return torch.cat((kept, changed) if self.swap else (changed, kept), 1)

    def _affine(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(kept, context).to(kept.dtype).chunk(2, 1)
        return bounded(raw, self.bound), shift


class CheckerboardCoupling(Transform):
    """The pixels of one color of a checkerboard are scaled and shifted by what a network makes of those of the other.

    Args:
        network: (N, C, H, W) and a context to (N, 2 C, H, W): raw log-scales, then shifts; it sees zeros where pixels are changed.
        bound: the largest absolute log-scale.
        shape: (C, H, W) of the images.
        odd: change the pixels whose row and column add up to an odd number, else those with an even one.
    """

    changed: Tensor

    def __init__(self, network: nn.Module, bound: float, shape: tuple[int, int, int], *, odd: bool) -> None:
        super().__init__()
        self.network, self.bound = network, bound
        # not saved, so that it must have values wherever a model is built
        color = (torch.arange(shape[1], device="cpu")[:, None] + torch.arange(shape[2], device="cpu")) % 2
        self.register_buffer("changed", (color == int(odd)).float(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """exp(log_scale) x + shift for one color."""
        log_scale, shift = self._affine(x, context)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        log_scale, shift = self._affine(x, context)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """(z - shift) exp(-log_scale) for one color."""
        log_scale, shift = self._affine(z, context)
        return (z - shift) * torch.exp(-log_scale)

    def _affine(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(x * (1 - self.changed), context).to(x.dtype).chunk(2, 1)
        return bounded(raw, self.bound) * self.changed, shift * self.changed
