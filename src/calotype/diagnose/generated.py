"""Generated images and the real ones beside them: the evidence of all verdicts on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.features_space import Extracted
from calotype.metrics.once import Once
from calotype.metrics.real_images import ReferenceSet
from calotype.metrics.score import Estimate


@dataclass(frozen=True)
class Generated(Once):
    """Generated images, and what feature spaces make of them and of real ones."""

    pixels: NDArray[np.uint8]  # (N, H, W, C)
    drawn: Sequence[Extracted]  # in each space of ``against``
    confirm: Extracted  # in the space in which copies must show again
    against: ReferenceSet
    seed: int  # of all that is random in what is asked of them
    made: Sequence[Mapping[str, Estimate]]  # precision, recall, density, coverage of `ReferenceSet.even` of them, by space
    real: Sequence[Mapping[str, Estimate]]  # the same of the baseline
    files: bool = False  # whether nothing is known of them but the files
