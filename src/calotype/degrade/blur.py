"""Blur: out of focus, moving, or Gaussian. The image is continued by its mirror image beyond its borders."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from calotype.degrade import kernels
from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.draw import Range
from calotype.degrade.taps import Separable, Taps, mirrored
from calotype.types import Noise


class Convolution(Operator):
    """Each image filtered with its own kernel, over mirrored borders.

    Args:
        kernel: (N, k, k) with k odd, or (1, k, k) for all images.
    """

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel
        self._radius = kernel.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), filtered."""
        n, c, h, w = x.shape
        rows, columns = (mirrored(size, self._radius).to(x.device) for size in (h, w))
        padded = x.index_select(2, rows).index_select(3, columns)
        return functional.conv2d(padded.view(1, n * c, *padded.shape[2:]), self._weight(x), groups=n * c).view(n, c, h, w)

    def adjoint(self, y: Tensor) -> Tensor:
        """(N, C, H, W), filtered the other way round, with what falls beyond the borders folded back."""
        n, c, h, w = y.shape
        spread = functional.pad(y.reshape(1, n * c, h, w), (2 * self._radius,) * 4)
        wide = functional.conv2d(spread, self._weight(y).flip(2, 3), groups=n * c)  # ten times as fast as conv_transpose2d for one image
        rows, columns = (mirrored(size, self._radius).to(y.device) for size in (h, w))
        wide = wide.view(n, c, *wide.shape[2:])
        tall = y.new_zeros(n, c, h, wide.shape[3]).index_add_(2, rows, wide)
        return y.new_zeros(n, c, h, w).index_add_(3, columns, tall)

    def _weight(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        kernel = self.kernel.to(x).expand(n, -1, -1)
        return kernel[:, None].expand(-1, c, -1, -1).reshape(n * c, 1, *kernel.shape[1:])


class GaussianBlur(Degradation):
    """Gaussian blur, its standard deviation in pixels drawn from a range.

    Args:
        sigma: Of the blur, in pixels.
        turned: Whether the blur differs in two directions at right angles, in any position: each has its own standard deviation.
    """

    def __init__(self, sigma: Range, turned: bool = False) -> None:
        self.sigma, self.turned = sigma, turned
        self.spec = f"blur:{sigma}" + (",turned" if turned else "")
        self._radius = max(1, int(4 * sigma.high + 0.5))

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Blur the images."""
        operator: Operator
        sigma = self.sigma.draw(noise)
        if self.turned:
            operator = Convolution(kernels.turned(sigma, self.sigma.draw(noise), math.pi * noise.uniform().cpu(), self._radius))
        else:
            weight = kernels.gaussian(sigma, self._radius)[:, None]
            rows, columns = (_mirrored_taps(size, self._radius, weight) for size in image.shape[2:])
            operator = Separable(rows, columns)
        return Degraded(operator.forward(image), operator)


class Motion(Degradation):
    """The blur of a straight movement of a length in pixels; in any direction, or at an angle in degrees (0 is level)."""

    def __init__(self, length: Range, angle: Range | None = None) -> None:
        self.length, self.angle = length, angle
        self.spec = f"motion:{length}" + ("" if angle is None else f",{angle}")
        self._radius = math.ceil(length.high / 2) + 1

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Blur the images."""
        degrees = (self.angle or Range(0, 180)).draw(noise)
        operator = Convolution(kernels.motion(self.length.draw(noise), degrees * (math.pi / 180), self._radius))
        return Degraded(operator.forward(image), operator)


class Defocus(Degradation):
    """The blur of a lens out of focus: a disk, its radius in pixels drawn from a range."""

    def __init__(self, radius: Range) -> None:
        self.radius = radius
        self.spec = f"defocus:{radius}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Blur the images."""
        operator = Convolution(kernels.disk(self.radius.draw(noise), math.ceil(self.radius.high + 0.5)))
        return Degraded(operator.forward(image), operator)


def _mirrored_taps(size: int, radius: int, weight: Tensor) -> Taps:
    place = mirrored(size, radius).unfold(0, 2 * radius + 1, 1)
    return Taps(size, place, weight.expand(-1, size, -1))
