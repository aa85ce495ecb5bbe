"""How different generated images are: from class to class, from each other, and in how they fill the space of real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.errors import UserError
from calotype.metrics import similarity
from calotype.metrics.inputs import Drawn, InSpace
from calotype.metrics.manifold import Z95, check_features, nearest, wilson
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate, Interval
from calotype.metrics.similarity import SCALES, WINDOW, scales

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]

IMAGES = 64  # compared at a time
PER_BIN = 50  # real images in a bin, on average, where the number of bins is not given
COMPARED = 2000  # images of a kind that a birthday test compares with each other
SHOWN = 16  # closest pairs that it returns


def inception_score(probabilities: Floats, splits: int = 1) -> Estimate:
    """exp of the mean divergence of p(class|image) from p(class) (Salimans et al. 2016), averaged over ``splits`` consecutive parts.

    Balanced one-hot predictions over C classes score C, constant ones 1. The 95% interval is that of independent images, by the delta
    method on the logarithm: the derivative with respect to p(class) vanishes, so that the mean divergence has the error of a mean.

    Args:
        probabilities: (N, C), rows that sum to 1.
        splits: Number of parts; 10 is the protocol of published scores, 1 has the least bias.

    Raises:
        UserError: for rows that are not probabilities, or fewer than two images in a part.
    """
    if probabilities.ndim != 2 or not np.allclose(probabilities.sum(1), 1, atol=1e-3) or (probabilities < 0).any():
        raise UserError("an inception score needs rows of probabilities that sum to 1")
    if len(probabilities) < 2 * splits:
        raise UserError(f"an inception score in {splits} parts needs at least {2 * splits} images, not {len(probabilities)}")
    scores, variance = [], 0.0
    for part in np.array_split(probabilities.astype(np.float64), splits):
        divergence = (_entropy_terms(part) - part * np.log(np.maximum(part.mean(0), 1e-300))).sum(1)
        scores.append(math.exp(divergence.mean()))
        variance += float(divergence.var(ddof=1)) / len(part) / splits**2
    value, spread = float(np.mean(scores)), math.exp(Z95 * math.sqrt(variance))
    return Estimate(value, (max(1.0, value / spread), min(float(probabilities.shape[1]), value * spread)))


def ssim(a: Pixels, b: Pixels) -> Doubles:
    """Structural similarity of image pairs, (N,), in the convention of Wang et al. 2004.

    Gaussian window of 11x11 pixels and sigma 1.5, K = .01 and .03, biased variances, the valid region alone; color images get the mean
    over their channels.

    Args:
        a: (N, H, W, C) uint8.
        b: The other image of each pair, of the same shape.

    Raises:
        UserError: for shapes that differ, or images smaller than the window.
    """
    return np.concatenate([similarity.ssim(x, y).numpy() for x, y in _batches(a, b)])


def ms_ssim(a: Pixels, b: Pixels) -> Doubles:
    """Multi-scale structural similarity of image pairs, (N,) (Wang et al. 2003), on the scales that the size allows.

    Each scale halves the image by averaging 2x2 pixels. There are five scales from 176 pixels on; a smaller image has as many as leave
    the coarsest not smaller than the 11-pixel window (two at 28 and 32 pixels, three at 64; one is plain SSIM), with the weights of the
    finest ones scaled to sum to 1. Negative contrast terms count as 0. Values of different numbers of scales cannot be compared.

    Raises:
        UserError: for shapes that differ, or images smaller than the window.
    """
    finest = SCALES[: scales(min(a.shape[1:3]))]
    weights = [weight / sum(finest) for weight in finest]
    return np.concatenate([similarity.ms_ssim(x, y, weights=weights).numpy() for x, y in _batches(a, b)])


def ms_ssim_diversity(pixels: Pixels, pairs: int = 1000, seed: int = 0) -> Estimate | None:
    """Mean MS-SSIM of random pairs of images (Odena et al. 2017): high where they all look alike; nothing below 11 pixels.

    No image is in two pairs, so that there are at most N / 2 of them and the 95% interval is that of a mean of independent numbers.
    Compare with real images: what is normal depends on the data.
    """
    if not scales(min(pixels.shape[1:3])) or len(pixels) < 4:
        return None
    order = np.random.default_rng(seed).permutation(len(pixels))
    pairs = min(pairs, len(order) // 2)
    values = ms_ssim(pixels[order[:pairs]], pixels[order[pairs : 2 * pairs]])
    value, margin = float(values.mean()), Z95 * float(values.std(ddof=1)) / math.sqrt(pairs)
    return Estimate(value, (value - margin, value + margin))


class Bins(NamedTuple):
    """How generated and real images fill the bins of a division of the real ones."""

    different: int  # bins that are filled differently at 5% after Holm's correction
    bins: int
    p: Doubles  # (bins,) two-sided, as they come
    generated: NDArray[np.int64]  # (bins,) counts
    real: NDArray[np.int64]  # (bins,) counts of the half that did not make the bins


def different_bins(x: Floats, y: Floats, bins: int | None = None, seed: int = 0) -> Bins:
    """Number of statistically different bins (NDB, Richardson & Weiss 2018) of generated ``x`` against real ``y``.

    k-means cuts the space at one half of the real images; the other half is counted against the generated ones, because images that
    pulled the centers towards themselves would fall into the bins unlike all others. Two-proportion z-tests, Holm-corrected at 5%:
    all differences are false in at most about 1 of 20 comparisons of equal distributions.

    Args:
        x: Features of generated images, (N, d).
        y: Features of real images, (M, d).
        bins: Their number; one for 50 real images that are counted, 2 to 100, where none is given.
        seed: Of the halves and of k-means.

    Raises:
        UserError: for too few real images, or arrays that do not fit each other or hold NaN or infinity.
    """
    check_features(x, y)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    making, counted = y[order[: len(y) // 2]], y[order[len(y) // 2 :]]
    bins = bins or min(100, max(2, len(counted) // PER_BIN))
    if len(making) < 2 * bins:
        raise UserError(f"{bins} bins need at least {4 * bins} real images, not {len(y)}")
    centers = kmeans(making, bins, rng)
    generated, real = (np.bincount(nearest(z, centers)[0], minlength=bins) for z in (x, counted))
    pooled = (generated + real) / (len(x) + len(counted))
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(x) + 1 / len(counted)))
    z = np.abs(generated / len(x) - real / len(counted)) / np.maximum(error, 1e-12)
    p = np.array([math.erfc(value / math.sqrt(2)) for value in z])
    return Bins(int((holm(p) < 0.05).sum()), bins, p, generated, real)


def kmeans(y: Floats, k: int, rng: np.random.Generator, rounds: int = 50) -> NDArray[np.float32]:
    """Centers (k, d) of k-means: k-means++ seeding (Arthur & Vassilvitskii 2007), then Lloyd's rounds until nothing moves."""
    points = y.astype(np.float32)
    centers: NDArray[np.float32] = points[rng.integers(len(points))][None]
    squared = np.full(len(points), np.inf)
    while len(centers) < k:
        squared = np.minimum(squared, ((points - centers[-1]) ** 2).sum(1, dtype=np.float64))
        total = squared.sum()
        pick = rng.choice(len(points), p=squared / total if total > 0 else None)
        centers = np.concatenate([centers, points[pick][None]])
    before = np.full(len(points), -1)
    for _ in range(rounds):
        home, _ = nearest(points, centers)
        if (home == before).all():
            break
        before, count = home, np.bincount(home, minlength=k)
        sums = np.zeros((k, points.shape[1]))
        np.add.at(sums, home, points)
        centers = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centers).astype(np.float32)
    return centers


def holm(p: Doubles) -> Doubles:
    """P-values corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(adjusted, 1.0)
    return result


@dataclass(frozen=True)
class Birthday:
    """What the pairs among a sample of generated images say about how many different images there are."""

    sample: int  # images of each kind that were compared
    limit: float  # distance up to which a pair counts as the same
    collisions: int  # generated pairs that do
    real: int  # real pairs that do, by the choice of the limit
    support: float  # images that, drawn from evenly, would collide as often; infinite without a collision
    interval: Interval  # of 95%, for even draws
    p: float | None  # of as many collisions from the distribution of the real images; none without real images
    pairs: NDArray[np.int64]  # (P, 2) the closest generated pairs, closest first
    distances: Doubles  # (P,)


def birthday(
    x: Floats, y: Floats | None = None, sample: int = COMPARED, same: int = 10, permutations: int = 1999, seed: int = 0
) -> Birthday:
    """The birthday test of support size (Arora & Zhang 2018), with a criterion of sameness that needs no eye.

    Among s even draws from n images the expected number of pairs of one image is s (s - 1) / 2n. Two generated images count as the same
    when they are not farther apart than the ``same``-th closest pair among equally many real images, so that a generator as rich as the
    data has about ``same`` collisions; without real images only identical features count. The p-value permutes the labels "generated"
    and "real" over the closest pairs of all images, because close pairs come in clumps and are no Poisson process.

    The support is an effective one (1 / sum of squared probabilities) and relative to that criterion: compare it with that of the
    real images, s (s - 1) / (2 ``same``). Beyond it, nothing can be said.

    Args:
        x: Features of generated images, (N, d).
        y: Features of real images, (M, d).
        sample: Most images of each kind to compare; time and memory grow with its square.
        same: Real pairs that count as the same.
        permutations: Number of random labelings.
        seed: Of the sample and the labelings.

    Raises:
        UserError: for fewer than ten images, or arrays that do not fit each other or hold NaN or infinity.
    """
    check_features(*(z for z in (x, y) if z is not None))
    rng = np.random.default_rng(seed)
    s = min(sample, len(x), len(x) if y is None else len(y))
    if s < 10:
        raise UserError(f"a birthday test needs at least ten images of each kind, not {s}")
    chosen = np.sort(rng.permutation(len(x))[:s])
    both = x[chosen] if y is None else np.concatenate([x[chosen], y[np.sort(rng.permutation(len(y))[:s])]])
    first, second, distances = _pairs(both)
    own, among = second < s, first >= s
    limit = 0.0 if y is None else float(np.partition(distances[among], same - 1)[same - 1])
    hits = int((distances[own] <= limit).sum())
    low, high = _poisson(hits)
    draws = s * (s - 1) / 2
    closest = np.flatnonzero(own)[np.argsort(distances[own], kind="stable")[:SHOWN]]
    return Birthday(
        sample=s,
        limit=limit,
        collisions=hits,
        real=int((distances[among] <= limit).sum()),
        support=draws / hits if hits else math.inf,
        interval=(draws / high, draws / low if low else math.inf),
        p=None if y is None else _labelings(first, second, distances, s, same, hits, permutations, rng),
        pairs=np.stack([chosen[first[closest]], chosen[second[closest]]], 1),
        distances=distances[closest],
    )


def _labelings(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    distances: Doubles,
    s: int,
    same: int,
    hits: int,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """The share of random labelings with as many generated pairs not farther apart than the ``same``-th real one."""
    near = min(40 * same, len(distances))  # four kinds of pairs: the same-th real one is expected at four times that
    order = np.argpartition(distances, near - 1)[:near]
    order = order[np.argsort(distances[order], kind="stable")]
    label = np.arange(2 * s) < s
    as_many = 1
    for _ in range(permutations):
        generated = rng.permutation(label)
        one, two = generated[first[order]], generated[second[order]]
        before = np.cumsum(~(one | two)) < same
        as_many += int((one & two & before).sum() >= min(hits, near))
    return as_many / (permutations + 1)


def _pairs(points: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Doubles]:
    """The indices of all pairs and their distances; identical points are at exactly 0."""
    doubles = torch.from_numpy(points.astype(np.float64))
    doubles -= doubles.mean(0)
    distances = torch.cdist(doubles, doubles).numpy()
    first, second = np.triu_indices(len(points), 1)
    flat: Doubles = distances[first, second]
    flat[flat < 1e-7 * float(torch.linalg.vector_norm(doubles, dim=1).max())] = 0.0
    return first, second, flat


def _poisson(count: int) -> Interval:
    """The exact 95% interval of the mean of a Poisson number (Garwood 1936), by bisection."""
    if count > 1000:
        return count - Z95 * math.sqrt(count), count + Z95 * math.sqrt(count)

    def below(mean: float, most: int) -> float:
        return sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(most + 1))

    def solve(most: int, level: float) -> float:
        low, high = 1e-9, 2.0 * count + 20.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle, most) > level else (low, middle)
        return low

    return (solve(count - 1, 0.975) if count else 0.0), solve(count, 0.025)


def _batches(a: Pixels, b: Pixels) -> list[tuple[Tensor, Tensor]]:
    if a.shape != b.shape or a.ndim != 4:
        raise UserError(f"images to compare must have one shape (N, H, W, C), not {a.shape} and {b.shape}")
    if min(a.shape[1:3]) < WINDOW:
        raise UserError(f"structural similarity needs images of at least {WINDOW}x{WINDOW} pixels, not {a.shape[1]}x{a.shape[2]}")
    return [(_planes(a[i : i + IMAGES]), _planes(b[i : i + IMAGES])) for i in range(0, len(a), IMAGES)]


def _planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float64) / 127.5 - 1).permute(0, 3, 1, 2)


def _entropy_terms(p: Doubles) -> Doubles:
    """p log p with 0 log 0 = 0."""
    terms: Doubles = p * np.log(np.where(p > 0, p, 1.0))
    return terms


SURE = 0.9  # belief in a class from which on an image counts as recognized


def _recognized(pair: InSpace) -> Estimate | None:
    beliefs = pair.drawn.probabilities
    if beliefs is None:
        return None
    sure = int((beliefs.max(1) > SURE).sum())
    return Estimate(sure / len(beliefs), wilson(sure, len(beliefs)))


def _different(pair: InSpace) -> Estimate:
    found = different_bins(pair.drawn.features, pair.reference.features)
    return Estimate(found.different / found.bins)


RECOGNIZED = Metric(
    "recognized",
    "The share of images that a recognizer is sure of (over 90%): lower than for real images when many are malformed.",
    "match",
    InSpace,
    _recognized,
    bounds=(0.0, 1.0),
)
CLASS_SCORE = Metric(
    "class score",
    "Whether a recognizer is sure of each image and finds all classes (the formula of the inception score); the score of real images is "
    "the one to match.",
    "match",
    InSpace,
    lambda pair: None if pair.drawn.probabilities is None else inception_score(pair.drawn.probabilities),
    bounds=(1.0, math.inf),
)
MS_SSIM = Metric(
    "MS-SSIM",
    "How alike pairs of generated images are: higher than among real images means too little variety.",
    "match",
    Drawn,
    lambda made: ms_ssim_diversity(made.pixels),
    bounds=(-1.0, 1.0),
    prose=True,
)
DIFFERENT_BINS = Metric(
    "different bins",
    "Of the groups into which real images fall, the share that the generator serves clearly too often or too seldom.",
    "lower",
    InSpace,
    _different,
    bounds=(0.0, 1.0),
)
REPEATED_PAIRS = Metric(
    "repeated pairs",
    "How often two generated images are nearly the same: more often than among real images means that it repeats itself.",
    "match",
    InSpace,
    lambda pair: Estimate(float(birthday(pair.drawn.features, pair.reference.features).collisions)),
    bounds=(0.0, math.inf),
)
