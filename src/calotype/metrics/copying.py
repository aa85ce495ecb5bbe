"""Do generated images copy training images? Everything here compares the training images with a holdout from the same source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import UserError
from calotype.metrics.inputs import Divided
from calotype.metrics.manifold import Z95, check_features, nearest, radii, squared_distances, wilson
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
SHARES = (0.01, 0.02, 0.05, 0.1)  # of the generated images, closest first, that are looked at
MAIN = 0.05  # the share that the effect is read from and the pairs are taken from
ALPHA, POWER = 0.01, 0.9  # of the smallest detectable share
FEWEST = 20  # images of a kind
FITTED = 2000  # images of a kind that the likelihood is computed with
NARROWEST = 1e-3  # variance of a component, relative to the median squared distance of training images to their nearest, per dimension


@dataclass(frozen=True)
class Copying:
    """The outcome of the copying test."""

    p: float  # of so many training images among the neighbors of the closest generated images
    effect: Estimate  # share of the generated images that are copies
    detectable: float | None  # smallest such share found at p < .01 with a power of 90%; none where not even 10% would be
    share: float  # of training images among the neighbors of the closest 5% ...
    expected: float  # ... and among all real images
    generated: Integers  # (P,) those of the closest 5% whose nearest is a training image, closest first ...
    train: Integers  # (P,) ... that image ...
    distances: Doubles  # (P,) ... and the distance between them


def copying(
    x: Floats, train: Floats, holdout: Floats, seed: int = 0, shares: tuple[float, ...] = SHARES, permutations: int = 9999
) -> Copying:
    """Test whether the generated images that are closest to real ones are closer to training images than chance allows.

    Training images and holdout are pooled, and the nearest of the pool is found for each generated image. Were nothing copied, the
    labels "training" and "holdout" could be exchanged. Among the generated images closest to the pool (1, 2, 5 and 10% of them) the
    neighbors that are training images are counted; the p-value is that of the most unlikely of the four counts among random labelings.
    Each labeling keeps how often a real image is a neighbor, so that neither a generator that repeats itself nor one that is more or
    less dispersed than the data raises an alarm. Of several real images that are equally near, any may be the neighbor.

    The whole training set is pooled, however small the holdout: a copy is seen only where its original is in the pool. What limits the
    power is the number of copies times the size of the holdout relative to the training set.

    Args:
        x: Features of generated images, (N, d).
        train: Features of the images it was trained on, (M, d).
        holdout: Features of images of the same source that it was not trained on, (H, d).
        seed: Of the labelings, and of the choice among equally near images.
        shares: Shares of the generated images that are looked at, rising.
        permutations: Number of labelings.

    Raises:
        UserError: for fewer than 20 images of a kind, or arrays that do not fit each other or hold NaN or infinity.
    """
    _check(x, train, holdout)
    rng = np.random.default_rng(seed)
    pool = np.concatenate([train, holdout])
    mixed = rng.permutation(len(pool))  # of equally near images the first is taken: it must not always be a training image
    index, distance = nearest(x, pool[mixed])
    index = mixed[index]
    order = np.argsort(distance, kind="stable")
    copied = index[order] < len(train)
    expected = len(train) / (len(train) + len(holdout))
    counts = [math.ceil(share * len(x)) for share in shares]
    null = _null(index[order], counts, len(train), len(holdout), permutations, rng)
    hits = np.array([copied[:k].sum() for k in counts])
    observed = (null >= hits).mean(0).min()
    by_chance = np.stack([_tail(column) for column in null.T], 1).min(1)
    main = order[: math.ceil(MAIN * len(x))]
    main = main[index[main] < len(train)]
    return Copying(
        p=float((1 + (by_chance <= observed).sum()) / (1 + permutations)),
        effect=_copied_share(copied, index[order], expected),
        detectable=_detectable(null, by_chance, counts, expected, len(x)),
        share=float(copied[: math.ceil(MAIN * len(x))].mean()),
        expected=expected,
        generated=main,
        train=index[main],
        distances=distance[main],
    )


def auth_pct(x: Floats, train: Floats) -> Estimate:
    """Percentage of generated images that are authentic (Alaa et al. 2022): farther from their nearest training image than that one
    is from its nearest other.

    It falls by the factor 1 - r where a share r are copies, but what is normal depends on the dimension: compare with a holdout.
    The 95% interval is that of independent images, for the training images at hand.
    """
    index, distance = nearest(x, train)
    near, where = np.unique(index, return_inverse=True)
    share = float((distance > radii(train, 1, rows=near)[where, 0]).mean())
    low, high = wilson(share * len(x), len(x))
    return Estimate(100 * share, (100 * low, 100 * high))


@dataclass(frozen=True)
class FeatureLikelihood:
    """How likely real images are under a density around the generated ones."""

    score: Estimate  # 0 is as good as real images, higher is worse
    gap: Estimate  # training minus holdout: above 0 where the generator has memorized the training images


def feature_likelihood(x: Floats, train: Floats, holdout: Floats, seed: int = 0, rounds: int = 30) -> FeatureLikelihood:
    """A feature likelihood divergence after Jiralerspong et al. 2023 (FLD): it charges for dropped modes, stray images and copies.

    Each generated image is the center of an isotropic normal component; the widths are fitted to the *training* images by expectation
    maximization, and the mixture is judged on the *holdout*. The component of a copy shrinks to its original and is lost for the
    holdout. Both numbers are mean log-likelihoods times 100 / d, of features scaled to unit variance, relative to those of real images
    in the place of generated ones (one half of the training images as centers, fitted to the other half): 0 is what real images get.
    It differs from the paper in that reference, in the fit (the paper takes gradient steps), and in that both sides of a comparison get
    equally many centers, at most 2000. It does not charge for staying near the middle of a round cloud, because wide components around
    few centers describe such a cloud well: read it beside recall and coverage.

    The 95% intervals are those of independent holdout (and training) images, for the generated images at hand.

    Raises:
        UserError: for fewer than 40 training or 20 other images, or arrays that do not fit each other or hold NaN or infinity.
    """
    _check(x, train, holdout, fewest_train=2 * FEWEST)
    rng = np.random.default_rng(seed)
    scale = np.maximum(train.std(0, dtype=np.float64), 1e-6)
    some = min(FITTED, len(x), len(train) // 2)
    parts = rng.permutation(len(train))
    centers, fitted, other = x[rng.permutation(len(x))[:some]], train[parts[:some]], train[parts[some : 2 * some]]
    judged = holdout[rng.permutation(len(holdout))[:FITTED]]
    a, b, c, h = (torch.from_numpy((z - train.mean(0)) / scale).float() for z in (centers, fitted, other, judged))
    dims = 100 / x.shape[1]
    widths, reference = _fit(a, b, rounds), _fit(c, b, rounds)
    on_holdout, on_train = (dims * (_log_density(z, c, reference) - _log_density(z, a, widths)) for z in (h, b))
    score, gap = float(on_holdout.mean()), float(on_holdout.mean() - on_train.mean())
    squares = [float(z.var()) / len(z) for z in (on_holdout, on_train)]
    near, far = Z95 * math.sqrt(squares[0]), Z95 * math.sqrt(sum(squares))
    return FeatureLikelihood(Estimate(score, (score - near, score + near)), Estimate(gap, (gap - far, gap + far)))


def _null(
    neighbors: Integers, counts: list[int], train: int, holdout: int, permutations: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """How many of the first ``counts`` neighbors are training images, under random labelings of the pool: (permutations, counts)."""
    seen, where = np.unique(neighbors[: counts[-1]], return_inverse=True)
    times = np.stack([np.bincount(where[:k], minlength=len(seen)) for k in counts], 1)
    left = np.full(permutations, float(train))
    total = np.zeros((permutations, len(counts)))
    for drawn, weight in enumerate(times):  # one real image after the other is drawn from what is left of the pool
        is_train = rng.random(permutations) * (train + holdout - drawn) < left
        left -= is_train
        total += is_train[:, None] * weight
    return total


def _tail(values: Doubles) -> Doubles:
    """For each value the share of values that are not smaller."""
    return 1 - np.searchsorted(np.sort(values), values, side="left") / len(values)


def _copied_share(copied: NDArray[np.bool_], neighbors: Integers, expected: float) -> Estimate:
    """c copies among the closest k leave c + (k - c) ``expected`` training neighbors; k grows while copies seem to fill it.

    Wilson's interval for the number of different neighbors that k draws are worth.
    """
    n, k = len(copied), math.ceil(MAIN * len(copied))
    while k < n and copied[:k].mean() > expected + 0.8 * (1 - expected):
        k = min(n, 2 * k)
    hits = float(copied[:k].mean())
    worth = k * k / float((np.unique(neighbors[:k], return_counts=True)[1] ** 2).sum())
    value, low, high = (max(0.0, (q - expected) / (1 - expected)) * k / n for q in (hits, *wilson(hits * worth, worth)))
    return Estimate(value, (low, high))


def _detectable(null: Doubles, by_chance: Doubles, counts: list[int], expected: float, n: int) -> float | None:
    """The smallest share of copies, were they the closest, that lifts one of the counts over its critical value often enough."""
    possible, often = np.unique(by_chance, return_counts=True)
    safe = ALPHA - 3 * math.sqrt(ALPHA / len(by_chance))  # another set of labelings must agree
    allowed = possible[np.cumsum(often) < safe * len(by_chance)]
    level = float(allowed[-1]) if len(allowed) else -1.0
    found = []
    for column, k in zip(null.T, counts, strict=True):
        critical = column[_tail(column) <= level].min(initial=k + 1.0)
        able = [c for c in range(k + 1) if _at_least(int(critical) - c, k - c, expected) >= POWER]
        found += able[:1]
    return min(found) / n if found else None


def _at_least(hits: int, n: int, share: float) -> float:
    """The probability of ``hits`` or more among ``n`` draws."""
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(max(hits, 0), n + 1)]
    return sum(math.exp(c + i * math.log(share) + (n - i) * math.log1p(-share)) for i, c in enumerate(logs, max(hits, 0)))


def _fit(centers: Tensor, points: Tensor, rounds: int) -> Tensor:
    """Variances (N,) of equally weighted isotropic components that make the points likely."""
    squared = squared_distances(points, centers)
    own = squared_distances(points, points).fill_diagonal_(math.inf).amin(1).median()
    least = max(float(own) * NARROWEST / points.shape[1], 1e-12)
    widths = torch.full((len(centers),), max(float(squared.amin(1).mean()) / points.shape[1], least))
    for _ in range(rounds):
        duty = torch.softmax(_log_components(squared, widths, points.shape[1]), 1)
        load = duty.sum(0)
        fresh = (duty * squared).sum(0) / (points.shape[1] * load.clamp(min=1e-6))
        widths = torch.where(load > 1e-6, fresh, widths).clamp(min=least)
    return widths


def _log_density(points: Tensor, centers: Tensor, widths: Tensor) -> Tensor:
    parts = _log_components(squared_distances(points, centers), widths, points.shape[1])
    return torch.logsumexp(parts, 1).double() - math.log(len(centers))


def _log_components(squared: Tensor, widths: Tensor, d: int) -> Tensor:
    return -0.5 * (squared / widths + d * torch.log(2 * math.pi * widths))


def _check(x: Floats, train: Floats, holdout: Floats, fewest_train: int = FEWEST) -> None:
    for name, z, fewest in (("generated", x, FEWEST), ("training", train, fewest_train), ("held-out", holdout, FEWEST)):
        if len(z) < fewest:
            raise UserError(f"{len(z)} {name} images are too few to look for copies: give at least {fewest}")
    check_features(x, train, holdout)


def _likelihood(found: Divided) -> FeatureLikelihood | None:
    """None where there are too few images."""
    try:
        return feature_likelihood(found.drawn.features, found.train.features, found.holdout.features)
    except UserError:
        return None


def _authentic(found: Divided) -> Estimate | None:
    return None if found.once(_likelihood) is None else auth_pct(found.drawn.features, found.train.features)


FLD = Metric(
    "FLD",
    "Feature likelihood divergence: quality, variety and novelty together; copying the training images makes it worse.",
    "lower",
    Divided,
    lambda found: None if (told := found.once(_likelihood)) is None else told.score,
    real=lambda found: 0.0,  # by construction
    prose=True,
)
FLD_GAP = Metric(
    "FLD gap",
    "How much better the generated images describe training images than unseen ones: above zero it has memorized them.",
    "match",
    Divided,
    lambda found: None if (told := found.once(_likelihood)) is None else told.gap,
    real=lambda found: 0.0,  # by construction
)
AUTH_PCT = Metric(
    "AuthPct",
    "The percentage of images that are farther from every training image than training images are from each other.",
    "match",
    Divided,
    _authentic,
    bounds=(0.0, 100.0),
    real=lambda found: auth_pct(found.holdout.features, found.train.features).value,
)
