"""Stacked digits: which of the 1,000 combinations a generator draws, as the digit recognizer reads each channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calotype import pictures
from calotype.data import load
from calotype.data.embedded import DIGITS
from calotype.data.toy import stacks
from calotype.diagnose.check import Findings
from calotype.diagnose.checks import answers
from calotype.diagnose.known_modes import CountedModes
from calotype.engine.display import progress
from calotype.evaluation.generator import Candidate, Pixels
from calotype.evaluation.request import Request
from calotype.evaluation.scores import scored
from calotype.metrics.features import Extracted, cached, pick
from calotype.metrics.features_kinds import DIGITS as DIGITS_SPEC
from calotype.metrics.known_modes import digits_in, of_digits
from calotype.metrics.score import Score
from calotype.modes import DigitModes
from calotype.types import mix

COUNT, COUNT_SHORT = 26_000, 2_600  # samples, as published, and those of a short report
BATCH = 100  # drawn at once
REAL = 23  # the stream of random numbers of the real stacks beside them


@dataclass(frozen=True)
class OfModes:
    """What was counted."""

    scores: tuple[Score, ...] = ()
    findings: Findings = ()


def modes_of(candidate: Candidate, request: Request) -> OfModes:
    """Count the modes of a generator of stacked digits, beside as many real stacks; nothing where modes are not known."""
    if not _stacked(candidate):
        return OfModes()
    own, recognizer = load(DIGITS).train, pick("digits", DIGITS_SPEC)[0]
    count = request.count or (COUNT_SHORT if request.short else COUNT)
    said, parts = progress(request.say, "reading stacked digits"), []
    for images in _drawn(candidate, count, request.seed):
        parts.append(digits_in(images, lambda gray: _read(recognizer.of(gray))))
        if said is not None:
            said(sum(map(len, parts)), count)
    made = np.concatenate(parts)
    assert own.labels is not None
    of_class = [np.flatnonzero(own.labels == digit) for digit in range(10)]
    rows = stacks(of_class, len(made), np.random.RandomState(mix(request.seed, REAL) & 0xFFFFFFFF))
    real = _read(cached(recognizer, own))[rows]
    found = CountedModes(of_digits(made), of_digits(real), [f"{mode:03d}" for mode in range(DigitModes().count)])
    return OfModes(tuple(scored([found.made], [found.real], recognizer.label, len(made), len(made))), answers(found))


def _stacked(candidate: Candidate) -> bool:
    """Whether it draws stacked digits, or is compared with such."""
    if candidate.generator is not None:
        return isinstance(candidate.generator.spec.modes, DigitModes)
    return candidate.train is not None and isinstance(candidate.train.modes, DigitModes)


def _drawn(candidate: Candidate, count: int, seed: int) -> Iterator[Pixels]:
    """Images (n, 28, 28, 3) uint8, a batch at a time: of a folder those that it has."""
    if candidate.generator is None:
        yield candidate.images
        return
    for part in candidate.generator.batches(count, {}, seed=seed, batch_size=BATCH):
        yield pictures.to_uint8(part)


def _read(seen: Extracted) -> NDArray[np.int64]:
    """The digits that images were taken for."""
    assert seen.probabilities is not None
    found: NDArray[np.int64] = seen.probabilities.argmax(1)
    return found
