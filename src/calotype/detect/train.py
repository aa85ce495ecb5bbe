"""From real and generated images to a detector that knows how far it can be trusted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated

import numpy as np
from pydantic import Field
from safetensors.torch import save as tensor_bytes

from calotype import __version__
from calotype.detect.compression import qualities
from calotype.detect.detector import Detector, digest
from calotype.detect.equalize import Equalizer, plan
from calotype.detect.judge import LinearJudge, Singles, learned
from calotype.detect.judging import Numbers, calibrated, results, separation
from calotype.detect.perturb import TABLE
from calotype.detect.results import CoveredFiles, DetectorFacts, Limits, ToldApart
from calotype.detect.sets import ImageSet, distinct_names, generated_set, real_set
from calotype.detect.tables import CALIBRATION, TEST, TRAIN, EqualImages, degraded, divided, equalized, features_of
from calotype.engine.display import Display, Terminal, progress
from calotype.errors import UserError
from calotype.metrics.confidence import Labels
from calotype.metrics.residuals import GROUPS
from calotype.settings import Count, ImageSize, Seed, value

COUNT = 2_000  # images of each set
FEWEST = 100  # images of each set, of which a fifth calibrate and a fifth test
FALSE_ALARMS = 0.05
Rate05 = Annotated[float, Field(ge=0.001, le=0.2)]


@dataclass(frozen=True)
class _Work:
    """All images of one training."""

    sets: list[ImageSet]  # the real ones first
    equalizer: Equalizer
    tables: list[EqualImages]
    parts: list[Labels]
    features: list[Singles]  # (N, d) of each table
    varied: list[Singles]  # of a degraded copy of each training image
    groups: tuple[str, ...]
    display: Display
    seed: int

    def rows(self, place: int, part: int) -> Labels:
        """Which images of a set are in a part."""
        (found,) = np.nonzero(self.parts[place] == part)
        return found.astype(np.int64)

    def learn(self, places: Sequence[int]) -> LinearJudge:
        """A judge from the training images of the real set and of some others, each with its degraded copy."""
        sets = [np.concatenate([self.features[place][self.rows(place, TRAIN)], self.varied[place]]) for place in (0, *places)]
        return learned(sets[0], sets[1:])

    def numbers(self, judge: LinearJudge, place: int, part: int | None) -> Numbers:
        """What a judge makes of the images of a set in a part, or of all of them."""
        return Numbers.of(judge, self.features[place] if part is None else self.features[place][self.rows(place, part)])


def train(
    real: str,
    *generated: str,
    count: int = COUNT,
    size: int | None = None,
    false_alarms: float = FALSE_ALARMS,
    seed: int = 0,
    groups: Sequence[str] = tuple(GROUPS),
    equalize: bool = True,
    degradations: Sequence[str] = TABLE,
    device: str = "auto",
    display: Display | None = None,
) -> Detector:
    """Learn to tell generated images from real ones, in equal formats, sizes and compressions.

    Args:
        real: Any source of images (see `calotype.data.load`).
        generated: Folders or archives of generated images, and runs or models of Calotype, which are drawn from.
        count: Images of each set at most; of a model so many are drawn.
        size: Height and width that all are brought to; by default their own where all have one, else three quarters of the smallest.
        false_alarms: The share of real images that may be called GENERATED, of the images of each generator that may be called REAL, and of
            the images like those of training that may be called unlike them.
        seed: Of the drawn images, of the choice of images and of their parts.
        groups: What the detector looks at (`calotype.metrics.residuals.GROUPS`).
        equalize: With False images are only brought to one size: what is then told apart may be files and no images. For comparisons.
        degradations: What the images of the test are put through for the table of robustness (`calotype.detect.perturb.TABLE`).
        device: Where models draw.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Returns:
        The detector with its test on images that it never saw, near duplicates of those of training left out of the test;
        `Detector.save` writes it.

    Raises:
        UserError: for no or too few images, and for images that cannot be brought to one size.
    """
    began = time.monotonic()
    if not generated:
        raise UserError("there are no generated images: name a folder or zip of them, or a run to draw them from")
    count, seed = value("count", count, Annotated[Count, Field(ge=FEWEST)]), value("seed", seed, Seed)
    false_alarms = value("false_alarms", false_alarms, Rate05)
    size = None if size is None else value("size", size, ImageSize)
    if odd := next((name for name in groups if name not in GROUPS), None):
        raise UserError(f"there are no features {odd!r}: choose among {', '.join(GROUPS)}")
    if len(set(groups)) < len(groups):
        raise UserError("`groups` names the same features twice: name each once")
    with closing(display or Terminal()) as shown:
        work, notes = _gathered(real, generated, count, size, seed, tuple(groups), equalize, device, shown)
        places = range(1, len(work.sets))
        judge = work.learn(places)
        limits = calibrated(work.numbers(judge, 0, CALIBRATION), [work.numbers(judge, p, CALIBRATION) for p in places], false_alarms)
        tested = [work.numbers(judge, p, TEST) for p in places]
        outside = _left_out(work, false_alarms)
        robust = _robustness(work, judge, limits, degradations)
        counts = tuple(sum(int((part == which).sum()) for part in work.parts) for which in (TRAIN, CALIBRATION, TEST))
        named = [(work.sets[p].name, numbers) for p, numbers in zip(places, tested, strict=True)]
        found = results(
            (counts[0], counts[1], counts[2]),
            limits,
            work.numbers(judge, 0, TEST),
            named,
            outside,
            robust,
            seed,
            time.monotonic() - began,
        )
        facts = [one.facts(table.digests, len(table)) for one, table in zip(work.sets, work.tables, strict=True)]
        about = DetectorFacts(
            "detector",
            __version__,
            work.equalizer,
            work.groups,
            facts[0],
            tuple(facts[1:]),
            seed,
            limits,
            _tested(work, robust, false_alarms),
            found,
            tuple(notes),
            digest(tensor_bytes(judge.tensors())),
        )
        return Detector(about, judge)


def _gathered(
    real: str,
    generated: Sequence[str],
    count: int,
    size: int | None,
    seed: int,
    groups: tuple[str, ...],
    equalize: bool,
    device: str,
    display: Display,
) -> tuple[_Work, list[str]]:
    """Read, equalize and divide all images. Raises `UserError` for what cannot be learned from."""
    sets = [real_set(real, count, seed, display)]
    sets += [generated_set(source, count, seed, display, device) for source in generated]
    sets = distinct_names(sets)
    for one in sets:
        _require(one, len(one))
    channels = 1 if any(one.gray for one in sets) else 3
    notes = [f"{one.name}: {len(one.skipped)} files could not be used" for one in sets if one.skipped]
    if channels == 1 and not all(one.gray for one in sets):
        colored = ", ".join(one.name for one in sets if not one.gray)
        notes.append(f"all are made gray, because some sets have no color: {colored} lost theirs")
    lossy = sorted({c.format for one in sets for c in one.compressions} - {"", "JPEG"})
    if lossy and equalize:
        notes.append(f"what {', '.join(lossy)} files lost cannot be added to others: it may be what is told apart")
    sides = [[(side, own) for one in part for side, own in zip(one.sides, one.compressions, strict=True)] for part in (sets[:1], sets[1:])]
    equalizer = plan(sides[0], sides[1], channels, size, seed=seed, equal=equalize)
    if all(pools := (set(equalizer.real), set(equalizer.generated))) and pools[0] != pools[1]:
        notes.append("real and generated images are JPEG files of other qualities: a part of what is told apart may be these")
    tables = []
    for one in sets:
        _require(one, sum(side >= equalizer.size for side in one.sides), f" of {equalizer.size} pixels or more")
        tables.append(equalized(one, equalizer, display.show))
    parts = divided(tables, seed)
    for one, part in zip(sets, parts, strict=True):
        for which, name in ((TRAIN, "training"), (CALIBRATION, "calibration"), (TEST, "the test")):
            if (part == which).sum() < 2:
                raise UserError(f"the images of {one.name} are so much alike that none are left for {name}: give more, or others")
    features = [features_of(table.pixels, groups, display.show, f"features of {one.name}") for one, table in zip(sets, tables, strict=True)]
    work = _Work(sets, equalizer, tables, parts, features, [], groups, display, seed)
    said = progress(display.show, "varying the training images")
    for place, one in enumerate(sets):
        copies = degraded(one, tables[place].places[work.rows(place, TRAIN)], equalizer, None, seed)
        work.varied.append(features_of(copies, groups, None, ""))
        if said is not None:
            said(place + 1, len(sets))
    return work, notes


def _require(one: ImageSet, count: int, such: str = "") -> None:
    """Raise `UserError` for fewer images than something can be learned and tested with."""
    if count < FEWEST:
        there = "one image" if count == 1 else f"{count} images"
        raise UserError(f"{one.source} has {there}{such}: a detector needs {FEWEST} of each kind, better thousands")


def _left_out(work: _Work, rate: float) -> list[ToldApart]:
    """Each generator by a detector that learned from all others: what there is to expect of generators that nobody knows."""
    if len(work.sets) < 3:
        return []
    said, found = progress(work.display.show, "leaving out one generator after another"), []
    for place in range(1, len(work.sets)):
        others = [other for other in range(1, len(work.sets)) if other != place]
        judge = work.learn(others)
        limits = calibrated(work.numbers(judge, 0, CALIBRATION), [work.numbers(judge, other, CALIBRATION) for other in others], rate)
        found.append(separation(work.sets[place].name, limits, work.numbers(judge, 0, TEST), [work.numbers(judge, place, None)]))
        if said is not None:
            said(place, len(work.sets) - 1)
    return found


def _robustness(work: _Work, judge: LinearJudge, limits: Limits, degradations: Sequence[str]) -> list[ToldApart]:
    """The test once more, on images that were degraded first."""
    if not degradations:
        return []
    said, found = progress(work.display.show, "testing on degraded images"), []
    for row, spec in enumerate(degradations):
        numbers = []
        for place, one in enumerate(work.sets):
            made = degraded(one, work.tables[place].places[work.rows(place, TEST)], work.equalizer, spec, work.seed + 1)
            numbers.append(Numbers.of(judge, features_of(made, work.groups, None, "")))
        found.append(separation(spec, limits, numbers[0], numbers[1:]))
        if said is not None:
            said(row + 1, len(degradations))
    return found


def _tested(work: _Work, robust: Sequence[ToldApart], rate: float) -> CoveredFiles:
    """The files that the sets are made of, and what the table adds to them where it holds."""
    kept = [side for one in work.sets for side in one.sides if side >= work.equalizer.size]
    low, high = min(kept), max(kept)
    factors = _by_value(robust, "resize")
    smallest = min([1.0, *_held(reversed([one for one in factors if one[0] < 1]), rate)])
    largest = max([1.0, *_held([one for one in factors if one[0] > 1], rate)])
    found = [q for one in work.sets for q in qualities(one.compressions)]
    found += _held(reversed(_by_value(robust, "jpeg")), rate)
    formats = sorted({c.format for one in work.sets for c in one.compressions if c.format} | ({"JPEG"} if found else set()))
    return CoveredFiles((round(smallest * low), round(largest * high)), min(found, default=None), tuple(formats))


def _by_value(robust: Sequence[ToldApart], kind: str) -> list[tuple[float, ToldApart]]:
    """The rows of one kind of damage with their values, in rising order."""
    named = [(row.name.partition(":"), row) for row in robust]
    return sorted(((float(value), row) for (name, _, value), row in named if name == kind), key=lambda one: one[0])


def _held(rows: Iterable[tuple[float, ToldApart]], rate: float) -> list[float]:
    """The values of rows from mild to severe damage, up to the first that does not hold: nothing is answered beyond what failed."""
    return [value for value, _ in takewhile(lambda one: one[1].holds(rate), rows)]


__all__ = ["COUNT", "FALSE_ALARMS", "FEWEST", "train"]
