"""Directions that lead from images with little of an attribute to images with much of it: linear separation of their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import UserError

SHARE = 0.2  # of the codes, from either end of an attribute, that are told apart
HELD_OUT = 0.2  # of these, that the separation is judged by
FEWEST = 20  # codes from either end
COST = 0.01  # of the machine that separates them, for codes of standard deviation 1: planted directions are found best near it


@dataclass(frozen=True)
class Separation:
    """A direction, and how well it separates."""

    vector: Tensor  # (d,) float32 of length 1, from little to much
    accuracy: float  # share of codes on the right side, of those that were held out
    held_out: int  # how many these were
    used: int  # codes that the direction was learned from


def separate(codes: Tensor, values: Tensor, *, share: float = SHARE, seed: int = 0) -> Separation:
    """The unit normal of the plane that separates the codes of the images with most of an attribute from those with least.

    The linear support vector machine of InterFaceGAN (Shen et al. 2020, section 3.2), between the top and the bottom ``share``: there 2% of
    500,000 images, which are ten thousand codes from either end; of the thousands that are drawn here it takes 20% to have hundreds. Every
    fifth of these is held out, and judges.

    Args:
        codes: (N, d).
        values: (N,) of the attribute.
        share: from either end, above 0 and at most a half.
        seed: of which are held out.

    Raises:
        UserError: for fewer than 20 codes from either end, and for an attribute that is the same of all of them.
    """
    count = int(share * len(codes))
    if count < FEWEST:
        raise UserError(f"a direction needs {FEWEST} images from either end of an attribute, not {count}: draw more (`count`)")
    order = torch.argsort(values.double(), stable=True)
    low, high = order[:count], order[-count:]
    if not float(values[high].min()) > float(values[low].max()):
        raise UserError("an attribute is the same of nearly all images: there is no direction from little to much of it")
    return _separated(codes, high, low, seed)


def from_labels(codes: Tensor, labels: Tensor, number: int, seed: int = 0) -> Separation:
    """The same between the codes of images of a class and as many of all others.

    Raises:
        UserError: for fewer than 20 images of the class, or of others.
    """
    rng = np.random.default_rng(seed)
    inside, outside = ((labels == number).nonzero()[:, 0], (labels != number).nonzero()[:, 0])
    count = min(len(inside), len(outside))
    if count < FEWEST:
        raise UserError(f"a direction to a class needs {FEWEST} images of it and as many others, not {count}")
    some_in, some_out = (rows[torch.from_numpy(rng.permutation(len(rows))[:count])] for rows in (inside, outside))
    return _separated(codes, some_in, some_out, seed)


def held(vector: Tensor, others: Sequence[Tensor]) -> Tensor | None:
    """A direction (d,) without what it has of others: n1 - (n1 . n2) n2 (InterFaceGAN, section 3.3), of length 1; None if nothing is left.

    Of several others, that is the projection onto what is perpendicular to all of them.
    """
    rest = vector.double()
    if others:
        basis, sizes, _ = torch.linalg.svd(torch.stack([one.double() for one in others], 1), full_matrices=False)
        basis = basis[:, sizes > 1e-8 * sizes.max()]
        rest = rest - basis @ (basis.T @ rest)
    length = float(rest.norm())
    return (rest / length).float() if length > 1e-6 * float(vector.norm()) else None


def _separated(codes: Tensor, high: Tensor, low: Tensor, seed: int) -> Separation:
    rows = torch.cat([high, low])
    sides = np.concatenate([np.ones(len(high)), -np.ones(len(low))])
    x = codes[rows].double().numpy()
    scale = x.std() or 1.0  # one for all, so that directions keep their meaning
    order = np.random.default_rng(seed).permutation(len(x))
    out, used = np.split(order, [max(1, int(HELD_OUT * len(x)))])
    normal, offset = support_vectors(x[used] / scale, sides[used])
    right = np.sign(x[out] / scale @ normal + offset) == sides[out]
    length = float(np.linalg.norm(normal))
    if not length > 0:
        raise UserError("the codes of images with much and with little of an attribute are the same: there is no direction between them")
    return Separation(torch.from_numpy(normal / length).float(), float(right.mean()), len(out), len(used))


def support_vectors(x: NDArray[np.float64], sides: NDArray[np.float64], cost: float = COST) -> tuple[NDArray[np.float64], float]:
    """The normal (d,) and the offset of the linear support vector machine of rows (N, d) on ``sides`` -1 and 1.

    It minimizes |w|^2 / 2 + cost * sum of max(0, 1 - side (w . x + b))^2, the squared hinge of LIBLINEAR's default (Fan et al. 2008), whose
    gradient is continuous; the offset is not penalized.
    """
    from scipy.optimize import minimize

    def objective(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w, b = at[:-1], at[-1]
        short = np.maximum(0, 1 - sides * (x @ w + b))
        pull = -2 * cost * short * sides
        return float(w @ w / 2 + cost * short @ short), np.append(w + x.T @ pull, pull.sum())

    found = minimize(
        objective, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-8, "ftol": 1e-14}
    )
    return found.x[:-1], float(found.x[-1])
