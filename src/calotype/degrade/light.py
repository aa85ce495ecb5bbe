"""Too little light, too little contrast. The results are 8-bit, as files hold them."""

from __future__ import annotations

from torch import Tensor

from calotype.degrade.base import Degradation, Degraded, NonlinearOperator, round8
from calotype.degrade.draw import Range
from calotype.types import Noise

_GAIN = Range(0.5, 1.0)  # of dark images (Lv et al. 2021)
_HAZE = Range(-0.5, 0.5)  # the gray that low contrast shrinks to, in units of [-1, 1]


class Dark(Degradation):
    """Low light: gain times the image in [0, 1] to a power drawn from a range, the gain between 1/2 and 1 (Lv et al. 2021)."""

    def __init__(self, power: Range) -> None:
        self.power = power
        self.spec = f"dark:{power}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Darken the images."""
        power, gain = (drawn.draw(noise).to(image.device).view(-1, 1, 1, 1) for drawn in (self.power, _GAIN))

        def forward(x: Tensor) -> Tensor:
            light = (x * 0.5 + 0.5).clamp(min=1e-6, max=1)
            return gain * light**power * 2 - 1

        return Degraded(round8(forward(image)), NonlinearOperator(forward))


class Contrast(Degradation):
    """Low contrast: the distance of each pixel from one gray, drawn for each image, times a factor drawn from a range."""

    def __init__(self, factor: Range) -> None:
        self.factor = factor
        self.spec = f"contrast:{factor}"

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Fade the images."""
        factor, haze = (drawn.draw(noise).to(image.device).view(-1, 1, 1, 1) for drawn in (self.factor, _HAZE))

        def forward(x: Tensor) -> Tensor:
            return haze + factor * (x - haze)

        return Degraded(round8(forward(image)), NonlinearOperator(forward))
