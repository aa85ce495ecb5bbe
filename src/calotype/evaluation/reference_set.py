"""The real images that a report stands on, in every feature space it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.data import Images, Progress
from calotype.data.images import part
from calotype.engine.display import Say, progress
from calotype.errors import UserError
from calotype.evaluation.target import Pixels, Subject
from calotype.evaluation.wording import NEAR
from calotype.metrics.features import Extracted, FeatureSpace, cached, pick, second
from calotype.metrics.repeats import first_of_each

Rows = NDArray[np.int64]
FEWEST = 1_000  # real images to compare with, where there are so many; more where more were generated


@dataclass(frozen=True)
class RealImages:
    """Real images, and what each space makes of them."""

    images: Images
    features: Sequence[Extracted]  # in each space
    confirm: Extracted  # in the space in which copies must show again

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def once(self) -> Rows:
        """The rows of the different images, each at its first place: an image that is there again is no neighbor of itself."""
        return first_of_each(self.images.pixels)

    def __getitem__(self, rows: Rows) -> RealImages:
        """Some of them."""
        return RealImages(self.images.take(rows), [e[rows] for e in self.features], self.confirm[rows])

    def nearest(self, drawn: Sequence[Extracted], confirm: Extracted, count: int) -> tuple[Rows, NDArray[np.float32]]:
        """The ``count`` images nearest to each of N others in all spaces together, nearest first: places and distances, (N, count) each.

        Half of a squared distance is the mean over the spaces to judge in, the other half that of the confirming one, each relative to
        the mean over pairs of real images, so that 1 is usual between two of those. Networks see kinds and textures and little of plain
        colors, coarse pictures the reverse: together they take for near what looks alike.
        """
        made, real = (*drawn, confirm), (*self.features, self.confirm)
        total = torch.zeros(len(confirm), len(self))
        for x, y, share in zip(made, real, [*[0.5 / len(drawn)] * len(drawn), 0.5], strict=True):
            usual = 2 * float(y.features.var(0, dtype=np.float64).sum())
            a, b = torch.from_numpy(x.features), torch.from_numpy(y.features)
            # by differences: products lose the digits that tell a copy from a likeness
            total += share / max(usual, 1e-12) * torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        found = total.topk(min(count, len(self)), dim=1, largest=False)
        return found.indices.numpy(), found.values.sqrt().numpy()

    def __add__(self, other: RealImages) -> RealImages:
        """Both, these first."""
        pixels = np.concatenate([self.images.pixels, other.images.pixels])
        known = self.images.labels is not None and other.images.labels is not None
        labels = np.concatenate([self.images.labels, other.images.labels]) if known else None
        files = self.images.files + other.images.files if self.images.files and other.images.files else ()
        return RealImages(
            replace(self.images, pixels=pixels, labels=labels, files=files),
            [_join(a, b) for a, b in zip(self.features, other.features, strict=True)],
            _join(self.confirm, other.confirm),
        )


@dataclass(frozen=True)
class ReferenceSet:
    """What generated images are compared with.

    ``reference`` are the training images that scores are computed against; ``baseline`` are other real images, as many as were
    generated where the data have so many: what they score is what a perfect generator would. Where there are fewer, scores are
    computed on as few generated images (`even`), because distances and coverage depend on how many there are.
    """

    spaces: Sequence[FeatureSpace]
    confirm: FeatureSpace
    train: RealImages
    holdout: RealImages
    reference: RealImages
    baseline: RealImages
    overlap: int = 0  # images that were held out besides, and are training images

    @property
    def near(self) -> str:
        """In what `RealImages.nearest` are near."""
        return near_in(self.spaces, self.confirm)

    def even(self, n: int) -> Rows:
        """Of ``n`` generated images as many as the baseline has: the rows to score, the same ones each time, in their order."""
        order = np.random.default_rng([n, len(self.baseline)]).permutation(n)  # the order of a folder is often by class
        return np.sort(order[: len(self.baseline)])

    @staticmethod
    def of(subject: Subject, features: str | None, seed: int, say: Say | None = None) -> ReferenceSet:
        """The real images for a subject with training images.

        Raises:
            UserError: for too few images for the feature space, and for a space that does not take them.
        """
        train = subject.train
        assert train is not None
        held = train.take(slice(0, 0)) if subject.holdout is None else subject.holdout
        enough(train, held, len(subject.images), features)
        spaces = pick(features, train.spec)
        confirm = second(spaces[0], train.spec)
        of_train, of_held = (known(images, spaces, confirm, progress(say, "features of real images")) for images in (train, held))
        return replace(laid(spaces, confirm, of_train, of_held, len(subject.images), seed), overlap=subject.overlap)


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
    give = f"{training} more training images" + ("" if other is None else f", or {other} more real images with --holdout")
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


def near_in(spaces: Sequence[FeatureSpace], confirm: FeatureSpace) -> str:
    """What to say of distances in all these spaces together."""
    return ", ".join(f"{space.name}@{space.hash}" for space in (*spaces, confirm)) + NEAR


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


def _join(a: Extracted, b: Extracted) -> Extracted:
    beliefs = None if a.probabilities is None or b.probabilities is None else np.concatenate([a.probabilities, b.probabilities])
    return Extracted(np.concatenate([a.features, b.features]), beliefs)
