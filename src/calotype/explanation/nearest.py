"""The part of a page that shows the training images nearest to drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.explanation.section import Exhibit, Pixels, Strip
from calotype.metrics.wording import space_in_words


@dataclass(frozen=True)
class NearestTraining:
    """Drawn images beside the training images that they are most like."""

    images: Pixels  # (N * (1 + K), H, W, C): each image, then its neighbors, nearest first
    distance: NDArray[np.float32]  # (N, K) 1 is usual between two training images
    names: Sequence[Sequence[str]]  # of the neighbors
    space: str  # in which they are near
    pool: int  # training images that were looked through
    first: str = ""  # how those were chosen that the space looked at, where not at all

    name = "nearest-training-images"
    title = "The training images most like its own"
    says = (
        "Does the model make new images, or copies? Beside each drawn image stand the training images most like it. New images are like no "
        "single one; what a copy looks like is plain to see."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """One strip, a row for each image."""
        columns = 1 + self.distance.shape[1]
        near = [f"nearest {d:.2f}" for d in self.distance[:, 0]]
        caption = (
            f"Each row: a drawn image, the nearest of {self.pool:,} training images by {space_in_words(self.space)}{self.first}. 1 is the "
            "usual distance of two training images, copies are near 0."
        )
        return [Strip(caption, self.images, columns, tuple(near), ("drawn", *map(str, range(1, columns))))]

    def data(self) -> dict[str, Any]:
        """Names and distances."""
        return {
            "space": self.space,
            "training_images": self.pool,
            "files": [list(row) for row in self.names],
            "distances": np.round(self.distance.astype(np.float64), 4).tolist(),
        }
