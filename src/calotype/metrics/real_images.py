"""Real images with what feature spaces make of them, and how they are divided to judge generated ones by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.data import Images
from calotype.metrics.features_space import Extracted, FeatureSpace
from calotype.metrics.repeats import first_of_each
from calotype.metrics.wording import NEAR

Rows = NDArray[np.int64]


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
    caution: str | None = None  # what a report says first of the spaces
    all_train: RealImages | None = None  # every training image, in the confirming space alone, where ``train`` are only some ...
    rows: Rows | None = None  # ... which are these of them

    @property
    def whole(self) -> RealImages:
        """Every training image, known in the confirming space at least: what copies are looked for among."""
        return self.train if self.all_train is None else self.all_train

    def in_whole(self, rows: Rows) -> Rows:
        """The places in `whole` of some of the rows of ``train``."""
        return rows if self.rows is None else self.rows[rows]

    @property
    def near(self) -> str:
        """In what `RealImages.nearest` are near."""
        return near_in(self.spaces, self.confirm)

    def even(self, n: int) -> Rows:
        """Of ``n`` generated images as many as the baseline has: the rows to score, the same ones each time, in their order."""
        order = np.random.default_rng([n, len(self.baseline)]).permutation(n)  # the order of a folder is often by class
        return np.sort(order[: len(self.baseline)])


def near_in(spaces: Sequence[FeatureSpace], confirm: FeatureSpace) -> str:
    """What to say of distances in all these spaces together."""
    return ", ".join(f"{space.name}@{space.hash}" for space in (*spaces, confirm)) + NEAR


def _join(a: Extracted, b: Extracted) -> Extracted:
    beliefs = None if a.probabilities is None or b.probabilities is None else np.concatenate([a.probabilities, b.probabilities])
    return Extracted(np.concatenate([a.features, b.features]), beliefs)
