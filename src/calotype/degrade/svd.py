"""Linear operators by their singular values: what posterior samplers ask for (Kawar et al. 2022, DDRM)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class SVD(ABC):
    """A = U S V*, with V a rotation of the whole space of images (N, C, H, W).

    Coordinates have the shape of images for U as well: U's stand at the places of the singular values that they belong to and are
    zero where A sees nothing. So ``A x == U(singulars * Vt(x))``, and ``V(Vt(x)) == x`` for every image x.
    """

    singulars: Tensor  # not negative, broadcastable to (N, C, H, W); zero where A sees nothing

    @abstractmethod
    def Vt(self, x: Tensor) -> Tensor:
        """Coordinates (N, C, H, W) of images (N, C, H, W)."""

    @abstractmethod
    def V(self, c: Tensor) -> Tensor:
        """Images (N, C, H, W) of their coordinates: the inverse of ``Vt``."""

    @abstractmethod
    def U(self, c: Tensor) -> Tensor:
        """Measurements (N, C', h, w) of coordinates (N, C, H, W); those where A sees nothing have no part in them."""

    @abstractmethod
    def Ut(self, y: Tensor) -> Tensor:
        """Coordinates (N, C, H, W) of measurements (N, C', h, w), zero where A sees nothing."""


class Diagonal(SVD):
    """A that weights pixels: singular values with the images themselves as coordinates."""

    def __init__(self, weight: Tensor) -> None:
        self.singulars = weight

    def Vt(self, x: Tensor) -> Tensor:
        """The images."""
        return x

    def V(self, c: Tensor) -> Tensor:
        """The coordinates."""
        return c

    def U(self, c: Tensor) -> Tensor:
        """The coordinates, where the weights are not zero."""
        return c * (self.singulars > 0)

    def Ut(self, y: Tensor) -> Tensor:
        """The measurements, where the weights are not zero."""
        return y * (self.singulars > 0)


@dataclass(frozen=True)
class Axes:
    """A that is a matrix over the channels, times one over the rows, times one over the columns; None stands for the identity.

    Each is (N, out, in), or (1, out, in) where it is the same for all images, in float64.
    """

    channels: Tensor | None = None
    rows: Tensor | None = None
    columns: Tensor | None = None

    def after(self, first: Axes) -> Axes:
        """What ``first`` and then these do."""
        pairs = ((self.channels, first.channels), (self.rows, first.rows), (self.columns, first.columns))
        return Axes(*(b if a is None else a if b is None else a @ b for a, b in pairs))

    def svd(self) -> SVD:
        """The singular values and rotations, from those of the three matrices."""
        return _Product(*(None if m is None else _Factor.of(m) for m in (self.channels, self.rows, self.columns)))


@dataclass(frozen=True)
class _Factor:
    """The decomposition of one matrix, float32: (N, out, out), (N, in) padded with zeros, (N, in, in)."""

    left: Tensor
    singulars: Tensor
    right: Tensor

    @staticmethod
    def of(matrix: Tensor) -> _Factor:
        left, values, right = torch.linalg.svd(matrix, full_matrices=True)
        padded = values.new_zeros(len(matrix), matrix.shape[2])
        padded[:, : values.shape[1]] = values
        return _Factor(left.float(), padded.float(), right.float())


class _Product(SVD):
    """A decomposition axis by axis: 1 the channels, 2 the rows, 3 the columns."""

    def __init__(self, channels: _Factor | None, rows: _Factor | None, columns: _Factor | None) -> None:
        self._factors = {axis: f for axis, f in ((1, channels), (2, rows), (3, columns)) if f is not None}
        self.singulars = torch.ones(1, 1, 1, 1)
        for axis, factor in self._factors.items():
            shape = [len(factor.singulars), 1, 1, 1]
            shape[axis] = factor.singulars.shape[1]
            self.singulars = self.singulars * factor.singulars.view(shape)

    def Vt(self, x: Tensor) -> Tensor:
        """Each axis turned."""
        for axis, factor in self._factors.items():
            x = along(x, factor.right, axis)
        return x

    def V(self, c: Tensor) -> Tensor:
        """Each axis turned back."""
        for axis, factor in self._factors.items():
            c = along(c, factor.right.mT, axis)
        return c

    def U(self, c: Tensor) -> Tensor:
        """Each axis cut to the measurements and turned."""
        for axis, factor in self._factors.items():
            c = along(c.narrow(axis, 0, factor.left.shape[1]), factor.left, axis)
        return c

    def Ut(self, y: Tensor) -> Tensor:
        """Each axis turned back and filled up with zeros."""
        for axis, factor in self._factors.items():
            y = along(y, factor.left.mT, axis)
            lacking = factor.right.shape[1] - y.shape[axis]
            pad = [0, 0] * (3 - axis) + [0, lacking]
            y = torch.nn.functional.pad(y, pad) if lacking else y
        return y * (self.singulars.to(y) > 0)


def along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """(N, C, H, W) times matrices (N or 1, out, in) along one axis."""
    matrix = matrix.to(x)
    if axis == 3:
        return x @ matrix.mT[:, None]
    if axis == 2:
        return matrix[:, None] @ x
    return torch.einsum("noc,nchw->nohw", matrix.expand(len(x), -1, -1), x)
