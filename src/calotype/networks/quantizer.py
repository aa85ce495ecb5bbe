"""A codebook: vectors of numbers become the nearest of a fixed number of codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from calotype.parallel import of_first, processes, total

DEAD = 0.05  # share of its even share of the uses below which a code is dead
REVIVED = 0.2  # share of its even share with which a code begins again
SMOOTH = 1e-5  # keeps a code that nothing was assigned to from being divided by zero


class Quantizer(nn.Module):
    """Codes learned as running means of the vectors assigned to them (van den Oord et al. 2017, appendix A.1).

    A code that is hardly used any more begins again at a vector of the batch (Dhariwal et al. 2020, section 3.1). All codes begin so.

    Args:
        codes: size of the codebook.
        features: numbers of each vector.
        decay: of the running means, for each batch.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, features: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codebook", torch.randn(codes, features))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, features))

    def nearest(self, maps: Tensor) -> Tensor:
        """The codes (N, h, w) int64 nearest to the vectors of maps (N, features, h, w)."""
        vectors = maps.float().movedim(1, -1)
        # the 8 bits of bfloat16 would choose other codes in training than in sampling
        with torch.autocast(maps.device.type, enabled=False):
            distance = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T  # and the square of the vector, the same for all codes
        return distance.argmin(-1)

    def look_up(self, codes: Tensor) -> Tensor:
        """The maps (N, features, h, w) float32 of codes (N, h, w)."""
        quantized: Tensor = self.codebook[codes]
        return quantized.movedim(-1, 1)

    @torch.no_grad()
    def learn(self, maps: Tensor, codes: Tensor, rng: torch.Generator | None = None) -> None:
        """Move the codebook towards the vectors (N, features, h, w) of its ``codes`` (N, h, w); with ``rng``, revive dead codes."""
        vectors = maps.float().movedim(1, -1).flatten(0, -2)
        size = len(self.codebook)
        uses = total(torch.bincount(codes.flatten(), minlength=size).float())
        totals = total(torch.zeros_like(self.sums).index_add_(0, codes.flatten(), vectors))
        self.counts.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(totals, 1 - self.decay)
        if rng is not None:
            even = len(vectors) * processes() / size
            chosen = of_first(vectors[torch.randint(len(vectors), (size,), generator=rng, device=vectors.device)])
            dead = self.counts < DEAD * even
            self.counts.masked_fill_(dead, REVIVED * even)
            self.sums.copy_(torch.where(dead[:, None], REVIVED * even * chosen, self.sums))
        whole = self.counts.sum()
        counts = (self.counts + SMOOTH) / (whole + size * SMOOTH) * whole
        self.codebook.copy_(self.sums / counts[:, None])


def straight_through(maps: Tensor, quantized: Tensor) -> Tensor:
    """``quantized`` in the forward pass; the gradient goes to ``maps`` as if nothing had been rounded (Bengio et al. 2013)."""
    return maps + (quantized - maps).detach()


def perplexity(codes: Tensor, size: int) -> Tensor:
    """The exponential of the entropy of the codes in use: 1 where all are the same, ``size`` where all are used evenly."""
    share = torch.bincount(codes.flatten(), minlength=size).float() / codes.numel()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()
