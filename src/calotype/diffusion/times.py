"""Where between noise (time 0) and image (time 1) a model is trained and a sampler steps."""

from __future__ import annotations

import torch
from torch import Tensor


def logit_normal(n: int, rng: torch.Generator, *, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """``n`` times in (0, 1) whose logits are normal (Esser et al. 2024, section 3.1): more of them where the task is hard.

    The draws are stratified, one in each of ``n`` equally likely bins and in random order (Kingma et al. 2021, appendix I.1): every
    time still has the same distribution, and the loss of a batch varies less. Returns (n,) float32 on the generator's device.
    """
    bins = torch.randperm(n, generator=rng, device=rng.device)
    share = (bins + torch.rand(n, generator=rng, device=rng.device)) / n
    # the quantile function is infinite at 0 and 1, which float32 can round to
    return torch.sigmoid(mean + spread * torch.special.ndtri(share.clamp(1e-6, 1 - 1e-6)))


def steps_between(steps: int, shift: float = 1.0) -> list[float]:
    """``steps + 1`` times from 0 (noise) to 1 (image).

    A ``shift`` above 1 puts more of the steps near the noise, as large images need (Esser et al. 2024, equation 23).

    >>> steps_between(4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return [t / (t + shift * (1 - t)) for t in (i / steps for i in range(steps + 1))]
