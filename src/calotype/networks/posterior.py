"""Normal posteriors of latents, and the prior that they are measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_LOG_SCALE = 6.0  # of a posterior, and of its inverse


def moments(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the scale of a posterior, float32, from (N, 2 z, ...) numbers of any size.

    The logarithm is bent to stay within (-6, 6): without bounds a single bad step overflows, and with hard ones it would never return.
    """
    mean, log_scale = numbers.float().chunk(2, dim=1)
    return mean, LARGEST_LOG_SCALE * torch.tanh(log_scale / LARGEST_LOG_SCALE)


class ClassPrior(nn.Module):
    """A normal prior of a vector of latents with a mean and a scale learned for each class.

    It is written as a change of units: in those of the prior of their class, latents are standard normal before an image is seen.
    Without classes nothing changes.

    Args:
        latent: numbers of the vector.
        classes: labels 0 to ``classes - 1``; 0 for none.
    """

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.moments = nn.Embedding(classes, 2 * latent) if classes else None
        if self.moments is not None:
            nn.init.zeros_(self.moments.weight)

    def standardize(self, mean: Tensor, log_scale: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale of a posterior, (N, latent), in units of the prior."""
        if self.moments is None or label is None:
            return mean, log_scale
        center, log_spread = moments(self.moments(label))
        return (mean - center) * torch.exp(-log_spread), log_scale - log_spread

    def forward(self, standard: Tensor, label: Tensor | None) -> Tensor:
        """Latents (N, latent), given in units of the prior."""
        if self.moments is None or label is None:
            return standard
        center, log_spread = moments(self.moments(label))
        return center + log_spread.exp() * standard
