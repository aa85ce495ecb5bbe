"""Filters of one axis: each place of the result is a weighted sum of a few places of the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.degrade.base import Operator
from calotype.degrade.svd import Axes


@dataclass(frozen=True)
class Taps:
    """For each of ``out`` places the places that it reads, (out, taps) int64 below ``size``, and their weights.

    The weights are (1, out, taps) float64, or (N, out, taps) where every image has its own.
    """

    size: int
    place: Tensor
    weight: Tensor

    def apply(self, image: Tensor, axis: int) -> Tensor:
        """(N, C, H, W), of which ``axis`` (2 or 3) is ``size`` long, with ``out`` places there."""
        total: Tensor | None = None
        for k, place in enumerate(self.place.to(image.device).unbind(1)):
            part = image.index_select(axis, place) * self._weight(image, k, axis)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def back(self, image: Tensor, axis: int) -> Tensor:
        """The adjoint of ``apply``."""
        shape = list(image.shape)
        shape[axis] = self.size
        total = image.new_zeros(shape)
        for k, place in enumerate(self.place.to(image.device).unbind(1)):
            total.index_add_(axis, place, image * self._weight(image, k, axis))
        return total

    def matrix(self) -> Tensor:
        """The same as matrices (N or 1, out, size), float64."""
        empty = torch.zeros(*self.weight.shape[:2], self.size, dtype=torch.float64)
        return empty.scatter_add_(2, self.place.expand_as(self.weight), self.weight)

    def _weight(self, image: Tensor, k: int, axis: int) -> Tensor:
        shape = [len(self.weight), 1, 1, 1]
        shape[axis] = self.weight.shape[1]
        return self.weight[:, :, k].to(image).view(shape)


class Separable(Operator):
    """One filter along the rows and one along the columns."""

    def __init__(self, rows: Taps, columns: Taps) -> None:
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, h, w)."""
        return self.columns.apply(self.rows.apply(x, 2), 3)

    def adjoint(self, y: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, H, W)."""
        return self.rows.back(self.columns.back(y, 3), 2)

    def axes(self) -> Axes:
        """Both filters as matrices."""
        return Axes(rows=self.rows.matrix(), columns=self.columns.matrix())


def mirrored(size: int, radius: int) -> Tensor:
    """The places that a filter of ``radius`` reads beyond both borders of ``size`` places, (size + 2 radius,) int64.

    The image is continued by its mirror image, the outermost row twice: what scipy calls "reflect" and MATLAB "symmetric". A
    filter that is symmetric along both axes then keeps the mean of an image.

    >>> mirrored(3, 2).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    return reflected(torch.arange(-radius, size + radius), size)


def reflected(place: Tensor, size: int) -> Tensor:
    """Places anywhere on a line, int64, as those of ``size`` places that is continued by its mirror images."""
    place = place % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
