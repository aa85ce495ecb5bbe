"""What restoring images came to, image by image: the evidence of all verdicts on restorers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Pixels = NDArray[np.uint8]
MODEL = "this model"
"""The name of the model among the methods."""


@dataclass
class RestorationScores:
    """What was measured, image by image; ``psnr``, ``ssim``, ``kept`` and ``shift`` by method."""

    names: list[str] = field(default_factory=list)
    psnr: dict[str, Doubles] = field(default_factory=dict)  # (N,) dB
    ssim: dict[str, Doubles] = field(default_factory=dict)  # (N,)
    kept: dict[str, Doubles] = field(default_factory=dict)  # (N,): see `calotype.metrics.spectrum.kept_detail`
    shift: dict[str, Doubles] = field(default_factory=dict)  # (N, C) levels of 255
    detail: Doubles = field(default_factory=lambda: np.zeros(0))  # (N,): of the truth
    shown: list[tuple[Pixels, Pixels, Pixels]] = field(default_factory=list)  # before, after, truth; (H, W, C) each
    seconds: float = 0.0  # of restoring alone
    megapixels: float = 0.0  # that were made

    def ranked(self) -> list[str]:
        """The classical methods, best mean PSNR first."""
        return sorted((name for name in self.psnr if name != MODEL), key=lambda name: -float(self.psnr[name].mean()))

    @property
    def best(self) -> str:
        """The best classical method."""
        return self.ranked()[0]

    @property
    def given(self) -> str:
        """The method that is no method: what the model was given."""
        return next((name for name in ("input", "bicubic") if name in self.psnr), self.ranked()[-1])


@dataclass(frozen=True)
class NoiseLevels:
    """Denoising at several noise levels."""

    levels: Doubles  # (L,) on the scale of 0 to 255
    told: Doubles  # (L, N) PSNR in dB of each image where the model is told the level
    blind: Doubles  # (L, N) where it is not


@dataclass(frozen=True)
class RestorationEvidence:
    """What restoring images came to: the evidence of all verdicts on restorers."""

    held: RestorationScores  # of unseen images
    training: RestorationScores | None = None  # of as many training images
    records: Sequence[Mapping[str, Any]] = ()  # of the log
    levels: NoiseLevels | None = None  # of a denoiser for a range
