"""Kinds of images that come out too rarely, where neither labels nor a network tell kinds apart: clusters stand for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from calotype.errors import UserError
from calotype.metrics.manifold import check_features

Floats = NDArray[np.floating]
CLUSTERS = 30  # of each division: a tenth of the images fills a few of them
DIVISIONS = 10  # of all images into clusters: what one cuts through another keeps together
ROUNDS = 8  # of Lloyd's algorithm
LABELINGS = 400
RARE = 0.6  # of its share among real images, below which a cluster comes out too rarely
MOST = 10_000  # images of a kind that are looked at
PER_CLUSTER = 5  # images of either side in a cluster, on average, that the test needs at least


@dataclass(frozen=True)
class Kinds:
    """Whether the kinds of real images come out as often as they should."""

    p: float  # of shares this different, were both sets drawn alike
    share: float  # of the real images whose kind comes out too rarely, beyond what chance makes of it
    error: float  # its standard deviation by chance, were both sets drawn alike
    clusters: int  # of each division


def rare_kinds(x: Floats, y: Floats, seed: int = 0) -> Kinds:
    """Compare how generated images ``x`` and real ones ``y`` spread over clusters of both.

    All images are divided ten times by k-means into thirty clusters, from random starts and blind to where an image is from, so that
    the labels "generated" and "real" can be exchanged. In each cluster the two counts are compared by Pearson's chi-squared; the mean
    over the divisions is judged by random labelings, whose distribution is close to a gamma one (two moments are matched): their number
    does not bound the p-value. The share is that of the real images in clusters of which generated ones make less than 0.6 of
    their share, averaged over the divisions, less its mean under random labelings.

    Args:
        x: Features of generated images, (N, d).
        y: Features of real images, (M, d).
        seed: Of the starts and labelings.

    Raises:
        UserError: for fewer than 150 images of a kind, or arrays that do not fit each other or hold NaN or infinity.
    """
    check_features(x, y)
    fewest = PER_CLUSTER * CLUSTERS
    if min(len(x), len(y)) < fewest:
        raise UserError(f"{min(len(x), len(y))} images are too few to compare kinds: give at least {fewest}")
    draw = torch.Generator().manual_seed(seed)
    made, real = (torch.from_numpy(z[torch.randperm(len(z), generator=draw)[:MOST].numpy()]).float() for z in (x, y))
    points = torch.cat([made, real])
    points = points - points.mean(0)
    homes = torch.cat([functional.one_hot(_clusters(points, draw), CLUSTERS) for _ in range(DIVISIONS)], 1).float()
    generated = torch.zeros(1 + LABELINGS, len(points))
    generated[0, : len(made)] = 1
    for labels in generated[1:]:
        labels[torch.randperm(len(points), generator=draw)[: len(made)]] = 1
    counts, whole = (generated @ homes).double(), homes.sum(0).double()
    counts, whole = counts[:, whole > 0], whole[whole > 0]
    size, other = len(made), len(real)
    expected = whole * size / len(points)
    squared = ((counts - expected) ** 2 / (expected * other / len(points))).sum(1) / DIVISIONS
    share = (whole - counts) / other
    rare = torch.where(counts / size < RARE * share, share, 0.0).sum(1) / DIVISIONS
    p = _upper(float(squared[0]), squared[1:])
    return Kinds(p, max(0.0, float(rare[0] - rare[1:].mean())), float(rare[1:].std()), CLUSTERS)


def _clusters(points: Tensor, draw: torch.Generator) -> Tensor:
    """The cluster (N,) of each of the points (N, d) after Lloyd's rounds from points that were chosen at random."""
    centers = points[torch.randperm(len(points), generator=draw)[:CLUSTERS]]
    for _ in range(ROUNDS):
        member = functional.one_hot(_nearest(points, centers), CLUSTERS).float()
        count = member.sum(0)[:, None]
        centers = torch.where(count > 0, member.T @ points / count.clamp(min=1), centers)
    return _nearest(points, centers)


def _nearest(points: Tensor, centers: Tensor) -> Tensor:
    return torch.addmm((centers * centers).sum(1), points, centers.T, alpha=-2).argmin(1)


def _upper(value: float, null: Tensor) -> float:
    """The probability of more than ``value`` under the gamma distribution that has the mean and the variance of ``null``."""
    from scipy.stats import gamma

    mean, variance = float(null.mean()), max(float(null.var()), 1e-12)
    return float(gamma.sf(value, mean**2 / variance, scale=variance / mean)) if mean > 0 else 1.0
