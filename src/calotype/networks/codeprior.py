"""A causal transformer over sequences of codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calotype.networks.transformer import Cache, TransformerBlock
from calotype.precise import doubled


class CodePrior(nn.Module):
    """The probability of each code given those before it and the label (van den Oord et al. 2017, section 3.3; Vaswani et al. 2017).

    Args:
        codes: that there are.
        length: of a sequence.
        width: features of a position, a multiple of ``heads``.
        depth: transformer blocks.
        heads: of each attention.
        classes: labels 0 to ``classes - 1``; 0 for none.
        dropout: share of features dropped in training.
    """

    def __init__(self, codes: int, length: int, *, width: int, depth: int, heads: int, classes: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.length = length
        self.embed = nn.Embedding(codes, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.label = nn.Embedding(classes, width) if classes else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, causal=True, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, codes)

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (N, length, codes) float32 of each of the codes (N, length), given those before it."""
        tokens = torch.cat([torch.zeros_like(self.embed(codes[:, :1])), self.embed(codes[:, :-1])], dim=1)
        return self._logits(tokens + self.place, label, [None] * len(self.blocks))

    def draw(self, uniform: Tensor, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Codes (N, length) int64, each the one in whose share of [0, 1) the number of ``uniform`` (N, length) float64 falls."""
        caches = [Cache() for _ in self.blocks]
        token = self.embed.weight.new_zeros(uniform.shape[0], 1, self.embed.embedding_dim)
        drawn = []
        for place in range(self.length):
            logits = self._logits(token + self.place[place], label, caches)[:, 0]
            drawn.append(invert(logits / temperature, uniform[:, place]))
            token = self.embed(drawn[-1])[:, None]
        return torch.stack(drawn, dim=1)

    def _logits(self, tokens: Tensor, label: Tensor | None, caches: list[Cache] | list[None]) -> Tensor:
        if self.label is not None and label is not None:
            tokens = tokens + self.label(label)[:, None]
        hidden = self.dropout(tokens)
        for block, cache in zip(self.blocks, caches, strict=True):
            hidden = block(hidden, cache=cache, capacity=self.length)
        out: Tensor = self.out(self.norm(hidden))
        return out.float()


def invert(logits: Tensor, uniform: Tensor) -> Tensor:
    """The outcomes (N,) int64 of logits (N, K) in whose share of [0, 1), laid side by side, numbers (N,) fall."""
    ends = doubled(logits).softmax(-1).cumsum(-1)
    return (ends < doubled(uniform)[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1).to(logits.device)


def middles(logits: Tensor, outcomes: Tensor) -> Tensor:
    """The middle of the share of [0, 1) of outcomes (...) under logits (..., K), float64: what ``invert`` gives them back for."""
    shares = doubled(logits).softmax(-1)
    ends = shares.cumsum(-1)
    chosen = outcomes.to(shares.device)[..., None]
    return (ends.gather(-1, chosen) - 0.5 * shares.gather(-1, chosen)).squeeze(-1)
