"""The real images that a report stands on, in every feature space it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calotype.data import Images
from calotype.errors import UserError
from calotype.metrics.features import Extracted, FeatureSpace, cached, pick, second
from calotype.metrics.frechet import check_count
from calotype.report.subject import Pixels, Subject

Rows = NDArray[np.int64]
FEWEST = 2_000  # real images to compare with, where there are so many; more where more were generated


@dataclass(frozen=True)
class Reals:
    """Real images, and what each space makes of them."""

    images: Images
    features: Sequence[Extracted]  # in each space
    confirm: Extracted  # in the space in which copies must show again

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Rows) -> Reals:
        """Some of them."""
        labels = None if self.images.labels is None else self.images.labels[rows]
        return Reals(
            replace(self.images, pixels=self.images.pixels[rows], labels=labels), [e[rows] for e in self.features], self.confirm[rows]
        )

    def __add__(self, other: Reals) -> Reals:
        """Both, these first."""
        pixels = np.concatenate([self.images.pixels, other.images.pixels])
        known = self.images.labels is not None and other.images.labels is not None
        labels = np.concatenate([self.images.labels, other.images.labels]) if known else None
        return Reals(
            replace(self.images, pixels=pixels, labels=labels),
            [_join(a, b) for a, b in zip(self.features, other.features, strict=True)],
            _join(self.confirm, other.confirm),
        )


@dataclass(frozen=True)
class Ground:
    """What generated images are compared with.

    ``reference`` are the training images that scores are computed against; ``floor`` are other real images, as many as were
    generated where the data have so many: what they score is what a perfect generator would.
    """

    spaces: Sequence[FeatureSpace]
    confirm: FeatureSpace
    train: Reals
    holdout: Reals
    reference: Reals
    floor: Reals

    @staticmethod
    def of(subject: Subject, features: str | None, seed: int) -> Ground:
        """The ground under a subject with training images.

        Raises:
            UserError: for images of another shape than the training images, and too few for the feature space.
        """
        train, held = subject.train, subject.holdout
        assert train is not None
        if train.pixels.shape[1:] != subject.images.shape[1:]:
            raise UserError(
                f"the images judged have the shape {subject.images.shape[1:]}, the training images {train.pixels.shape[1:]}: "
                "name the right --data"
            )
        if held is None:
            held = replace(train, pixels=train.pixels[:0], labels=None if train.labels is None else train.labels[:0])
        spaces = pick(features, train.spec)
        check_count(min(len(subject.images), len(train)), spaces[0].dimension)
        confirm = second(spaces[0], train.spec)
        return laid(spaces, confirm, known(train, spaces, confirm), known(held, spaces, confirm), len(subject.images), seed)


def known(images: Images, spaces: Sequence[FeatureSpace], confirm: FeatureSpace) -> Reals:
    """Real images with their features, from the cache where they were computed before."""
    found = [cached(space, images) if len(images) else space.of(images.pixels) for space in (*spaces, confirm)]
    return Reals(images, found[:-1], found[-1])


def laid(spaces: Sequence[FeatureSpace], confirm: FeatureSpace, train: Reals, holdout: Reals, n: int, seed: int) -> Ground:
    """The ground under ``n`` generated images: the floor is the holdout and as many training images as it lacks, the reference the rest."""
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(train))
    lent = min(max(0, n - len(holdout)), len(train) // 2)
    floor = train[np.sort(order[:lent])] + holdout[np.sort(rng.permutation(len(holdout))[:n])]
    return Ground(spaces, confirm, train, holdout, train[np.sort(order[lent:][: max(FEWEST, n)])], floor)


def drawn_in(ground: Ground, pixels: Pixels) -> tuple[list[Extracted], Extracted]:
    """Features of generated images in every space, and in the confirming one."""
    return [space.of(pixels) for space in ground.spaces], ground.confirm.of(pixels)


def _join(a: Extracted, b: Extracted) -> Extracted:
    beliefs = None if a.probabilities is None or b.probabilities is None else np.concatenate([a.probabilities, b.probabilities])
    return Extracted(np.concatenate([a.features, b.features]), beliefs)
