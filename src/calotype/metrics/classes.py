"""How many of the generated images belong to each class, where labels are known but no network that tells the classes apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.manifold import check_features

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
RIDGE = 1e-3  # relative to the mean eigenvalue of the features' covariance, which is scaled to 1
FEWEST = 20  # labelled images of a class
MOST = 20_000  # labelled images that are used
UNLIKE = 1e-3  # p-value of a misfit below which the images are no mixture of the classes
CONDITION = 1e14  # of the equations for the shares, above which their solution is rounding alone


@dataclass(frozen=True)
class Shares:
    """Estimated shares of the classes among the generated images: none below 0, and 1 in all."""

    share: Doubles  # (K,)
    error: Doubles  # (K,) standard errors
    accuracy: float  # of the linear classifier behind the estimate, on labelled images that it was not fitted to
    fit: float = 1.0  # p-value: of a misfit this large where the images are a mixture of the classes

    @property
    def possible(self) -> bool:
        """Whether some mixture of the classes explains the images at all; where none does, the shares say nothing."""
        return self.fit >= UNLIKE


def class_shares(x: Floats, y: Floats, labels: NDArray[np.int64], classes: int, seed: int = 0) -> Shares:
    """The mixture of labelled classes that explains the features of generated images.

    A ridge regression onto the classes, fitted to one half of the labelled images, gives every image K scores. The mean scores of the
    generated images are a mixture of the mean scores of each class on the other half: its weights are found by generalized least
    squares among all that are shares (none below 0, 1 in all), as in the estimation of label shift (Lipton et al. 2018). However weak
    the classifier is, they are unbiased up to that border, provided that the images of each class look like real ones: where they do not,
    the best mixture misses the mean scores by more than chance (`Shares.possible`). The errors are those of both means.

    Args:
        x: Features of generated images, (N, d).
        y: Features of labelled real images, (M, d).
        labels: (M,) in [0, classes).
        classes: Their number K.
        seed: Of the halves.

    Raises:
        UserError: for fewer than 20 labelled images of a class, classes that look alike, and arrays that do not fit each other or hold
            NaN or infinity.
    """
    check_features(x, y)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < FEWEST:
        raise UserError(f"each class needs {FEWEST} labelled images; class {int(counts.argmin())} has {int(counts.min())}")
    order = np.random.default_rng(seed).permutation(len(y))[:MOST]
    fitted, judged = order[::2], order[1::2]
    scores = linear_scores(y[fitted], labels[fitted], classes)
    real, made = scores(y[judged]), scores(x)
    of_class = [real[labels[judged] == k] for k in range(classes)]
    means = np.stack([z.mean(0) for z in of_class], 1)  # (scores, classes)
    noise = np.cov(made.T) / len(made) + np.cov(real.T) / len(real)
    # scores sum to 1, so that one direction has no variance at all: the ridge keeps the matrix invertible
    precision = np.linalg.inv(noise + 1e-6 * np.trace(noise) / classes * np.eye(classes))
    equations = means.T @ precision @ means
    if not np.linalg.cond(equations) < CONDITION:
        raise UserError("the classes look so much alike that their shares cannot be told")
    share = _mixture(means, made.mean(0), precision)
    blur = sum((share[k] ** 2 * np.cov(z.T) / len(z) for k, z in enumerate(of_class)), np.cov(made.T) / len(made))
    solve = np.linalg.solve(equations, means.T @ precision)
    error = np.sqrt(np.diag(solve @ blur @ solve.T))
    accuracy = float((real.argmax(1) == labels[judged]).mean())
    return Shares(share, error, accuracy, _misfit(made.mean(0) - means @ share, blur))


def linear_scores(y: Floats, labels: NDArray[np.int64], classes: int) -> Callable[[Floats], Doubles]:
    """Ridge regression of labelled features (M, d) onto their classes: what turns other features (N, d) into scores (N, K)."""
    center, scale = y.mean(0, dtype=np.float64), y.std(0, dtype=np.float64) + 1e-9
    a = _with_one((y - center) / scale)
    weights = np.linalg.solve(a.T @ a + RIDGE * len(a) * np.eye(a.shape[1]), a.T @ np.eye(classes)[labels])

    def scores(x: Floats) -> Doubles:
        found: Doubles = _with_one((x - center) / scale) @ weights
        return found

    return scores


def _mixture(means: Doubles, made: Doubles, precision: Doubles) -> Doubles:
    """The shares (K,), none below 0 and 1 in all, whose mixture of the columns of ``means`` (scores, K) is nearest to ``made``."""
    from scipy.optimize import nnls

    root = np.linalg.cholesky(precision).T
    system = root @ means
    whole = 1e4 * np.linalg.norm(system) * np.ones((1, means.shape[1]))  # one more equation, that nothing outweighs
    share: Doubles = nnls(np.concatenate([system, whole]), np.concatenate([root @ made, whole[:, 0]]))[0]
    share /= share.sum()
    return share


def _misfit(rest: Doubles, noise: Doubles) -> float:
    """The probability of a ``rest`` (K,) at least this large, of scores that sum to 1, under their covariance ``noise``."""
    from scipy.stats import chi2

    size = np.trace(noise) / len(noise)
    if not size > 0:
        return 1.0
    squared = float(rest @ np.linalg.solve(noise + 1e-6 * size * np.eye(len(noise)), rest))
    return float(chi2.sf(squared, len(rest) - 1))


def _with_one(z: Doubles) -> Doubles:
    return np.concatenate([z, np.ones((len(z), 1))], 1)
