"""From a translator to a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures as edge
from calotype.data import Loader, Split
from calotype.diagnose.checks import answers
from calotype.diagnose.training import History
from calotype.diagnose.translated import Translated, translate
from calotype.diagnose.verdict import Finding, Verdict
from calotype.engine.images import judging, open_images
from calotype.errors import UserError
from calotype.evaluation import result
from calotype.evaluation.beside import gone, reading
from calotype.evaluation.request import Request
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.scores import scored
from calotype.evaluation.target import EvaluationResult, Subject
from calotype.files import name_of
from calotype.metrics.features import default, pick
from calotype.metrics.frechet import FD, frechet_estimate
from calotype.metrics.inputs import Quality
from calotype.metrics.quality import Convention, convention_for
from calotype.metrics.score import Score
from calotype.tasks.sample import Generator
from calotype.types import Batch, Condition

FULL, SHORT = 200, 48
"""Pictures that a report translates, and those of a short one."""

MEGAPIXELS = 4.0, 0.6  # of all of them together, at most
SHOWN = 6
WAYS = {"a2b": "Sources translated (a2b)", "b2a": "Images translated (b2a)"}
"""What each direction makes."""

REALS = 2_000  # training pictures of the other side that a distance is taken to


@dataclass(frozen=True)
class _One:
    """One direction, measured."""

    direction: str
    found: Translated
    again: Tensor | None  # translated back


@dataclass(frozen=True)
class TranslatorTarget:
    """A model that turns images of one kind into another, and held-out pictures of both kinds."""

    path: Path
    generator: Generator
    known: RunInfo
    split: Split
    batch: Batch
    paired: bool  # whether both show the same

    @property
    def subject(self) -> Subject:
        """Who it is."""
        subject = self.known.subject(self.path, self.generator)
        how = {"translates from": str(self.generator.spec.source or ""), "judged on": self.split.train.name}
        return replace(subject, about={**subject.about, **how})

    def measure(self, request: Request) -> EvaluationResult:
        """Translate in every direction that the model knows, and compare with pictures of the other side."""
        generator, known = self.generator, self.known
        several, speed = _translated(generator, self.batch, self.paired, request)
        two, convention = len(several) > 1, convention_for(None, generator.spec.channels)
        scores = [s for one in several for s in _scores(one, convention, two)]
        scores += [] if request.short else _distances(several, self.split, two, generator.model.through)
        report = result.Report(
            name_of(self.path),
            scores=tuple(scores),
            data=known.data,
            protocol={"pictures": f"{len(self.batch.image)}, {'paired' if self.paired else 'not paired'}", "convention": convention.text},
            pictures=result.ReportImages(crops=_crops(several)),
            cost=known.cost(generator, speed),
        )
        findings = [f for one in several for f in _named(answers(one.found), one.direction, two)]
        return EvaluationResult(report, [*findings, *answers(History(known.records, of="translator"))])


def open_target(path: Path, generator: Generator, request: Request) -> TranslatorTarget:
    """The translator at ``path``, with pictures that its run held out, or those that its settings make of ``data``.

    Raises:
        UserError: for a model without its run, and where nothing is held out.
    """
    known = RunInfo.of(path, request)
    if known.config is None:
        raise UserError(f"{path} is a model by itself, which does not say what it was trained to translate: judge its run")
    options = known.config.data
    if known.split is None and request.data is None:
        raise UserError(gone(options))
    split = known.split or open_images(replace(options, source=request.data or ""), request.progress(reading(request.data or "")))
    return TranslatorTarget(path, generator, replace(known, split=split), split, *_batch(known, split, generator, request))


def _translated(generator: Generator, batch: Batch, paired: bool, request: Request) -> tuple[list[_One], float]:
    """What comes of each direction, and the seconds that a megapixel of it takes."""
    ways, said = generator.model.directions, request.progress("translating")
    began, made = time.perf_counter(), []
    for place, way in enumerate(ways):
        made.append((way, translate(generator.model, batch, paired, way, request.seed)))
        if said is not None:
            said(place + 1, len(ways))
    seconds = time.perf_counter() - began
    megapixels = sum(found.made[:, 0].numel() for _, found in made) / 1e6
    return [_One(way, found, None if found.back is None else found.back(found.made)) for way, found in made], seconds / megapixels


def _batch(known: RunInfo, split: Split, generator: Generator, request: Request) -> tuple[Batch, bool]:
    """Held-out pictures with their sources, and whether both show the same."""
    assert known.config is not None
    data, count = request.data, request.count if request.count is not None else (SHORT if request.short else FULL)
    images = split.holdout if len(split.holdout) or data is None else split.train
    fewest = (
        len(images) if images.partner is None else min(len(images), len(images.partner))
    )  # none may come twice: it would be its own double
    if fewest < 2:
        raise UserError(
            "the run held no pictures out: name some with `data`"
            if data is None
            else f"{data} holds too few pictures to judge by: name others"
        )
    augmentation = replace(judging(known.config.data, images), patch=None)
    count = max(2, min(count, fewest, int(MEGAPIXELS[request.short] * 1e6 / images.spec.size**2)))
    batch = Loader(images, count, request.seed, augmentation, device=generator.device).batch_at(0)
    return Batch(batch.image, Condition(source=batch.condition.source)), augmentation.paired


def _named(found: Sequence[Finding | Verdict], direction: str, several: bool) -> list[Finding | Verdict]:
    """Findings that say of which direction they are."""
    return [replace(f, evidence=f"{WAYS[direction]}: {f.evidence}") if several and f.evidence else f for f in found]


def _scores(one: _One, convention: Convention, several: bool) -> list[Score]:
    if not one.found.paired:
        return []
    made, truth = (t.float().clamp(-1, 1).cpu() for t in (one.found.made, one.found.image))
    convention = convention if made.shape[1] == 3 or convention.space == "gray" else replace(convention, space="gray")
    found = Quality(convention.psnr(made, truth).clamp(max=80).double().numpy(), convention.ssim(made, truth).double().numpy())
    scores = scored([found], [], convention.text, len(made), len(made))
    return [replace(s, name=f"{s.name}, {one.direction}") for s in scores] if several else scores


def _distances(several: Sequence[_One], split: Split, two: bool, through: tuple[str, ...]) -> list[Score]:
    """The Frechet distance of translations from training pictures of the other side; the baseline is that of held-out ones."""
    found = []
    for one in several:
        others = split.train if one.direction == "a2b" else split.train.partner
        if others is None:  # the sources are made of the images, and there is no set of them apart
            continue
        real = np.asarray(others.pixels[:REALS])
        fewest = min(len(one.found.made), len(real))
        names = dict.fromkeys((default(others.spec, through), "random"))  # which needs fewer images
        spaces = (pick(name, others.spec, through=through)[0] for name in names)
        space = next((space for space in spaces if fewest > 2 * space.dimension), None)
        if space is None:
            continue
        drawn, held, reals = (space.of(x).features for x in (edge.to_uint8(one.found.made), edge.to_uint8(one.found.image), real))
        estimate, baseline = frechet_estimate(drawn, reals), frechet_estimate(held, reals).value
        name = FD.name + (f", {one.direction}" if two else "")
        found.append(Score(name, estimate.value, estimate.interval, baseline, len(drawn), len(reals), space.label, FD.kind))
    return found


def _crops(several: Sequence[_One]) -> tuple[result.Crop, ...]:
    """The first pictures of each direction, not selected."""
    crops = []
    for one in several:
        source, made, image = one.found.source, one.found.made, one.found.image
        before = edge.to_uint8(edge.like(source, made))
        after, truth = edge.to_uint8(made), edge.to_uint8(image)
        again: NDArray[np.uint8] | None = None if one.again is None else edge.to_uint8(edge.like(one.again, made))
        title = WAYS[one.direction]
        for row in range(min(SHOWN, len(after))):
            back = None if again is None else again[row]
            crops.append(result.Crop(title, before[row], after[row], truth[row] if one.found.paired else None, again=back))
    return tuple(crops)
