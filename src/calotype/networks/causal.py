"""A causal transformer over a fixed number of tokens of real numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calotype.networks.transformer import Cache, TransformerBlock


class CausalNetwork(nn.Module):
    """What a position puts out depends on the tokens before it alone (Vaswani et al. 2017). It starts as zero.

    Args:
        tokens: how many there are.
        features: numbers of a token.
        outputs: numbers that each position puts out.
        width: features inside.
        depth: transformer blocks.
        heads: of the attention, a divisor of ``width``.
        embedding: features of the context, 0 for none.
    """

    def __init__(
        self, tokens: int, features: int, outputs: int, *, width: int, depth: int, heads: int, embedding: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.1)  # also all that the first position sees
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, embedding=embedding, causal=True, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, T, features) and (N, embedding) to (N, T, outputs)."""
        seen = self.embed(tokens[:, :-1])
        hidden = torch.cat([seen.new_zeros(tokens.shape[0], 1, seen.shape[2]), seen], 1) + self.place
        for block in self.blocks:
            hidden = block(hidden, context)
        out: Tensor = self.out(self.norm(hidden))
        return out

    def incremental(self, count: int, context: Tensor | None = None) -> CachedSteps:
        """Ask for one position after another, for ``count`` sequences at once."""
        return CachedSteps(self, count, context)


class CachedSteps:
    """Steps along the positions of a `CausalNetwork`; each costs one row of attention."""

    def __init__(self, network: CausalNetwork, count: int, context: Tensor | None) -> None:
        self.network, self.count, self.context = network, count, context
        self.caches = [Cache() for _ in network.blocks]

    def __call__(self, before: Tensor | None) -> Tensor:
        """(N, outputs) of the next position, given the token (N, features) at the one before it, none at the first."""
        net = self.network
        place = net.place[self.caches[0].length]
        hidden = (place.expand(self.count, -1) if before is None else net.embed(before) + place)[:, None]
        for block, cache in zip(net.blocks, self.caches, strict=True):
            hidden = block(hidden, self.context, cache, len(net.place))
        out: Tensor = net.out(net.norm(hidden[:, 0]))
        return out
