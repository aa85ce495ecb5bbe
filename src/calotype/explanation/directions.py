"""Directions among codes that nobody named: by the weights that codes meet first (SeFa), and by what varies most (GANSpace)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calotype.capabilities import HasDecoder
from calotype.errors import UserError
from calotype.explanation.codes import Codes
from calotype.explanation.layers import inner_layers
from calotype.networks.hooks import recorded

AT_ONCE = 256  # codes
MOST = 2_048  # numbers of a code whose layers are probed one by one
LINEAR = 1e-3  # relative error up to which a layer counts as linear in the codes


@dataclass(frozen=True)
class LatentDirection:
    """A direction among the codes."""

    name: str  # "sefa-1", "pca-3", "slant"
    vector: Tensor  # (d,) float32 of length 1
    weight: float = 0.0  # what it was ranked by: an eigenvalue, relative to the sum of all


def sefa(weights: Tensor, count: int) -> list[LatentDirection]:
    """The directions along which the first layer changes most (closed-form factorization, Shen & Zhou 2021, eq. 7).

    They are the eigenvectors of A A^T with the largest eigenvalues. A is (d, F): column f is what output f multiplies codes by, of length
    1, as in the authors' code, so that no output counts more than another. Signs are arbitrary: the largest entry is made positive.

    Args:
        weights: (F, d), a row for each output, as ``nn.Linear.weight`` and `first_weights` have it.
        count: how many at most.

    Raises:
        UserError: where no output depends on the codes.
    """
    rows = weights.double()
    lengths = rows.norm(dim=1, keepdim=True)
    rows = (rows / lengths.clamp_min(1e-300))[lengths[:, 0] > 1e-8 * lengths.max()]
    if not len(rows) or not float(lengths.max()) > 0:
        raise UserError("the first layer of this model does not depend on its latents: its training failed, or did not begin")
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    return _ranked("sefa", values.flip(0), vectors.flip(1).T, count)


def pca(codes: Tensor, activations: Tensor, count: int) -> list[LatentDirection]:
    """The directions that lead along the principal components of what codes become (GANSpace, Härkönen et al. 2020, section 2.2).

    Activations y_j of codes z_j are reduced to coordinates x_j = V^T (y_j - mean); the directions are the columns of the U that minimizes
    the sum of |U x_j - z_j|^2 (eq. 4). Where activations are the codes themselves, as those of styles, U is V.

    Args:
        codes: (N, d).
        activations: (N, A), of the same rows.
        count: how many at most.
    """
    y, z = activations.float() - activations.double().mean(0).float(), codes.double() - codes.double().mean(0)
    # coordinates are rows of U S, whose columns are orthogonal, so that least squares are projections: U and S of the smaller Gram matrix
    if len(y) <= y.shape[1]:
        squares, left = torch.linalg.eigh((y @ y.T).double())
    else:
        squares, right = torch.linalg.eigh((y.T @ y).double())
        left = y.double() @ right[:, -count:] / squares[-count:].clamp_min(1e-300).sqrt()
    kept = int((squares > 1e-6 * squares.max()).sum())  # of single precision
    return _ranked("pca", squares.flip(0).clamp_min(0), (left.flip(1).T @ z)[:kept], count)


def _ranked(kind: str, values: Tensor, vectors: Tensor, count: int) -> list[LatentDirection]:
    """The first of some vectors (K, d) as directions, with their shares of the sum of all values."""
    shares = values / values.sum()
    return [LatentDirection(f"{kind}-{k + 1}", _signed(v), float(shares[k])) for k, v in enumerate(vectors[:count])]


def _signed(vector: Tensor) -> Tensor:
    unit = vector / vector.norm().clamp_min(1e-300)
    largest = unit[unit.abs().argmax()]
    return torch.sign(largest).mul(unit).float()


@torch.no_grad()
def first_weights(codes: Codes, label: int | None = None) -> Tensor | None:
    """The weights (F, d) by which the layers multiply codes that codes meet first; None for a network that cannot be looked into.

    Codes of more than 2,048 numbers are not probed: None.

    Of a generator with styles these are the layers that turn styles into scales, together; else the first layer, or several, where each
    takes a part of the latents. They are found by what they do: layers with weights that are given a
    vector which is linear in the code, be it brought to one length first.
    """
    model = codes.generator.model
    if not isinstance(model, HasDecoder):
        return None
    d = codes.dimension
    if d > MOST:
        return None
    unit = torch.eye(d)
    probes = torch.cat([torch.zeros(1, d), unit, 2 * unit[:1], torch.ones(1, d) / d**0.5])
    seen: list[list[tuple[Tensor, Tensor]]] = []  # of each part of the probes what went into each layer and came out

    def look(module: nn.Module, given: tuple[object, ...], out: object) -> None:
        x = given[0] if given else None
        if isinstance(x, Tensor) and isinstance(out, Tensor) and len(x) == len(out) and x.flatten(1).shape[1] == x.shape[1]:
            seen[-1].append((x.detach().flatten(1).cpu().double(), out.detach().flatten(1).cpu().double()))

    with recorded([m for m in model.decoding.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)], look):
        for some in probes.tensor_split(-(-len(probes) // AT_ONCE)):
            seen.append([])
            codes.on_device(some.to(codes.generator.device), codes.labels(len(some), label or 0))
    found = [(torch.cat([x for x, _ in layer]), torch.cat([out for _, out in layer])) for layer in zip(*seen, strict=True)]
    parts = [_slopes(out, d) for x, out in found if _linear(x, d) and _linear(out, d)]
    return torch.cat(parts).float() if parts else None


def _slopes(out: Tensor, d: int) -> Tensor:
    """(F, d): what each output gains by a unit of each code."""
    return (out[1 : d + 1] - out[0]).T


def _linear(out: Tensor, d: int) -> bool:
    """Whether what came of the probes depends on the codes, and is linear in them."""
    slopes = _slopes(out, d)
    size = float(slopes.abs().max())
    # networks that bring latents to one length first (Karras et al. 2018) are linear in what comes of them
    twice = torch.minimum(*((out[d + 1] - out[0] - times * slopes[:, 0]).abs().max() for times in (1, 2)))
    together = (out[d + 2] - out[0] - slopes.sum(1) / d**0.5).abs().max()
    return size > 0 and float(torch.maximum(twice, together)) <= LINEAR * size * d**0.5


@torch.no_grad()
def first_activations(codes: Codes, z: Tensor, label: Tensor | None = None) -> Tensor:
    """What principal components are taken of, (N, A), of codes (N, d): the styles themselves, or the first inner maps, or the images."""
    if codes.styled is not None:
        return z
    layers = inner_layers(codes)
    parts: list[Tensor] = []
    if not layers:
        return codes.images(z, label).flatten(1)

    def keep(module: nn.Module, given: object, out: object) -> None:
        assert isinstance(out, Tensor)
        parts.append(out.flatten(1).float().cpu())
        raise _SeenError  # what comes behind the layer costs most, and is not needed

    for at in range(0, len(z), AT_ONCE):
        with recorded([layers[0].module], keep), suppress(_SeenError):
            codes.on_device(z[at : at + AT_ONCE].to(codes.generator.device), None if label is None else label[at : at + AT_ONCE])
    return torch.cat(parts)


class _SeenError(Exception):
    """A layer has put out what was asked for."""
