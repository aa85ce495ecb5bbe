"""Whether images may be mirrored: a linear judge is asked to tell them from their mirror images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from calotype.data.images import Pixels

SIDE = 16  # pixels a side that the judge sees
LOOKED_AT = 2_000  # images at most
RIDGE = 0.3  # of the mean variance, added to the covariance
SHARE = 0.7  # of images told from their mirror image: 50 photographs lie between .33 and .76, 1,000 between .47 and .56; digits above .80
CHUNK = 100  # images that are in memory at a time
ENOUGH = 60  # images: fewer tell too little, and are not mirrored


def told_apart(pixels: Pixels) -> float:
    """The share of images (N, H, W) or (N, H, W, C) uint8 that a linear judge tells from their mirror image, having learned on others.

    The difference d of an image and its mirror image changes its sign where the image is mirrored. If that changes nothing, d and -d are
    equally likely, and whatever direction the judge learned (Fisher 1936) the sign of its answer is a coin: about .5. Digits and text,
    which are written from left to right, give themselves away. Half of the images learns for the other, and the other way round. A
    single image has no other to learn on: 1.
    """
    if len(pixels) < 2:
        return 1.0
    chosen = np.random.RandomState(0).permutation(len(pixels))[:LOOKED_AT]
    small = torch.cat([_small(pixels[np.sort(chosen[i : i + CHUNK])]) for i in range(0, len(chosen), CHUNK)])
    apart = (small - small.flip(3))[..., : SIDE // 2].flatten(1).double().numpy()
    halves = apart[: len(apart) // 2], apart[len(apart) // 2 :]
    right = 0.0
    for learned, asked in (halves, halves[::-1]):
        covariance = learned.T @ learned / len(learned)
        ridge = RIDGE * np.trace(covariance) / len(covariance) + 1e-12
        answers = asked @ np.linalg.solve(covariance + ridge * np.eye(len(covariance)), learned.mean(0))
        right += float((answers > 0).sum() + 0.5 * (answers == 0).sum())
    return right / len(apart)


def mirrors(told: float, count: int) -> bool:
    """Whether ``count`` images of which so many are `told_apart` may be mirrored in training: never where they are too few to tell."""
    return count >= ENOUGH and told < SHARE


def may_flip(pixels: Pixels) -> bool:
    """Whether mirrored images are as likely as the images themselves, so that a training may mirror them."""
    return mirrors(told_apart(pixels), len(pixels))


def _small(pixels: Pixels) -> torch.Tensor:
    """(N, 1, 16, 16) in [0, 1], gray."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255
    return interpolate((images if images.ndim == 3 else images.mean(3))[:, None], (SIDE, SIDE), mode="area")
