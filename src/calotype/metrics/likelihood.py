"""Numbers of models with a likelihood or with latents."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.inputs import Nats
from calotype.metrics.manifold import Z95
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
FEWEST = 20  # images of either kind behind a gap
BATCH, STREAM = 50, 17  # images that a model is asked of at once, and the stream of random numbers that a bound then draws from
ACTIVE = 0.01  # variance over the images from which a latent counts as active (Burda et al. 2016, section 5.2)


def bits_per_dim(nats: Floats, shape: tuple[int, ...]) -> Estimate:
    """Bits per sub-pixel of images of ``shape`` (C, H, W) whose log-likelihood, or its bound, is ``nats`` (N,) of the 8-bit image.

    A uniform model scores exactly 8. The 95% interval is that of the mean over independent images; one image has none.

    Raises:
        UserError: for NaN, infinity or no image at all.
    """
    bits = bits_of(nats, shape)
    value = float(bits.mean())
    if len(bits) < 2:
        return Estimate(value)
    margin = Z95 * float(bits.std(ddof=1)) / math.sqrt(len(bits))
    return Estimate(value, (value - margin, value + margin))


def bits_of(nats: Floats, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Bits per sub-pixel of each image, (N,), as in `bits_per_dim`.

    Raises:
        UserError: for NaN, infinity or no image at all.
    """
    if not nats.size or not np.isfinite(nats).all():
        raise UserError("log-likelihoods must be finite numbers, at least one: look at the model's outputs")
    bits: NDArray[np.float64] = -nats.astype(np.float64) / (math.log(2) * math.prod(shape))
    return bits


@dataclass(frozen=True)
class Gap:
    """How much more held-out images cost than training images."""

    value: float  # bits/dim
    error: float  # standard error
    raw: float  # the difference of the two means, before what the images themselves explain is taken away


def gap(holdout: Floats, train: Floats, holdout_intricacy: Floats, train_intricacy: Floats, *, fewest: int = FEWEST) -> Gap:
    """The difference in bits per sub-pixel between held-out and training images that are equally intricate.

    Some images need more bits than others under every model, and by chance one set has more of them. Both sets are drawn from one
    source, so that what is known of each image by itself may be regressed away (analysis of covariance): the gap stays what it is,
    and its error shrinks. Errors are those of unequal variances (HC3, MacKinnon & White 1985).

    Args:
        holdout: Bits of each held-out image, (N,).
        train: Bits of each training image, (M,).
        holdout_intricacy: `intricacy` of the held-out images, (N, K).
        train_intricacy: `intricacy` of the training images, (M, K).
        fewest: Images of either that it takes.

    Raises:
        UserError: for fewer than ``fewest`` images of either.
    """
    if min(len(holdout), len(train)) < fewest:
        raise UserError(f"a likelihood gap needs {fewest} images of either kind, not {len(holdout)} and {len(train)}")
    bits = np.concatenate([holdout, train]).astype(np.float64)
    known = np.concatenate([holdout_intricacy, train_intricacy]).astype(np.float64)
    spread = known.std(0)
    known = (known - known.mean(0))[:, spread > 0] / spread[spread > 0]
    held = np.repeat([1.0, 0.0], [len(holdout), len(train)])
    design = np.column_stack([held, np.ones(len(bits)), known, np.square(known)])
    inverse = np.linalg.pinv(design.T @ design)
    fit = inverse @ design.T @ bits
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    residual = (bits - design @ fit) / np.maximum(1 - leverage, 1e-6)
    weights = inverse[0] @ design.T
    error = math.sqrt(float(np.square(weights * residual).sum()))
    return Gap(float(fit[0]), error, float(np.mean(holdout) - np.mean(train)))


def intricacy(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What makes an image need bits under any model, from the image alone: (N, H, W, C) uint8 to (N, 5).

    The size that Deflate compresses it to, the mean step between neighboring pixels, brightness, contrast, and the entropy of its
    values. They explain nine tenths and more of how bits vary among digits, which makes the error of a `gap` a fifth of what it was.
    """
    size = [len(zlib.compress(np.ascontiguousarray(image).tobytes(), 9)) for image in pixels]
    wide = pixels.astype(np.float64)
    step = np.abs(np.diff(wide, axis=1)).mean((1, 2, 3)) + np.abs(np.diff(wide, axis=2)).mean((1, 2, 3))
    shares = [np.bincount(image.ravel(), minlength=256) / image.size for image in pixels]
    entropy = [-float((p[p > 0] * np.log2(p[p > 0])).sum()) for p in shares]
    return np.column_stack([size, step, wide.mean((1, 2, 3)), wide.std((1, 2, 3)), entropy]).astype(np.float64)


def active_units(means: Floats, threshold: float = ACTIVE) -> NDArray[np.bool_]:
    """Which latents a model uses: those whose posterior mean varies over the images (Burda et al. 2016).

    Args:
        means: Posterior means E[z|x], (N, z) for N images.
        threshold: Smallest variance over the images of an active latent.

    Returns:
        (z,) flags; their sum is the number of active units.

    Raises:
        UserError: for fewer than two images, NaN or infinity.
    """
    if means.ndim != 2 or len(means) < 2 or not np.isfinite(means).all():
        raise UserError("posterior means must be finite and of at least two images, (N, z)")
    active: NDArray[np.bool_] = means.var(0, dtype=np.float64, ddof=1) > threshold
    return active


BITS = Metric(
    "bits/dim",
    "How well the model predicts unseen images: bits for each number of an image; knowing nothing costs 8. More than 8 is possible: a "
    "bound may lie far above the truth, and a model that is sure of wrong values pays more than for ignorance.",
    "lower",
    Nats,
    lambda told: bits_per_dim(told.nats, told.shape),
    bounds=(0.0, math.inf),
    prose=True,
)
