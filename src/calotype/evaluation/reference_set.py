"""The real images that a report stands on, in every feature space it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from calotype.data import Images, Progress
from calotype.data.images import part
from calotype.engine.display import Say, progress
from calotype.errors import UserError
from calotype.evaluation.generator import Candidate, Pixels
from calotype.metrics.features import Extracted, FeatureSpace, cached, pick, second
from calotype.metrics.real_images import RealImages, ReferenceSet

FEWEST = 1_000  # real images to compare with, where there are so many; more where more were generated


def reference_set(candidate: Candidate, features: str | None, seed: int, say: Say | None = None) -> ReferenceSet:
    """The real images for a candidate with training images.

    Raises:
        UserError: for too few images for the feature space, and for a space that does not take them.
    """
    train = candidate.train
    assert train is not None
    held = train.take(slice(0, 0)) if candidate.holdout is None else candidate.holdout
    enough(train, held, len(candidate.images), features)
    spaces = pick(features, train.spec)
    confirm = second(spaces[0], train.spec)
    of_train, of_held = (known(images, spaces, confirm, progress(say, "features of real images")) for images in (train, held))
    return replace(laid(spaces, confirm, of_train, of_held, len(candidate.images), seed), overlap=candidate.overlap)


def enough(train: Images, holdout: Images | None, n: int, features: str | None) -> None:
    """Raise `UserError` where ``n`` generated images or the real ones are too few for the feature space; it says how many more it takes."""
    need = pick(features, train.spec)[0].dimension + 1
    if n < need:
        raise UserError(f"{n} generated images are too few for features of {need - 1} dimensions: give at least {need}, better {5 * need}")
    held = 0 if holdout is None else len(holdout)
    reference, baseline = _parts(len(train), held, n)
    if min(reference, baseline) >= need:
        return
    training = next(k for k in count(1) if min(_parts(len(train) + k, held, n)) >= need)
    other = next((k for k in range(1, n + 1) if min(_parts(len(train), held + k, n)) >= need), None)
    give = f"{training} more training images" + ("" if other is None else f", or {other} more real images with `holdout`")
    raise TooFewReals(
        f"only {reference} real images to compare with and {baseline} for the real-vs-real baseline are left, and features of "
        f"{need - 1} dimensions need {need} of each: give {give}"
    )


class TooFewReals(UserError):
    """Images cannot be scored, whatever made them, because there are too few real ones."""


def _parts(train: int, holdout: int, n: int) -> tuple[int, int]:
    """How many images the reference may hold, and the baseline, which is lent training images while it is the smaller part."""
    lent = max(0, min(n - holdout, (train - holdout) // 2))
    return train - lent, min(n, holdout) + lent


def known(images: Images, spaces: Sequence[FeatureSpace], confirm: FeatureSpace, progress: Progress | None = None) -> RealImages:
    """Real images with their features, from the cache where they were computed before."""
    every = (*spaces, confirm)
    parts = [part(progress, place, len(every)) for place in range(len(every))]
    found = [cached(space, images, progress=p) if len(images) else space.of(images.pixels) for space, p in zip(every, parts, strict=True)]
    return RealImages(images, found[:-1], found[-1])


def laid(spaces: Sequence[FeatureSpace], confirm: FeatureSpace, train: RealImages, holdout: RealImages, n: int, seed: int) -> ReferenceSet:
    """What ``n`` generated images meet: the baseline is the holdout and as many training images as it lacks, the reference the rest."""
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(train))
    lent = len(train) - _parts(len(train), len(holdout), n)[0]
    baseline = train[np.sort(order[:lent])] + holdout[np.sort(rng.permutation(len(holdout))[:n])]
    return ReferenceSet(spaces, confirm, train, holdout, train[np.sort(order[lent:][: max(FEWEST, n)])], baseline)


def drawn_in(against: ReferenceSet, pixels: Pixels, progress: Progress | None = None) -> tuple[list[Extracted], Extracted]:
    """Features of generated images in every space, and in the confirming one."""
    every = (*against.spaces, against.confirm)
    found = [space.of(pixels, part(progress, place, len(every))) for place, space in enumerate(every)]
    return found[:-1], found[-1]
