"""What a degradation is: a distribution of operators that degrade images, drawn anew for every image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.degrade.draw import Range
from calotype.degrade.svd import SVD, Axes
from calotype.types import Noise

BLIND_TO = 1e-3  # singular values below this share of the largest count as none


class Operator(ABC):
    """A degradation whose parameters are fixed for N images of one shape: y = A(x), then noise of a known strength.

    ``forward`` is A without noise and without rounding. ``linear`` operators have an ``adjoint``: <A x, y> = <x, A* y>. Those that
    work on each axis by itself (blur that is Gaussian, bicubic downsampling, gray, and these one after another) and masks also have
    their singular value decomposition, in closed form or from small matrices.
    """

    linear: bool = True

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A of images (N, C, H, W) in [-1, 1], (N, C', h, w)."""

    def adjoint(self, y: Tensor) -> Tensor:
        """A* of (N, C', h, w). Raises ``NotImplementedError`` for operators that are not linear."""
        raise NotImplementedError

    @property
    def sigma(self) -> Tensor | None:
        """Standard deviation of the Gaussian noise that is added after A, (N,) in units of [-1, 1]; None where there is none."""
        return None

    def axes(self) -> Axes | None:
        """A as a matrix for each axis, where it is such a product; None where not."""
        return None

    def svd(self) -> SVD | None:
        """The singular value decomposition of A, where it is cheap: None elsewhere."""
        axes = self.axes()
        return None if axes is None else axes.svd()


class Identity(Operator):
    """A(x) = x, then white Gaussian noise."""

    def __init__(self, sigma: Tensor | None = None) -> None:
        self._sigma = sigma

    @property
    def sigma(self) -> Tensor | None:
        """Of the noise, (N,) in units of [-1, 1]."""
        return self._sigma

    def forward(self, x: Tensor) -> Tensor:
        """The image itself."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """The image itself."""
        return y

    def axes(self) -> Axes:
        """Nothing but identities."""
        return Axes()


class NonlinearOperator(Operator):
    """A that is not linear: any function of images, with its parameters fixed."""

    linear = False

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        """The function."""
        return self._forward(x)


@dataclass(frozen=True)
class Degraded:
    """Degraded images."""

    image: Tensor  # (N, C', h, w) float32 in [-1, 1]; beyond where noise is left unclipped
    operator: Operator  # how they came to be
    conditioning: Tensor | None = None  # (N, K, h, w) float32: maps that a restorer is given as well

    @property
    def source(self) -> Tensor:
        """What a restorer sees: the image, and the maps behind its channels."""
        return self.image if self.conditioning is None else torch.cat([self.image, self.conditioning], 1)


class Degradation(ABC):
    """A way to degrade images, with the ranges that its parameters are drawn from."""

    spec: str  # what was written to get it, such as "noise:0-55"; parsing it again gives the same
    scale: int = 1  # how many times smaller the result is
    conditioning: tuple[str, ...] = ()  # the maps that a restorer is given: "sigma" (noise level), "mask" (1 where pixels are known)
    noise_levels: Range | None = None  # of white Gaussian noise and nothing else, from 0 to 255, where a restorer is told which it is

    def channels(self, channels: int) -> int:
        """The channels of the result for images of so many."""
        return channels

    @abstractmethod
    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Degrade images (N, C, H, W) in [-1, 1], whose sides are multiples of ``scale``; image i depends on row i of ``noise`` alone."""


def round8(image: Tensor) -> Tensor:
    """Images in [-1, 1] as an 8-bit file would hold them: clipped, and rounded to the nearest of 256 levels."""
    return image.mul(127.5).add_(127.5).round_().clamp_(0, 255).sub_(127.5).mul_(1 / 127.5)
