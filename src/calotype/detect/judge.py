"""The detector proper: a linear judge of features, and how far features are from all that it learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import DamagedError
from calotype.losses.logistic import logistic
from calotype.metrics.confidence import Doubles

Singles = NDArray[np.float32]
DECAY = 1e-2  # of the linear judge
FLOOR = 0.2  # of the median standard deviation of all features is added to each: rare values would count for everything
REACH = 6.0  # standard deviations beyond which a feature says no more
AXES = 32  # principal components in which distances are taken; all others together are one more
SHRUNK = 0.1  # share of the diagonal in a covariance (Ledoit & Wolf 2004 choose it, where it is small for so many images)
NAMES = ("center", "scale", "weight", "bias", "basis", "means", "inverse", "rest")


@dataclass(frozen=True)
class LinearJudge:
    """Multinomial logistic regression of standardized features on the sets of images, and a Gaussian of the features of each set.

    One class for each generator, and not one for all: what a generator leaves lies in a direction of its own.
    """

    center: Singles  # (d,)
    scale: Singles  # (d,)
    weight: Singles  # (sets, d), the real images first
    bias: Singles  # (sets,)
    basis: Singles  # (d, k)
    means: Singles  # (sets, d)
    inverse: Singles  # (sets, k, k) inverses of covariances
    rest: Singles  # (sets,) the mean variance beyond the basis

    def logits(self, features: Singles) -> Doubles:
        """The logit (N,) of "by one of the generators" of features (N, d), not calibrated yet."""
        each = self._standardized(features).astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        found: Doubles = np.logaddexp.reduce(each[:, 1:], axis=1) - each[:, 0]
        return found

    def distances(self, features: Singles) -> Doubles:
        """How far features (N, d) are from the images of each set, (N, sets).

        The square of Mahalanobis' distance under a Gaussian with a full covariance along the principal components of all training images
        and one variance beyond them (probabilistic principal components, Tipping & Bishop 1999).
        """
        z = self._standardized(features).astype(np.float64)
        found = np.empty((len(z), len(self.means)))
        for place, mean in enumerate(self.means.astype(np.float64)):
            away = z - mean
            along = away @ self.basis.astype(np.float64)
            beyond = np.maximum((away**2).sum(1) - (along**2).sum(1), 0)
            near = np.einsum("ni,ij,nj->n", along, self.inverse[place].astype(np.float64), along)
            found[:, place] = near + beyond / float(self.rest[place])
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All that is to be saved, by name."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name), np.float32)) for name in NAMES}

    @staticmethod
    def of(tensors: Mapping[str, Tensor], sets: int) -> LinearJudge:
        """The judge that was saved. Raises `DamagedError` for tensors that are none."""
        if set(tensors) != set(NAMES):
            raise DamagedError("it does not hold the tensors of a detector")
        if odd := next((name for name in NAMES if tensors[name].dtype != torch.float32), None):
            raise DamagedError(f"{odd} is no float32")
        held = {name: tensors[name].numpy() for name in NAMES}
        d, k = held["basis"].shape if held["basis"].ndim == 2 else (0, 0)
        shapes = {"center": (d,), "scale": (d,), "weight": (sets, d), "bias": (sets,), "basis": (d, k), "means": (sets, d)}
        shapes |= {"inverse": (sets, k, k), "rest": (sets,)}
        for name, array in held.items():
            if array.shape != shapes[name] or not np.isfinite(array).all():
                raise DamagedError(f"{name} is no {list(shapes[name])} of finite numbers")
        if not (held["scale"] > 0).all() or not (held["rest"] > 0).all():
            raise DamagedError("it holds scales that are not positive")
        return LinearJudge(**held)

    def _standardized(self, features: Singles) -> Singles:
        found: Singles = np.clip((features - self.center) / self.scale, -REACH, REACH)
        return found


def learned(real: Singles, generated: Sequence[Singles], decay: float = DECAY) -> LinearJudge:
    """A judge from features (N, d) of real images and of those of each generator: both sides weigh the same, and so do all generators."""
    sets = [real, *generated]
    x = np.concatenate(sets)
    share = np.concatenate([np.full(len(one), 0.5 / len(one) / (1 if place == 0 else len(generated))) for place, one in enumerate(sets)])
    center, spread = x.mean(0), x.std(0)
    scale = spread + FLOOR * float(np.median(spread)) + 1e-6
    z = np.clip((x - center) / scale, -REACH, REACH).astype(np.float32)
    label = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    weight, bias = logistic(torch.from_numpy(z), torch.from_numpy(label), len(sets), decay, torch.from_numpy(share.astype(np.float32)))
    basis = _axes(z, share)
    rows = np.split(z, np.cumsum([len(one) for one in sets])[:-1])
    fits = [_gaussian(one, basis) for one in rows]
    means, inverse, rest = (np.stack(part).astype(np.float32) for part in zip(*fits, strict=True))
    return LinearJudge(
        center.astype(np.float32),
        scale.astype(np.float32),
        weight.numpy(),
        bias.numpy(),
        basis.astype(np.float32),
        means,
        inverse,
        rest,
    )


def _axes(z: Singles, share: Doubles) -> Doubles:
    """Principal components (d, k) of rows (N, d), each with its share."""
    away = (z - share @ z).astype(np.float64)
    values, vectors = np.linalg.eigh((away * share[:, None]).T @ away)
    del values
    axes: Doubles = vectors[:, ::-1][:, : min(AXES, len(z) // 4, z.shape[1] - 1)]
    return axes


def _gaussian(z: Singles, basis: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Mean, inverse covariance along ``basis``, and the variance beyond it."""
    mean = z.mean(0).astype(np.float64)
    away = z - mean
    along = away @ basis
    covariance = along.T @ along / len(z)
    covariance = (1 - SHRUNK) * covariance + SHRUNK * np.diag(np.diag(covariance)) + 1e-3 * np.eye(basis.shape[1])
    left = z.shape[1] - basis.shape[1]
    rest = max(float(((away**2).sum() - (along**2).sum()) / len(z) / left), 1e-3)
    return mean, np.linalg.inv(covariance), np.array(rest)
