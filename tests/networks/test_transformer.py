"""A transformer block: what a token sees, what a cache changes (nothing), and how it starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from calotype.networks.transformer import Cache, TransformerBlock

WIDTH, TOKENS = 16, 6


def block(embedding: int = 0, causal: bool = True) -> TransformerBlock:
    torch.manual_seed(0)
    made = TransformerBlock(WIDTH, 4, embedding=embedding, causal=causal).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def inputs(embedding: int) -> tuple[Tensor, Tensor | None]:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(2, TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    return x, torch.randn(2, embedding, generator=rng, dtype=torch.float64) if embedding else None


@pytest.mark.parametrize("embedding", [0, 8])
def test_a_causal_token_depends_on_itself_and_the_ones_before_it(embedding: int) -> None:
    x, given = inputs(embedding)
    for causal in (True, False):
        made = block(embedding, causal)
        sees = torch.autograd.functional.jacobian(lambda t, made=made: made(t, given).sum((0, 2)), x).abs().sum((1, 3)) > 1e-12
        every = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
        assert torch.equal(sees, every.tril() if causal else every)


@pytest.mark.parametrize("embedding", [0, 8])
@pytest.mark.parametrize("parts", [(1,) * TOKENS, (3, 1, 2), (TOKENS,)])
def test_a_cache_changes_nothing(embedding: int, parts: tuple[int, ...]) -> None:
    made, (x, given) = block(embedding), inputs(embedding)
    cache = Cache()
    pieces = [made(part, given, cache, TOKENS) for part in x.split(parts, dim=1)]
    assert torch.allclose(torch.cat(pieces, 1), made(x, given), atol=1e-12)
    assert cache.length == TOKENS


@pytest.mark.parametrize("embedding", [0, 8])
def test_a_new_block_is_the_identity(embedding: int) -> None:
    made = TransformerBlock(WIDTH, 4, embedding=embedding).double()
    x, given = inputs(embedding)
    assert torch.equal(made(x, given), x)
    if given is not None:
        assert not torch.equal(block(embedding)(x, given), block(embedding)(x, 2 * given))


def test_attention_is_that_of_torch() -> None:
    """Without the two-layer network the block is torch's own multi-head attention."""
    made, (x, _) = block(causal=False), inputs(0)
    torch.nn.init.zeros_(made.outer.weight)
    torch.nn.init.zeros_(made.outer.bias)
    theirs = torch.nn.MultiheadAttention(WIDTH, 4, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight, theirs.in_proj_bias = made.qkv.weight, made.qkv.bias
    theirs.out_proj = made.mix  # type: ignore[assignment]
    normal = made.norms[0](x)
    assert torch.allclose(made(x), x + theirs(normal, normal, normal)[0], atol=1e-12)
