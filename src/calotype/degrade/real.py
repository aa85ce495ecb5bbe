"""What happens to photographs on their way through cameras, editors and networks, without anyone knowing what (Real-ESRGAN)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from calotype.degrade import kernels
from calotype.degrade.base import Degradation, Degraded, NonlinearOperator, round8
from calotype.degrade.blur import Convolution
from calotype.degrade.color import Luma
from calotype.degrade.draw import generators
from calotype.degrade.jpeg import compress
from calotype.types import Noise

_RADII = (3, 10)  # of all kernels
_LEVELS = 256.0  # photons at white of the unscaled Poisson noise
_LEAST = 4  # pixels a side that an image never falls below on its way
_MODES = ("area", "bilinear", "bicubic")

_Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Pass:
    """The ranges of one pass (Wang et al. 2021, section 4.1 and the published settings)."""

    blur: tuple[float, float]  # standard deviation in pixels
    blurred: float  # share of the images that are blurred at all
    grow: float  # the most that an image is enlarged
    shrink: float  # and the least size, relative to what it should have
    ways: tuple[float, float]  # shares of the images that are enlarged, and made smaller
    gaussian: tuple[float, float]  # standard deviation of the noise on the scale of 0 to 255
    poisson: tuple[float, float]  # strength of the photon noise


_FIRST = _Pass((0.2, 3.0), 1.0, 1.5, 0.15, (0.2, 0.7), (1.0, 30.0), (0.05, 3.0))
_SECOND = _Pass((0.2, 1.5), 0.8, 1.2, 0.3, (0.3, 0.4), (1.0, 25.0), (0.05, 2.5))
_QUALITY = (30.0, 95.0)
_GRAY = 0.4  # share of the noise that is the same in all channels
_RINGING = 0.1  # share of the blurs that ring
_FINAL = 0.8  # share of the images that ring in the end


class Real(Degradation):
    """Blind degradation in two passes of blur, resizing, noise and JPEG, then ringing (Wang et al. 2021, "Real-ESRGAN"); 8-bit.

    Every step draws its kind and its strength for each image. The operator repeats the steps without their noise.
    """

    def __init__(self, scale: int = 1) -> None:
        self.scale = scale
        self.spec = "real" if scale == 1 else f"real:{scale}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Send the images on their way."""
        size = image.shape[2] // self.scale, image.shape[3] // self.scale
        degraded, ways = [], []
        for one, generator in zip(image[:, None], generators(noise), strict=True):
            pipeline = _Pipeline(generator, one.cpu())
            pipeline.through(_FIRST, (image.shape[2], image.shape[3]))
            pipeline.take(_jpeg(pipeline.between(*_QUALITY)))
            pipeline.through(_SECOND, size)
            pipeline.finish(size)
            degraded.append(pipeline.image)
            ways.append(pipeline.steps)

        def forward(x: Tensor) -> Tensor:
            return torch.cat([_along(one, steps) for one, steps in zip(x[:, None], ways, strict=True)])

        return Degraded(round8(torch.cat(degraded)).to(image.device), NonlinearOperator(forward))


class _Pipeline:
    """One image (1, C, H, W) on its way, and the steps that it took."""

    def __init__(self, generator: torch.Generator, image: Tensor) -> None:
        self.image = image
        self.steps: list[_Step] = []
        self._generator = generator

    def between(self, low: float, high: float) -> float:
        """A number uniform in a range."""
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def chance(self, share: float) -> bool:
        """Whether something happens that does in this share of the cases."""
        return self.between(0, 1) < share

    def take(self, step: _Step) -> None:
        """Go one step."""
        self.image = step(self.image)
        self.steps.append(step)

    def through(self, ranges: _Pass, size: tuple[int, int]) -> None:
        """Blur, resize to about ``size``, add noise."""
        if self.chance(ranges.blurred):
            self.take(self._sinc() if self.chance(_RINGING) else self._blur(ranges))
        way = self.between(0, 1)
        if way < ranges.ways[0]:
            factor = self.between(1, ranges.grow)
        elif way < sum(ranges.ways):
            factor = self.between(ranges.shrink, 1)
        else:
            factor = 1.0
        self.take(self._resize((max(_LEAST, round(size[0] * factor)), max(_LEAST, round(size[1] * factor)))))
        self._add_noise(ranges)

    def finish(self, size: tuple[int, int]) -> None:
        """The last resizing, ringing, and JPEG before or after both."""
        last = _jpeg(self.between(*_QUALITY))
        before = self.chance(0.5)
        if before:
            self.take(last)
        self.take(self._resize(size))
        if self.chance(_FINAL):
            self.take(self._sinc())
        if not before:
            self.take(last)

    def _blur(self, ranges: _Pass) -> _Step:
        first = self.between(*ranges.blur)
        second = self.between(*ranges.blur) if self.chance(0.5) else first
        radius = min(max(math.ceil(3 * max(first, second)), _RADII[0]), _RADII[1])
        one, other, angle = (torch.tensor([value]) for value in (first, second, self.between(0, math.pi)))
        return Convolution(kernels.turned(one, other, angle, radius)).forward

    def _sinc(self) -> _Step:
        radius = int(self.between(_RADII[0], _RADII[1] + 1))
        return Convolution(kernels.sinc(torch.tensor([self.between(math.pi / 3, math.pi)]), radius)).forward

    def _resize(self, size: tuple[int, int]) -> _Step:
        mode = _MODES[min(int(self.between(0, len(_MODES))), len(_MODES) - 1)]
        return lambda x: functional.interpolate(x, size=size, mode=mode) if tuple(x.shape[2:]) != size else x

    def _add_noise(self, ranges: _Pass) -> None:
        """Noise is no step: it is not repeated."""
        gray = self.chance(_GRAY)
        if self.chance(0.5):
            grain = torch.randn(1, 1 if gray else self.image.shape[1], *self.image.shape[2:], generator=self._generator)
            self.image = self.image + grain * (self.between(*ranges.gaussian) / 127.5)
            return
        seen = Luma().forward(self.image) if gray and self.image.shape[1] == 3 else self.image
        light = (seen * 0.5 + 0.5).clamp(0, 1)
        grain = torch.poisson(light * _LEVELS, self._generator) / _LEVELS - light
        self.image = self.image + 2 * self.between(*ranges.poisson) * grain


def _jpeg(quality: float) -> _Step:
    return lambda x: compress(x[0], round(quality))[None]


def _along(x: Tensor, steps: list[_Step]) -> Tensor:
    for step in steps:
        x = step(x)
    return x
