"""From numbers to answers: limits on images of calibration, and what follows from them on images of the test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype.detect.judge import LinearJudge, Singles
from calotype.detect.results import Answers, Limits, Rate, Results, ToldApart, Verdict3
from calotype.metrics.confidence import Doubles, exact_interval, expected_errors, reliability
from calotype.metrics.detection import Platt, auc, platt, roc, upper_limit

POINTS = 200  # of a curve that is kept
VERDICTS: tuple[Verdict3, ...] = ("REAL", "GENERATED", "CANNOT TELL")


@dataclass(frozen=True)
class Numbers:
    """What a judge makes of some images."""

    logits: Doubles  # (N,)
    distances: Doubles  # (N, sets)

    @staticmethod
    def of(judge: LinearJudge, features: Singles) -> Numbers:
        """Of features (N, d)."""
        return Numbers(judge.logits(features), judge.distances(features))

    def __len__(self) -> int:
        return len(self.logits)


def calibrated(real: Numbers, generated: Sequence[Numbers], rate: float) -> Limits:
    """Limits from images that had no part in training: of real ones and of those of each generator.

    GENERATED is said above what all but ``rate`` of the real images stay below; REAL below what all but ``rate`` of the images of every
    generator stay above. An image is unlike a set where it is farther away than all but ``rate`` of the images of that set.
    """
    positives = np.concatenate([one.logits for one in generated])
    weight = np.concatenate([np.full(len(one), 1 / len(one)) for one in generated])
    fit = platt(real.logits, positives, weight)
    above = upper_limit(real.logits, rate)
    below = min(-upper_limit(-one.logits, rate) for one in generated)
    unlike = [upper_limit(one.distances[:, place], rate) for place, one in enumerate((real, *generated))]
    return Limits(fit.slope, fit.offset, _finite(above), _finite(below), tuple(_finite(one) for one in unlike), rate)


def probability(limits: Limits, logits: Doubles) -> Doubles:
    """That images are generated, where as many are generated as real, (N,)."""
    return Platt(limits.slope, limits.offset).probability(logits)


def unlikeness(limits: Limits, distances: Doubles) -> Doubles:
    """The distance (N, sets) relative to the limit of the set that is nearest in this, (N,): above 1 an image is unlike all sets."""
    known = [place for place, limit in enumerate(limits.unlike) if limit is not None]
    if len(known) < len(limits.unlike):
        return np.zeros(len(distances))  # of a set with too few images nobody can say what is unlike it
    found: Doubles = (distances / np.array([limits.unlike[place] for place in known])).min(1)
    return found


def answers(limits: Limits, numbers: Numbers) -> list[Verdict3]:
    """The answer to each image, whatever its file is like."""
    p, unlike = probability(limits, numbers.logits), unlikeness(limits, numbers.distances) > 1
    above = math.inf if limits.above is None else limits.above
    below = -math.inf if limits.below is None else limits.below
    said: list[Verdict3] = []
    for logit, belief, strange in zip(numbers.logits.tolist(), p.tolist(), unlike.tolist(), strict=True):
        if strange:
            said.append("CANNOT TELL")
        elif logit > above and belief >= 0.5:
            said.append("GENERATED")
        elif logit < below and belief < 0.5:
            said.append("REAL")
        else:
            said.append("CANNOT TELL")
    return said


def separation(name: str, limits: Limits, real: Numbers, generated: Sequence[Numbers]) -> ToldApart:
    """How well the images of some generators, each with the same weight, are told from real ones."""
    least = min(len(one) for one in generated)
    together = _same_number(generated, least)
    area = auc(real.logits, together.logits)
    assert area.interval is not None
    return ToldApart(name, area.value, area.interval, _counted(answers(limits, real)), _counted(answers(limits, together)))


def curve(real: Numbers, generated: Sequence[Numbers]) -> tuple[tuple[float, float], ...]:
    """Points of the ROC curve, the corners among them."""
    false, true = roc(real.logits, _same_number(generated, min(map(len, generated))).logits)
    rows = np.unique(np.linspace(0, len(false) - 1, POINTS).round().astype(int))
    return tuple((float(false[row]), float(true[row])) for row in rows)


def results(
    counts: tuple[int, int, int],
    limits: Limits,
    real: Numbers,
    generated: Sequence[tuple[str, Numbers]],
    left_out: Sequence[ToldApart],
    robustness: Sequence[ToldApart],
    seed: int,
    seconds: float,
) -> Results:
    """All that the test says. Probabilities are judged on as many real as generated images, for that is what they are said for."""
    numbers = [one for _, one in generated]
    each = min(len(real) // len(numbers), *map(len, numbers)) or 1
    together = _same_number(numbers, each)
    some = real.logits[np.random.default_rng([seed, 53]).permutation(len(real))[: len(together)]]
    logits = np.concatenate([some, together.logits])
    label = np.concatenate([np.zeros(len(some), np.int64), np.ones(len(together), np.int64)])
    plain, fitted = (_both(p) for p in (Platt(1, 0).probability(logits), probability(limits, logits)))
    return Results(
        counts,
        separation("all", limits, real, numbers),
        tuple(separation(name, limits, real, [one]) for name, one in generated),
        tuple(left_out),
        tuple(robustness),
        curve(real, numbers),
        reliability(plain, label),
        reliability(fitted, label),
        float(np.quantile(expected_errors(fitted, seed), 0.95)),
        seconds,
    )


def _both(p: Doubles) -> Doubles:
    return np.stack([1 - p, p], 1)


def _same_number(several: Sequence[Numbers], each: int) -> Numbers:
    """``each`` of all, by a lottery that is always the same: files often lie in the order of their classes."""
    chosen = [np.sort(np.random.default_rng([len(one), 59]).permutation(len(one))[:each]) for one in several]
    logits, distances = ([part[rows] for part, rows in zip(parts, chosen, strict=True)] for parts in _parts(several))
    return Numbers(np.concatenate(logits), np.concatenate(distances))


def _parts(several: Sequence[Numbers]) -> tuple[list[Doubles], list[Doubles]]:
    return [one.logits for one in several], [one.distances for one in several]


def _counted(said: Sequence[Verdict3]) -> Answers:
    return Answers(*(_rate(np.array([one == which for one in said])) for which in VERDICTS))


def _rate(hits: NDArray[np.bool_]) -> Rate:
    count, n = int(hits.sum()), len(hits)
    return Rate(count / n, exact_interval(count, n), n)


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
