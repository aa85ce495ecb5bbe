"""One degradation after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from calotype.degrade.base import Degradation, Degraded, Identity, Operator
from calotype.degrade.svd import SVD, Axes
from calotype.errors import UserError
from calotype.types import Noise


class Chain(Operator):
    """Operators one after another, the first first; linear if all are. Its noise is that of the last noisy one."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        self.operators = tuple(operators)
        self.linear = all(operator.linear for operator in operators)

    @property
    def sigma(self) -> Tensor | None:
        """Of the last noisy operator; what comes after it may have blurred that noise, which no number tells."""
        levels = [operator.sigma for operator in self.operators if operator.sigma is not None]
        return levels[-1] if levels else None

    def forward(self, x: Tensor) -> Tensor:
        """Each in turn."""
        for operator in self.operators:
            x = operator.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Each in turn, the last first."""
        for operator in reversed(self.operators):
            y = operator.adjoint(y)
        return y

    def axes(self) -> Axes | None:
        """The products of the matrices, where all have them."""
        product = Axes()
        for operator in self.operators:
            axes = operator.axes()
            if axes is None:
                return None
            product = axes.after(product)
        return product

    def svd(self) -> SVD | None:
        """That of the only operator that does anything, or of the product of matrices."""
        busy = [operator for operator in self.operators if not isinstance(operator, Identity)]
        return busy[0].svd() if len(busy) == 1 else super().svd()


class Composition(Degradation):
    """Degradations one after another, the first first.

    Raises:
        UserError: where two of them give a restorer the same map.
    """

    def __init__(self, parts: Sequence[Degradation]) -> None:
        self.parts = tuple(parts)
        self.spec = "+".join(part.spec for part in parts)
        self.conditioning = tuple(name for part in parts for name in part.conditioning)
        for part in parts:
            self.scale *= part.scale
        if len(set(self.conditioning)) < len(self.conditioning):
            twice = " and ".join(part.spec for part in parts if part.conditioning)
            raise UserError(f"{self.spec}: {twice} would both tell the restorer the same thing: leave one of them out, or fix its level")

    def channels(self, channels: int) -> int:
        """After all of them."""
        for part in self.parts:
            channels = part.channels(channels)
        return channels

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Degrade the images by each in turn."""
        operators, maps = [], []
        for part in self.parts:
            step = part(image, noise)
            image = step.image
            operators.append(step.operator)
            if step.conditioning is not None:
                maps.append((step.conditioning, part.conditioning))
        known = [_fitted(given, names, image) for given, names in maps]
        return Degraded(image, Chain(operators), torch.cat(known, 1) if known else None)


def _fitted(known: Tensor, names: tuple[str, ...], image: Tensor) -> Tensor:
    """A map in the size that the images have in the end; a pixel with an unknown one in its place is unknown.

    Filters reach a little further: known pixels beside holes hold a trace of them.
    """
    if known.shape[2:] == image.shape[2:]:
        return known
    if names == ("mask",):
        return -functional.adaptive_max_pool2d(-known, image.shape[2:])
    return known[:, :, :1, :1].expand(-1, -1, *image.shape[2:])
