"""Linear transforms of the channels of an image: actnorm, and the invertible 1x1 convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.flows.base import Transform
from calotype.parallel import average
from calotype.precise import doubled

LEAST_DEVIATION = 1e-3  # of a channel that actnorm is to normalize: a constant one must not become an infinite scale


class ActNorm(Transform):
    """A scale and a shift for each channel of (N, C, H, W), set so that the first batch leaves standardized (Kingma & Dhariwal 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """exp(log_scale) x + shift."""
        log_abs_det = self.log_scale.sum() * (x.shape[2] * x.shape[3])
        return torch.addcmul(self.shift, x, self.log_scale.exp()), log_abs_det.expand(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """(z - shift) exp(-log_scale)."""
        return (z - self.shift) * torch.exp(-self.log_scale)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Zero mean and unit variance of each channel over the batch, the parts of all processes together."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        whole = average(mean)
        variance, mean = average(variance + (mean - whole).square()), whole
        self.log_scale.copy_(-torch.log(variance.sqrt() + LEAST_DEVIATION)[:, None, None])
        self.shift.copy_(-mean[:, None, None] * self.log_scale.exp())
        return super().initialize(x, context)


class InvertibleConv(Transform):
    """A 1x1 convolution with the matrix P L (U + diag(s)), whose log-determinant is sum log |s| (Kingma & Dhariwal 2018, eq. 10).

    P is a fixed permutation, L is lower triangular with ones on the diagonal, U strictly upper triangular. It starts as a random
    rotation. Always computed in the precision of ``x``: what is inverted must not be rounded to 8 bits.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation.float())
        self.register_buffer("sign", diagonal.sign().float())
        self.log_scale = nn.Parameter(diagonal.abs().log().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self._inverse: Tensor | None = None  # of its matrix

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to the same shape."""
        lower, upper = self._factors()
        with torch.autocast(x.device.type, enabled=False):
            z = F.conv2d(x, (self.permutation @ lower @ upper)[:, :, None, None])
        return z, (self.log_scale.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """By two triangular systems, in float64 because their errors grow with the number of channels."""
        if torch.compiler.is_exporting():  # a graph that is exported has no such systems: it holds the matrix of the last call before it
            assert self._inverse is not None
            return F.conv2d(z, self._inverse.to(z)[:, :, None, None])
        lower, upper = (doubled(factor) for factor in self._factors())
        middle = torch.linalg.solve_triangular(lower, doubled(self.permutation).T, upper=False, unitriangular=True)
        matrix = torch.linalg.solve_triangular(upper, middle, upper=True)
        self._inverse = matrix.detach()
        return F.conv2d(doubled(z), matrix[:, :, None, None]).to(z)

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(len(self.lower), dtype=self.lower.dtype, device=self.lower.device)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
