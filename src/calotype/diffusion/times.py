"""Where between noise and image a model is trained: half log-SNRs, as `calotype.diffusion.path` has them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from calotype.precise import normal_quantile


def stratified(n: int, rng: torch.Generator) -> Tensor:
    """``n`` numbers in (0, 1), one in each of ``n`` equal bins and in random order (Kingma et al. 2021, appendix I.1).

    Each number is uniform, and the loss of a batch varies less than with independent ones. Returns (n,) float32 on the
    generator's device.
    """
    bins = torch.randperm(n, generator=rng, device=rng.device)
    share: Tensor = (bins + torch.rand(n, generator=rng, device=rng.device)) / n
    return share


def normal_half_log_snr(n: int, rng: torch.Generator, *, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """``n`` normal half log-SNRs: more of them where the task is hard. (n,) float32.

    On the rectified path these are the logit-normal times of Esser et al. (2024, section 3.1), on the variance-exploding one the log-normal
    noise levels of Karras et al. (2022, table 1), whose P_mean is minus ``mean``.
    """
    # the quantile function is infinite at 0 and 1, which float32 can round to
    return mean + spread * normal_quantile(stratified(n, rng).clamp(1e-6, 1 - 1e-6))


def uniform_half_log_snr(n: int, rng: torch.Generator, schedule: Callable[[Tensor], Tensor]) -> Tensor:
    """Log-ratios at ``n`` uniform times of a path's schedule, as in Ho et al. (2020). (n,) float32."""
    return schedule(stratified(n, rng).clamp(1e-6, 1 - 1e-6)).float().to(rng.device)
