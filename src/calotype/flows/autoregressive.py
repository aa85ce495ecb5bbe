"""Autoregressive affine transforms: every token is scaled and shifted by what the ones before it say (Papamakarios et al. 2017)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from calotype.flows.base import Transform, bounded


class Sequential(Protocol):
    """A causal network that can also be asked for one position after another."""

    def __call__(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, T, D) tokens to (N, T, 2 D), where row t depends on the tokens before t alone."""
        ...

    def incremental(self, count: int, context: Tensor | None = None) -> IncrementalNetwork:
        """Begin at the first position of ``count`` sequences."""
        ...


class IncrementalNetwork(Protocol):
    """Steps along the positions, which remember what came before."""

    def __call__(self, before: Tensor | None) -> Tensor:
        """(N, 2 D) of the next position, given the token (N, D) at the one before it, none at the first."""
        ...


class AutoregressiveFlow(Transform):
    """z_t = (x_t - mean_t) exp(-log_scale_t) for tokens (N, T, D), by a causal network (Zhai et al. 2024, equation 4).

    All tokens at once from data to latents, one after another from latents to data.

    Args:
        network: puts out means, then raw log-scales.
        bound: the largest absolute log-scale.
        backwards: take the tokens from the last to the first.
    """

    def __init__(self, network: nn.Module, bound: float, *, backwards: bool = False) -> None:
        super().__init__()
        self.network, self.bound, self.backwards = network, bound, backwards

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Every token in parallel."""
        z, log_scale = self._scaled(x, context)
        return z, -log_scale.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        z, log_scale = self._scaled(x, context)
        return z, self._ordered(-log_scale.sum(2))

    def inverse(self, z: Tensor, context: Tensor | None = None, away: Tensor | None = None, guidance: float = 0.0) -> Tensor:
        """Token by token; with ``guidance`` each mean and log-scale moves so much further away from that of the context ``away``."""
        z = self._ordered(z)
        network: Sequential = self.network  # type: ignore[assignment]
        towards, other = network.incremental(z.shape[0], context), network.incremental(z.shape[0], away) if guidance else None
        tokens: list[Tensor] = []
        for latent in z.unbind(1):
            before = tokens[-1] if tokens else None
            mean, log_scale = self._affine(towards(before), z)
            if other is not None:
                mean_away, log_scale_away = self._affine(other(before), z)
                mean, log_scale = mean + guidance * (mean - mean_away), log_scale + guidance * (log_scale - log_scale_away)
            tokens.append(torch.addcmul(mean, latent, log_scale.exp()))
        return self._ordered(torch.stack(tokens, 1))

    def _scaled(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self._ordered(x)
        mean, log_scale = self._affine(self.network(x, context), x)
        return self._ordered((x - mean) * torch.exp(-log_scale)), log_scale

    def _ordered(self, x: Tensor) -> Tensor:
        return x.flip(1) if self.backwards else x

    def _affine(self, out: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = out.to(like.dtype).chunk(2, -1)
        return mean, bounded(raw, self.bound)
