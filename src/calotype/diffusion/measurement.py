"""What was measured of images, y = A x + noise, and the algebra that posterior samplers need of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from calotype.degrade.base import BLIND_TO, Operator
from calotype.degrade.svd import SVD
from calotype.diffusion.path import per_image

ROUNDING = 2 / 255 / math.sqrt(12)  # standard deviation of rounding to 8 bits: no picture says more of an image
CLEAR = 0.5  # singular values above this share of the largest hand the noise on without much growth
ITERATIONS = 200  # of conjugate gradients at most
TOLERANCE = 1e-3  # of the residual that they leave, relative to the one they began with


@dataclass(frozen=True)
class Measurement:
    """y = A(x) + sigma noise, of N images."""

    y: Tensor  # (N, C', h, w)
    operator: Operator
    sigma: Tensor  # (N,) in units of [-1, 1]; 0 where nothing was added

    @cached_property
    def variance(self) -> Tensor:
        """Of the noise, (N, 1, 1, 1), with that of 8-bit rounding."""
        return per_image(self.sigma.to(self.y).square() + ROUNDING**2, self.y)

    @cached_property
    def svd(self) -> SVD | None:
        """Of the operator, where it has one."""
        return self.operator.svd() if self.operator.linear else None

    def copies(self, count: int) -> Measurement:
        """The same images ``count`` times over, one set behind the other."""
        return Measurement(self.y.repeat(count, 1, 1, 1), _Copies(self.operator, len(self.y), self.svd, count), self.sigma.repeat(count))

    def seen(self, x: Tensor) -> Tensor:
        """Which numbers of y any image of the shape of ``x`` has a part in, 1 or 0: not what a mask hides."""
        return (self.operator.forward(torch.ones_like(x)) != 0).to(x) if self.operator.linear else torch.ones_like(self.y)

    def residual(self, x: Tensor) -> Tensor:
        """The root mean square of y - A x, (N,), over what is seen."""
        seen = self.seen(x)
        rest = (self.y - self.operator.forward(x)) * seen
        return (rest.square().flatten(1).sum(1) / seen.flatten(1).sum(1).clamp(min=1)).sqrt()

    def weighed(self, residual: Tensor, spread: float) -> Tensor:
        """(spread A A* + sigma^2)^-1 of a residual (N, C', h, w): in closed form with singular values, else by conjugate gradients.

        What A* does not see may be left out. Of an operator that is not linear, A A* is taken for the identity.
        """
        if not self.operator.linear:
            return residual / (spread + self.variance)
        if self.svd is None:
            forward, adjoint = self.operator.forward, self.operator.adjoint
            return conjugate_gradients(lambda w: spread * forward(adjoint(w)) + self.variance * w, residual)
        return self.svd.U(self.svd.Ut(residual) / (spread * self.svd.singulars.to(residual).square() + self.variance))

    def kept(self, x: Tensor) -> Tensor:
        """The images (N, C, H, W) with what was measured without noise put in its place: known pixels of a mask to the last bit."""
        if self.svd is None:
            return x
        singulars = self.svd.singulars.to(x)
        clear = (singulars > CLEAR * singulars.amax()) & (per_image(self.sigma.to(x), x) == 0)
        restored = self.svd.V(torch.where(clear, self.svd.Ut(self.y) / singulars.clamp(min=BLIND_TO), self.svd.Vt(x)))
        return torch.where(clear.flatten(1).any(1).view(-1, 1, 1, 1), restored, x)


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """The solutions (N, ...) of ``matrix(w) = target`` for N symmetric positive matrices at once (Hestenes & Stiefel 1952)."""
    solution = torch.zeros_like(target)
    rest, direction = target, target
    size = first = dot(rest, rest)
    for _ in range(ITERATIONS):
        if bool((size <= TOLERANCE**2 * first).all()):
            break
        image = matrix(direction)
        step = size / dot(direction, image).clamp(min=1e-30)
        solution = solution + step * direction
        rest = rest - step * image
        size, before = dot(rest, rest), size
        direction = rest + size / before.clamp(min=1e-30) * direction
    return solution


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of products of each pair, (N, 1, 1, 1)."""
    return per_image((a * b).flatten(1).sum(1), a)


class _Copies(Operator):
    """An operator of N images applied to several sets of them."""

    def __init__(self, operator: Operator, images: int, svd: SVD | None, count: int) -> None:
        self.linear = operator.linear
        self._operator, self._images = operator, images
        self._svd = None if svd is None else _CopiedSVD(svd, images, count)

    def forward(self, x: Tensor) -> Tensor:
        """Set by set."""
        return torch.cat([self._operator.forward(part) for part in torch.split(x, self._images)])

    def adjoint(self, y: Tensor) -> Tensor:
        """Set by set."""
        return torch.cat([self._operator.adjoint(part) for part in torch.split(y, self._images)])

    def svd(self) -> SVD | None:
        """Set by set."""
        return self._svd


class _CopiedSVD(SVD):
    def __init__(self, svd: SVD, images: int, count: int) -> None:
        self._svd, self._images = svd, images
        self.singulars = svd.singulars if len(svd.singulars) == 1 else svd.singulars.repeat(count, 1, 1, 1)

    def _each(self, apply: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        return torch.cat([apply(part) for part in torch.split(values, self._images)])

    def Vt(self, x: Tensor) -> Tensor:
        return self._each(self._svd.Vt, x)

    def V(self, c: Tensor) -> Tensor:
        return self._each(self._svd.V, c)

    def U(self, c: Tensor) -> Tensor:
        return self._each(self._svd.U, c)

    def Ut(self, y: Tensor) -> Tensor:
        return self._each(self._svd.Ut, y)
