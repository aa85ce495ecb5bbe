"""Operators: linear, with the adjoints and singular values that a dense matrix of the same numbers has."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from calotype import degrade
from calotype.degrade import SVD, Operator
from calotype.degrade.base import BLIND_TO
from calotype.types import Noise

EVERYWHERE = (
    "noise:0-55",
    "noise:5-25,shared",
    "poisson:30",
    "identity",
    "invert",
    "blur:1.6",
    "blur:0.5-3",
    "blur:0.5-2,turned",
    "motion:5-21",
    "motion:9,30",
    "defocus:0.5-3",
    "downsample:2",
    "downsample:3",
    "downsample:8",
    "mask:half",
    "mask:box,strokes,0.5",
    "blur:1.6+downsample:3+noise:10",
    "mask:box+blur:1",
    "invert+motion:3-9+mask:0.3+downsample:2",
)
COLOR = ("gray", "gray+blur:1+downsample:2", "blur:0.5-2+gray")
CASES = [(spec, channels) for spec, channels in product(EVERYWHERE, (1, 3))] + [(spec, 3) for spec in COLOR]
SEPARABLE = (
    "blur:1.2",
    "blur:0.5-3",
    "downsample:2",
    "downsample:3",
    "identity",
    "mask:0.4+noise:10",
    "mask:half",
    "noise:10+blur:0.7+downsample:2",
)


def pseudo_inverse(operator: Operator, y: Tensor) -> Tensor | None:
    """The smallest image that A brings closest to y, by the singular values that an operator says it has."""
    svd = operator.svd()
    if svd is None:
        return None
    singulars = svd.singulars.to(y)
    seen = singulars > BLIND_TO * singulars.amax()
    return svd.V(torch.where(seen, svd.Ut(y) / singulars.clamp(min=1e-12), 0))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operator_of(spec: str, channels: int, size: tuple[int, int], n: int = 2) -> tuple[Operator, tuple[int, ...]]:
    """The operator that images of one shape draw, and the shape of what it makes of them."""
    image = random(n, channels, *size).clamp(-1, 1).float()
    degraded = degrade.parse(spec)(image, Noise(n, 5))
    return degraded.operator, tuple(degraded.image.shape)


def sides(spec: str, height: int, width: int) -> tuple[int, int]:
    scale = degrade.parse(spec).scale
    return height * scale, width * scale


def dense(operator: Operator, channels: int, height: int, width: int) -> Tensor:
    """The operator of one image as a matrix: a column for each pixel."""
    basis = torch.eye(channels * height * width, dtype=torch.float64).view(-1, channels, height, width)
    return operator.forward(basis).flatten(1).T


@pytest.mark.parametrize(("height", "width"), [(6, 9), (13, 8), (1, 5)])
@pytest.mark.parametrize(("spec", "channels"), CASES)
def test_the_adjoint_is_the_transpose(spec: str, channels: int, height: int, width: int) -> None:
    size = sides(spec, height, width)
    operator, shape = operator_of(spec, channels, size)
    assert operator.linear
    x, other, y = random(2, channels, *size, seed=1), random(2, channels, *size, seed=2), random(*shape, seed=3)
    made, back = operator.forward(x), operator.adjoint(y)
    assert made.dtype == back.dtype == torch.float64
    assert (tuple(made.shape), back.shape) == (shape, x.shape)
    for row in range(2):  # of each image by itself
        assert float((made[row] * y[row]).sum()) == pytest.approx(float((x[row] * back[row]).sum()), rel=1e-10, abs=1e-10)
    mixed = operator.forward(2 * x - 3 * other)
    torch.testing.assert_close(mixed, 2 * made - 3 * operator.forward(other), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(operator.adjoint(-y), -back, rtol=0, atol=0)


@pytest.mark.parametrize("spec", ["jpeg:30", "dark:2", "contrast:0.5", "edges", "real", "blur:1+jpeg:30"])
def test_what_is_not_linear_says_so(spec: str) -> None:
    operator, _ = operator_of(spec, 3, (16, 16))
    assert not operator.linear
    assert operator.svd() is None
    assert pseudo_inverse(operator, random(2, 3, 16, 16)) is None
    with pytest.raises(NotImplementedError):
        operator.adjoint(random(2, 3, 16, 16))


@pytest.mark.parametrize("spec", ["noise:10", "blur:2", "downsample:4", "jpeg:40+noise:5", "contrast:0.4"])
def test_the_image_is_what_the_operator_makes_of_it_but_for_noise_and_rounding(spec: str) -> None:
    image = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    degraded = degrade.parse(spec)(image, Noise(2, 1))
    apart = (degraded.image - degraded.operator.forward(image)).std()
    sigma = degraded.operator.sigma
    if sigma is None:
        assert float(apart) < 1 / 127.5
    else:
        assert float(apart) == pytest.approx(float(sigma[0]), rel=0.1)


@pytest.mark.parametrize(("spec", "channels"), [(spec, c) for spec in SEPARABLE for c in (1, 3)] + [("gray", 3), ("gray+downsample:2", 3)])
def test_singular_values_are_those_of_the_dense_matrix(spec: str, channels: int) -> None:
    size = sides(spec, 4, 3)
    operator, shape = operator_of(spec, channels, size, n=1)
    matrix = dense(operator, channels, *size)
    found = operator.svd()
    assert found is not None
    theirs = torch.linalg.svdvals(matrix)
    ours = found.singulars.double().expand(1, channels, *size).flatten().sort(descending=True).values
    torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=1e-5, atol=1e-6)
    assert float(ours[len(theirs) :].abs().sum()) == 0
    y = random(*shape, seed=4)
    best = torch.linalg.pinv(matrix, rtol=1e-3) @ y.flatten()
    inverse = pseudo_inverse(operator, y)
    assert inverse is not None
    torch.testing.assert_close(inverse.flatten(), best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("spec", "channels"), [(spec, c) for spec in SEPARABLE for c in (1, 3)] + [("gray", 3), ("gray+downsample:2", 3)])
def test_the_decomposition_is_one_of_rotations(spec: str, channels: int) -> None:
    size = sides(spec, 5, 7)
    operator, shape = operator_of(spec, channels, size, n=3)
    found = operator.svd()
    assert found is not None
    x, y = random(3, channels, *size, seed=1), random(3, *shape[1:], seed=2)
    coordinates = found.Vt(x)
    torch.testing.assert_close(found.U(found.singulars * coordinates), operator.forward(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.V(coordinates), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(coordinates.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.V(found.singulars * found.Ut(y)), operator.adjoint(y), rtol=1e-5, atol=1e-5)
    nothing = _seen(found, x) == 0
    assert not bool(found.Ut(y)[nothing].any())
    assert not bool(found.U(torch.where(nothing, x, 0)).any())
    part = found.U(found.Ut(y))  # the part of the measurements that A reaches
    torch.testing.assert_close(found.U(found.Ut(part)), part, rtol=1e-5, atol=1e-5)


def _seen(found: SVD, x: Tensor) -> Tensor:
    return found.singulars.expand_as(x)


def test_operators_that_are_no_products_have_no_decomposition() -> None:
    for spec in ("motion:5-9", "blur:1-2,turned", "mask:box+downsample:2"):
        operator, shape = operator_of(spec, 1, (16, 16))
        assert operator.svd() is None
        assert pseudo_inverse(operator, random(*shape)) is None


@pytest.mark.parametrize("spec", ["downsample:2", "downsample:3", "mask:0.5"])
def test_what_is_well_posed_comes_back_through_the_pseudo_inverse(spec: str) -> None:
    """A A+ y == y where A reaches every measurement."""
    operator, shape = operator_of(spec, 1, sides(spec, 8, 10))
    y = operator.forward(random(2, 1, *sides(spec, 8, 10)))
    assert tuple(y.shape) == shape
    inverse = pseudo_inverse(operator, y)
    assert inverse is not None
    torch.testing.assert_close(operator.forward(inverse), y, rtol=1e-4, atol=1e-5)


def test_a_chain_quotes_its_last_noise() -> None:
    operator, _ = operator_of("noise:10+blur:1+noise:20", 1, (8, 8))
    assert operator.sigma is not None
    assert operator.sigma.tolist() == pytest.approx([20 / 127.5] * 2)
    assert operator_of("blur:1+gray", 3, (8, 8))[0].sigma is None


def test_strong_blur_of_a_small_image_keeps_its_mean() -> None:
    """A kernel ten times as wide as the image reads it again and again."""
    operator, _ = operator_of("blur:20", 1, (5, 7), n=1)
    x = random(1, 1, 5, 7)
    made = operator.forward(x)
    assert float(made.mean()) == pytest.approx(float(x.mean()), abs=1e-12)
    assert float(made.std()) < 1e-5
    assert math.isclose(float(operator.forward(torch.ones_like(x)).min()), 1, abs_tol=1e-12)
