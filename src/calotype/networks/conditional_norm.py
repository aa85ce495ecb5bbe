"""Normalizations whose gain and bias say what the image is to be (de Vries et al. 2017; Brock et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from calotype.networks.blocks import known, zeroed
from calotype.networks.norms import NormName, make_norm


class ConditionalNorm(nn.Module):
    """A normalization with a gain 1 + W_g c and a bias W_b c of each channel that follow from a condition c.

    Args:
        norm: what normalizes, without weights of its own.
        channels: of the maps.
        classes: of which each has a gain and a bias of its own, 1 and 0 at first: conditions are labels (N,). Or
        features: of vectors (N, features), which conditions are then: gain and bias are linear maps of them.
    """

    def __init__(self, norm: NormName, channels: int, *, classes: int = 0, features: int = 0) -> None:
        super().__init__()
        self.norm = make_norm(norm, channels, affine=False)
        self.gain, self.bias = (
            zeroed(nn.Embedding(classes, channels)) if classes else nn.Linear(features, channels, bias=False) for _ in range(2)
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """(N, channels, H, W) and its condition to the same shape."""
        condition = known(condition)
        gain, bias = (layer(condition)[:, :, None, None] for layer in (self.gain, self.bias))
        out: Tensor = self.norm(x) * (1 + gain).to(x.dtype) + bias.to(x.dtype)
        return out


def normalized(norm: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    """What a normalization makes of maps (N, C, H, W), by the condition only where it is a `ConditionalNorm`."""
    out: Tensor = norm(x, condition) if isinstance(norm, ConditionalNorm) else norm(x)
    return out
