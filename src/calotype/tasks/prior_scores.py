"""How close restorations by a prior come to the truth, beside what needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calotype.degrade import Degradation, Degraded, classical
from calotype.metrics.quality import convention_for
from calotype.tasks.prior import PosteriorSamples
from calotype.tasks.score import Scored, Scores, like, means, missing_in

Named = dict[str, list[Scores]]
"""The scores of each image, by what made it."""


@dataclass(frozen=True)
class PriorScores:
    """N restorations beside the truth."""

    scores: Named  # of the "mean", of one "sample", and of the baselines
    convention: str
    hidden: Tensor  # (N, 1 or C, H, W) bool: pixels that were not measured as they are, which calibration is judged on

    def of(self, index: int) -> Scored:
        """The scores of one image."""
        own, others = self.scores["mean"][index], {name: scores[index] for name, scores in self.scores.items() if name != "mean"}
        return Scored(own, others, self.convention)

    def as_json(self) -> dict[str, Any]:
        """The means of all scores, those of the posterior mean first, and what they mean."""
        return apart(means([self.of(index) for index in range(len(self.hidden))]))


def apart(scored: Scored) -> dict[str, Any]:
    """Scores as JSON, the one sample not among the baselines."""
    found = scored.as_json()
    return {**found, "sample": found["baselines"].pop("sample")}


def judge(restored: PosteriorSamples, truth: Tensor, degraded: Degraded, degradation: Degradation) -> PriorScores:
    """Score N restorations and the baselines against the truth (N, C, H, W) in the convention that fits."""
    convention = convention_for(degradation, truth.shape[1])
    holes = missing_in(degradation, degraded)

    def scores(image: Tensor) -> list[Scores]:
        psnr, ssim = (metric(like(image, truth), truth, holes).tolist() for metric in (convention.psnr, convention.ssim))
        return [Scores(*pair) for pair in zip(psnr, ssim, strict=True)]

    named = {"mean": restored.mean, "sample": restored.samples[:, 0]}
    for name, image in classical.baselines(degraded, degradation, (truth.shape[2], truth.shape[3])).items():
        if image.shape[2:] == truth.shape[2:]:
            named[name] = image
    hidden = torch.ones_like(truth[:, :1], dtype=torch.bool) if holes is None else holes > 0
    return PriorScores({name: scores(image) for name, image in named.items()}, convention.text, hidden)


def together(parts: Sequence[PriorScores]) -> PriorScores:
    """Several sets of images as one."""
    names = [name for name in parts[0].scores if all(name in part.scores for part in parts)]
    scores = {name: [one for part in parts for one in part.scores[name]] for name in names}
    return PriorScores(scores, parts[0].convention, torch.cat([part.hidden for part in parts]))
