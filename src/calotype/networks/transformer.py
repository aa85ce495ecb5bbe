"""A transformer block (Vaswani et al. 2017), causal or not, with a cache for drawing one position after another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cache:
    """The keys and values of the positions that a causal block has seen: each new position costs one row, not the whole square."""

    def __init__(self) -> None:
        self._key: Tensor | None = None
        self._value: Tensor | None = None
        self.length = 0

    def extend(self, key: Tensor, value: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
        """Append (N, heads, t, d); returns all that is held, (N, heads, length, d). ``capacity`` is the most that will ever be."""
        if self._key is None or self._value is None:
            shape = (*key.shape[:2], capacity, key.shape[3])
            self._key, self._value = key.new_empty(shape), value.new_empty(shape)
        end = self.length + key.shape[2]
        self._key[:, :, self.length : end], self._value[:, :, self.length : end] = key, value
        self.length = end
        return self._key[:, :, :end], self._value[:, :, :end]


class TransformerBlock(nn.Module):
    """Attention and a two-layer network, each normalized before and added after, starting as the identity.

    With an embedding (of time, class or both) each half is scaled, shifted and gated by it (adaLN-Zero, Peebles & Xie 2023).

    Args:
        width: features of a token, a multiple of ``heads``.
        heads: of the attention.
        embedding: features of the embedding; 0 for none.
        causal: whether a token sees itself and the ones before it only.
        expand: units of the hidden layer relative to ``width``.
        dropout: share of features dropped in training, at the end of each half.
    """

    def __init__(self, width: int, heads: int, *, embedding: int = 0, causal: bool = False, expand: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=not embedding) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.inner = nn.Linear(width, expand * width)
        self.outer = nn.Linear(expand * width, width)
        self.dropout = nn.Dropout(dropout)
        self.modulate = nn.Linear(embedding, 6 * width) if embedding else None
        for layer in (self.mix, self.outer) if self.modulate is None else (self.modulate,):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None, cache: Cache | None = None, capacity: int = 0) -> Tensor:
        """(N, T, width) tokens and an (N, embedding) to the same shape.

        With a ``cache`` of a causal block ``x`` holds the next tokens alone, of at most ``capacity`` in all.
        """
        if self.modulate is None or embedding is None:
            x = x + self.dropout(self._attend(self.norms[0](x), cache, capacity))
            out: Tensor = x + self.dropout(self.outer(F.gelu(self.inner(self.norms[1](x)))))
            return out
        shift, scale, gate, shift2, scale2, gate2 = self.modulate(embedding)[:, None].chunk(6, dim=-1)
        x = x + gate * self.dropout(self._attend(torch.addcmul(shift, self.norms[0](x), 1 + scale), cache, capacity))
        gated: Tensor = x + gate2 * self.dropout(self.outer(F.gelu(self.inner(torch.addcmul(shift2, self.norms[1](x), 1 + scale2)))))
        return gated

    def _attend(self, x: Tensor, cache: Cache | None, capacity: int) -> Tensor:
        n, t, width = x.shape
        query, key, value = self.qkv(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if cache is None:
            mixed = _attention(query, key, value, self.causal)
        else:
            key, value = cache.extend(key, value, capacity)
            # a single new token sees everything; several see each other in order
            seen = None if t == 1 else torch.ones(t, key.shape[2], dtype=torch.bool, device=x.device).tril(key.shape[2] - t)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        out: Tensor = self.mix(mixed.transpose(1, 2).reshape(n, t, width))
        return out


def _attention(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Scaled dot-product attention of whole sequences; on processors always in float32."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # the processor's fused attention, measured forward and backward, is 1.5 to 3 times slower in bfloat16
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=causal).to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
