"""What a report asks of a model that draws images in pairs: whether they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import degrade, pictures
from calotype.capabilities import DrawsPairs
from calotype.degrade import Degradation
from calotype.evaluation.generator import Candidate
from calotype.evaluation.scores import scored
from calotype.metrics.classes import linear_scores
from calotype.metrics.features import FeatureSpace, pick
from calotype.metrics.pairs import DrawnPairs, PairKinds, pixel_agreement
from calotype.metrics.score import Score
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec, Noise, mix

COUNT, BATCH = 300, 50  # pairs that are drawn, and at once
LABELLED = 1_000  # training images that classifiers learn from
UNKNOWN = "pairs are not scored, for it is not known what makes one of their images of the other"


@dataclass(frozen=True)
class OfPairs:
    """What was found."""

    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()


def pairs_of(candidate: Candidate, seed: int) -> OfPairs:
    """Draw pairs and score them, where the model draws any. Raises nothing: what cannot be scored is noted."""
    generator = candidate.generator
    source = None if generator is None else generator.spec.source
    if generator is None or source is None or not isinstance(generator.model, DrawsPairs):
        return OfPairs()
    if not source.degradation:
        return OfPairs(notes=(UNKNOWN,))
    known = degrade.parse(source.degradation)
    drawn = _drawn(generator.model, min(candidate.count, COUNT), seed, generator.device)
    real = _real(candidate, known, generator.spec, seed)
    made = DrawnPairs(drawn[1], _applied(known, drawn[0], mix(seed, 1)))
    beside = [] if real is None else [DrawnPairs(real[1], _applied(known, real[0], mix(seed, 1)))]
    scores = scored([made], beside, "pixels", len(drawn[0]), 0 if real is None else len(real[0]))
    scores += _kinds(candidate, known, drawn, real, seed)
    chance = float(pixel_agreement(made.strangers).mean())
    return OfPairs(tuple(scores), (f"of images from different pairs {100 * chance:.1f}% of the pixels agree",))


@torch.no_grad()
def _drawn(model: DrawsPairs, count: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pairs of a model, on the processor."""
    parts = [model.sample_pairs(Noise(min(BATCH, count - start), seed, start, device)) for start in range(0, count, BATCH)]
    first, second = (torch.cat(side).float().cpu() for side in zip(*parts, strict=True))
    return first, second


def _applied(known: Degradation, images: Tensor, seed: int) -> Tensor:
    """What is known to make the second kind of images, of images (N, C, H, W)."""
    return known(images, Noise(len(images), seed)).image


def _real(candidate: Candidate, known: Degradation, spec: ImageSpec, seed: int) -> tuple[Tensor, Tensor] | None:
    """Held-out images and what is made of them; None where there are none of the shape of the model."""
    held = candidate.holdout
    if held is None or not len(held) or held.spec.shape != spec.shape:
        return None
    first = to_tensor(np.asarray(held.pixels[:COUNT]))
    return first, _applied(known, first, seed)


def _kinds(
    candidate: Candidate, known: Degradation, drawn: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor] | None, seed: int
) -> list[Score]:
    """Whether both images of a pair are taken for one class, where there are training images of classes in the shape of the model."""
    train = candidate.train
    if train is None or train.labels is None or len(train.classes) < 2 or train.spec.shape != drawn[0].shape[1:]:
        return []
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:LABELLED])
    first = to_tensor(np.asarray(train.pixels[rows]))
    sides = first, _applied(known, first, seed)
    spaces = [pick("random", replace(train.spec, channels=side.shape[1])) for side in sides]
    readers = [linear_scores(_seen(side, space), train.labels[rows], len(train.classes)) for side, space in zip(sides, spaces, strict=True)]

    def read(pair: tuple[Tensor, Tensor]) -> PairKinds:
        return PairKinds(*(scores(_seen(x, space)).argmax(1) for scores, x, space in zip(readers, pair, spaces, strict=True)))

    label = ", ".join(space.label for space in spaces[0])
    return scored([read(drawn)], [] if real is None else [read(real)], label, len(drawn[0]), len(rows))


def _seen(images: Tensor, spaces: Sequence[FeatureSpace]) -> NDArray[np.float32]:
    """What several networks make of images (N, C, H, W), side by side, (N, d)."""
    pixels = pictures.to_uint8(images)
    return np.concatenate([space.of(pixels).features for space in spaces], 1)
