"""Losses that pull together what belongs together and push apart what does not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def patch_nce(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """Cross entropy of finding, for each place of an output, the same one of its input among others of that (Park et al. 2020, eq. 3).

    ``query`` and ``key`` are (N, P, D) of unit length: P places of N images each; ``key`` gets no gradient. Returns the mean over all
    places, at log P where nothing can be told apart.
    """
    alike = torch.bmm(query, key.detach().transpose(1, 2)) / temperature  # (N, P, P); the diagonal is where query and key are one place
    wanted = torch.arange(query.shape[1], device=query.device).expand(len(query), -1)
    return functional.cross_entropy(alike.flatten(0, 1), wanted.flatten())
