"""Numbers of models with a likelihood or with latents."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calotype.errors import UserError
from calotype.metrics.manifold import Z95
from calotype.metrics.score import Estimate

Floats = NDArray[np.floating]
ACTIVE = 0.01  # variance over the images from which a latent counts as active (Burda et al. 2016, section 5.2)


def bits_per_dim(nats: Floats, shape: tuple[int, ...]) -> Estimate:
    """Bits per sub-pixel of images of ``shape`` (C, H, W) whose log-likelihood, or its bound, is ``nats`` (N,) of the 8-bit image.

    A uniform model scores exactly 8. The 95% interval is that of the mean over independent images; one image has none.

    Raises:
        UserError: for NaN, infinity or no image at all.
    """
    if not nats.size or not np.isfinite(nats).all():
        raise UserError("log-likelihoods must be finite numbers, at least one: look at the model's outputs")
    bits = -nats.astype(np.float64) / (math.log(2) * math.prod(shape))
    value = float(bits.mean())
    if len(bits) < 2:
        return Estimate(value)
    margin = Z95 * float(bits.std(ddof=1)) / math.sqrt(len(bits))
    return Estimate(value, (value - margin, value + margin))


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
