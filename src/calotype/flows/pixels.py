"""From 8-bit pixels to real numbers and back: dequantization, and the map from the unit interval to the line.

A density p of real numbers bounds the probability of 8-bit values k: log P(k) >= E_q[log p(k + u) - log q(u | k)] with u in [0, 1)
(Theis et al. 2016; Ho et al. 2019, eq. 7). Where q is uniform the last term vanishes; a learned q makes the bound tighter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.flows.base import LOG_2_PI, Transform, bounded
from calotype.parallel import total
from calotype.precise import normal_quantile


class Logit(Transform):
    """The unit interval onto the line: logit(a + (1 - 2 a) x) with a small ``a`` (Dinh et al. 2017, section 4.1); x - 1/2 for a = 1/2.

    The logit stretches both ends of the interval, where most pixels of scanned or saturated images are.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Elementwise, of any shape."""
        z, log_slope = self._stretched(x)
        return z, log_slope.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        z, log_slope = self._stretched(x)
        return z, log_slope.sum(1)

    def _stretched(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.margin + (1 - 2 * self.margin) * x
        up, down = inner.log(), torch.log1p(-inner)
        return up - down, math.log(1 - 2 * self.margin) - up - down

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """What the model puts outside of the interval comes out outside of it."""
        return (torch.sigmoid(z) - self.margin) / (1 - 2 * self.margin)


class Scale(Transform):
    """The unit interval to (-factor, factor)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Elementwise, of any shape."""
        return (2 * x - 1) * self.factor, x.new_full((len(x),), math.log(2 * self.factor) * x[0].numel())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Back to the unit interval."""
        return (z / self.factor + 1) / 2


class Histogram(Transform):
    """The unit interval onto the line, such that what is spread over it like the pixels of the first batch becomes standard normal.

    z = Phi^-1(a + (1 - 2 a) F(x)) with a small ``a`` and F the integral of a histogram with learned heights (Chen & Gopinath 2000).
    Where most pixels share a few values their bins are a small part of the interval: this makes them a large part of the line, which a
    chain of affine maps would take long to learn.

    Args:
        bins: of the histogram, of equal width.
        margin: the ``a`` that keeps the line finite.
    """

    def __init__(self, bins: int, margin: float = 1e-6) -> None:
        super().__init__()
        self.bins, self.margin = bins, margin
        self.logits = nn.Parameter(torch.zeros(bins))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Elementwise, of any shape."""
        z, log_slope = self._stretched(x)
        return z, log_slope.flatten(1).sum(1)

    def local(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Transform.local` says."""
        z, log_slope = self._stretched(x)
        return z, log_slope.sum(1)

    def _stretched(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_heights = torch.log_softmax(self.logits, 0)
        heights = log_heights.exp()
        index = (x.detach() * self.bins).long().clamp(0, self.bins - 1)
        # an embedding adds up its gradients in one order; those of an index are added by several threads as they come
        table = torch.stack([heights.cumsum(0) - heights, heights, log_heights], dim=1)
        start, height, log_height = F.embedding(index, table).unbind(-1)
        below = start + height * (x * self.bins - index)
        # the sum of all heights may round to a little more than one
        z = normal_quantile(self.margin + (1 - 2 * self.margin) * below.clamp(0, 1))
        return z, log_height + 0.5 * (z.square() + LOG_2_PI) + math.log(self.bins * (1 - 2 * self.margin))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """What the model puts beyond an end comes out at that end."""
        heights = torch.softmax(self.logits, 0)
        above = heights.cumsum(0)
        below = ((torch.special.ndtr(z) - self.margin) / (1 - 2 * self.margin)).clamp(0, 1)
        if torch.compiler.is_exporting():  # the same by counting, which graphs of other runtimes can, and which takes more memory
            index = (above < below[..., None]).sum(-1).clamp(max=self.bins - 1)
        else:
            index = torch.searchsorted(above, below.contiguous()).clamp(max=self.bins - 1)
        share = ((below - (above - heights)[index]) / heights[index]).clamp(0, 1)
        return torch.add(share, index) / self.bins

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The histogram of the batch, the parts of all processes together, with one more in each bin."""
        index = (x * self.bins).long().clamp(0, self.bins - 1)
        self.logits.copy_(torch.log(total(torch.bincount(index.flatten(), minlength=self.bins)) + 1.0))
        self.logits.sub_(self.logits.mean())
        return super().initialize(x, context)


class UniformDequantization(nn.Module):
    """Noise that knows nothing of the image (Theis et al. 2016)."""

    def forward(self, images: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Noise u in [0, 1) of the shape of ``images``, and log q(u) of each row, (N,)."""
        noise, log_density = self.local(images, rng)
        return noise, log_density.flatten(1).sum(1)

    def local(self, images: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The same with the density of each number by itself, of the shape of ``images``."""
        return torch.rand(images.shape, generator=rng, device=images.device, dtype=images.dtype), torch.zeros_like(images)


class VariationalDequantization(nn.Module):
    """Noise sigmoid(mean + exp(log_scale) e), e normal, that a network fits to the image (after Ho et al. 2019, section 3.1).

    Args:
        network: (N, C, H, W) images in [-1, 1] to (N, 2 C, H, W): means, then raw log-scales.
        bound: the largest absolute log-scale.
    """

    def __init__(self, network: nn.Module, bound: float = 3.0) -> None:
        super().__init__()
        self.network, self.bound = network, bound

    def forward(self, images: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Noise u in (0, 1) of the shape of ``images``, and log q(u) of each row, (N,)."""
        noise, log_density = self.local(images, rng)
        return noise, log_density.flatten(1).sum(1)

    def local(self, images: Tensor, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The same with the density of each number by itself, of the shape of ``images``."""
        noise = torch.randn(images.shape, generator=rng, device=images.device, dtype=images.dtype)
        mean, raw = self.network(images).to(images.dtype).chunk(2, 1)
        log_scale = bounded(raw, self.bound)
        position = torch.addcmul(mean, noise, log_scale.exp())
        # log |du/de| = log_scale + log u + log (1 - u), without ever forming 1 - u
        stretch = log_scale + F.logsigmoid(position) + F.logsigmoid(-position)
        return torch.sigmoid(position), -0.5 * (noise.square() + LOG_2_PI) - stretch
