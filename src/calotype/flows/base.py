"""What an invertible transform is, and how several make one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LOG_2_PI = 1.8378770664093453


class Transform(nn.Module):
    """An invertible map of (N, ...) tensors with the logarithm of the absolute value of its Jacobian's determinant.

    The density of x follows from that of z = f(x): log p(x) = log p(z) + log |det dz/dx| (Rezende & Mohamed 2015). ``context`` are
    features (N, E) that the map may depend on; what does not need them leaves them alone.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to latents: z, and log |det dz/dx| of each row, (N,) in the precision of ``x``."""
        raise NotImplementedError

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ``forward``, with the log-determinant by place: (N, H, W) of images (N, C, H, W), (N, T) of tokens (N, T, D).

        Here the same for all places, which is right for whatever does the same everywhere; the others say it themselves.
        """
        z, log_abs_det = self(x, context)
        places = x.shape[2:] if x.ndim == 4 else x.shape[1:2]
        return z, (log_abs_det / math.prod(places)).view(-1, *[1] * len(places)).expand(-1, *places)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """From latents back to data."""
        raise NotImplementedError

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set what depends on data from the first batch; returns z, from which the next transform sets its own."""
        z, _ = self.forward(x, context)
        return z


class CompositeTransform(Transform):
    """Transforms one after another."""

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All of them in order; the log-determinants add up."""
        total = x.new_zeros(len(x))
        for transform in parts(self.transforms):
            x, log_abs_det = transform(x, context)
            total = total + log_abs_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """All of them backwards."""
        for transform in reversed(parts(self.transforms)):
            z = transform.inverse(z, context)
        return z

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Each from what the ones before it put out."""
        for transform in parts(self.transforms):
            x = transform.initialize(x, context)
        return x


def parts(modules: nn.ModuleList) -> list[Transform]:
    """The transforms in a list of modules, with their type."""
    return [module for module in modules if isinstance(module, Transform)]


def bounded(raw: Tensor, bound: float) -> Tensor:
    """``raw`` squeezed smoothly into (-bound, bound), with slope 1 at 0: no log-scale can run away (Dinh et al. 2017, section 3.7)."""
    return bound * torch.tanh(raw / bound)


def normal_log_prob(z: Tensor) -> Tensor:
    """Log-density of rows (N, ...) under the standard normal distribution, (N,)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(1) + flat.shape[1] * LOG_2_PI)
