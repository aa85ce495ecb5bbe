"""The real images that a report stands on, in every feature space it needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from calotype.data import Images, Progress
from calotype.data.images import part
from calotype.engine.display import Say, progress
from calotype.errors import UserError
from calotype.evaluation.generator import Candidate, Pixels
from calotype.metrics.features import BLIND, Extracted, FeatureSpace, cached, caution, default, pick, second
from calotype.metrics.real_images import RealImages, ReferenceSet

FEWEST = 1_000  # real images to compare with, where there are so many; more where more were generated
LOOKED, LOOKED_SHORT = 20_000, 5_000  # training images that a network of photographs looks at, in a full and in a short report


def reference_set(candidate: Candidate, features: str | None, seed: int, short: bool = False, say: Say | None = None) -> ReferenceSet:
    """The real images for a candidate with training images; of large sets some, where a network is slow.

    Raises:
        UserError: for too few images for the feature space, and for a space that does not take them.
    """
    train = candidate.train
    assert train is not None
    held = train.take(slice(0, 0)) if candidate.holdout is None else candidate.holdout
    spaces, caution = spaces_for(train, held, len(candidate.images), features, candidate.through)
    confirm = second(spaces[0], train.spec)
    n, most = len(candidate.images), (LOOKED_SHORT if short else LOOKED) if spaces[0].slow else None
    rows, of_held = _some(len(train), most, seed), _some(len(held), most and max(most // 2, n), seed)
    some_train, some_held = (images if few is None else images.take(few) for images, few in ((train, rows), (held, of_held)))
    known_train, known_held = (
        known(images, spaces, confirm, progress(say, "features of real images")) for images in (some_train, some_held)
    )
    found = replace(laid(spaces, confirm, known_train, known_held, n, seed), overlap=candidate.overlap, caution=caution)
    return found if rows is None else replace(found, all_train=known(train, (), confirm), rows=rows)


def _some(there: int, most: int | None, seed: int) -> NDArray[np.int64] | None:
    """Rows of at most so many images, in their order; None for all of them."""
    return None if most is None or there <= most else np.sort(np.random.default_rng([seed, 13]).permutation(there)[:most])


def spaces_for(
    train: Images, holdout: Images | None, n: int, features: str | None, through: Collection[str] = ()
) -> tuple[tuple[FeatureSpace, ...], str | None]:
    """The spaces to compare ``n`` generated images with real ones in, and what a report says first of them.

    Features of photographs that nobody asked for give way to random ones, which need fewer images, where there are few.

    Raises:
        UserError: where the images are too few for the feature space; it says how many more it takes.
    """
    held, name = 0 if holdout is None else len(holdout), features or default(train.spec, through)
    spaces = pick(name, train.spec, through=through)
    if features is None and name == "photos" and _lacking(spaces[0], len(train), held, n):
        fewer = pick("random", train.spec)
        if not _lacking(fewer[0], len(train), held, n):
            need = spaces[0].dimension + 1
            few = f"The features of photographs need {need} generated images and twice as many real ones: random ones stand in."
            return fewer, f"{few} {BLIND}"
    if lacking := _lacking(spaces[0], len(train), held, n):
        raise lacking
    return spaces, caution(features, train.spec, through)


def _lacking(space: FeatureSpace, train: int, held: int, n: int) -> UserError | None:
    """Why ``n`` generated images or so many real ones are too few for a feature space; None where they are enough."""
    need = space.dimension + 1
    if n < need:
        return UserError(f"{n} generated images are too few for features of {need - 1} dimensions: give at least {need}, better {5 * need}")
    reference, baseline = _parts(train, held, n)
    if min(reference, baseline) >= need:
        return None
    training = next(k for k in count(1) if min(_parts(train + k, held, n)) >= need)
    other = next((k for k in range(1, n + 1) if min(_parts(train, held + k, n)) >= need), None)
    give = f"{training} more training images" + ("" if other is None else f", or {other} more real images with `holdout`")
    return TooFewReals(
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
