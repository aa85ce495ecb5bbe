"""From a generator, or a folder of images that one made, to what a report says of it: draw, and score beside real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calotype.data.images import some
from calotype.diagnose.check import Findings
from calotype.diagnose.checks import answers, unanswered
from calotype.diagnose.copies import search
from calotype.diagnose.generated import Generated
from calotype.diagnose.modes import estimated_shares
from calotype.diagnose.remedy import Judged, model_settings
from calotype.diagnose.training import History
from calotype.engine.display import progress
from calotype.evaluation import cas, cost, evidence, likelihoods, result
from calotype.evaluation.generator import Candidate, Pixels, draw, open_candidate
from calotype.evaluation.pairs import pairs_of
from calotype.evaluation.reference_set import TooFewReals, drawn_in, reference_set, spaces_for
from calotype.evaluation.request import Request
from calotype.evaluation.scores import in_table_order, scored
from calotype.evaluation.stacked_digits import modes_of
from calotype.evaluation.target import EvaluationResult, Subject
from calotype.metrics.features import Extracted, pick
from calotype.metrics.features_kinds import random
from calotype.metrics.frechet import check_count, frechet_estimate, line
from calotype.metrics.inputs import Divided, Drawn, InSpace, Published
from calotype.metrics.manifold import manifold_scores
from calotype.metrics.real_images import RealImages, ReferenceSet
from calotype.metrics.score import Score
from calotype.metrics.wording import space_in_words
from calotype.types import small_gray

WORTH = 0.01  # share of training images that repeat others from which on a reader is told


@dataclass(frozen=True)
class GeneratorTarget:
    """A generator to be judged by the images that it draws, or images that something else drew."""

    candidate: Candidate
    lacking: str = ""  # why its images cannot be compared with real ones, where these are too few

    @property
    def subject(self) -> Subject:
        """Who it is."""
        one = self.candidate
        return Subject(
            one.name, one.about, one.records, one.recipe, one.settings, one.train_seed, one.notes, _judged(one), one.generator is None
        )

    def measure(self, request: Request) -> EvaluationResult:
        """Draw images, ask the model what it knows, and compare with real images where there are enough."""
        candidate = draw(self.candidate, request.seed, request.say)
        told = likelihoods.ask(candidate, request.seed, slow=request.slow, say=request.say)
        paired, counted = pairs_of(candidate, request.seed), modes_of(candidate, request)
        report = result.Report(
            candidate.name,
            scores=(*counted.scores, *told.scores, *paired.scores),
            notes=(*told.notes, *paired.notes),
            pictures=result.ReportImages(samples=candidate.images[: evidence.SHOWN]),
            units=told.units,
            cost=cost.of(candidate),
        )
        known = [*counted.findings, *_of_training(candidate), *told.findings]
        if candidate.train is None or self.lacking:
            return _alone(report, self.lacking, known)
        against = reference_set(candidate, request.features, request.seed, request.short, request.say)
        found = _beside(against, candidate, report, request)
        report = found.report
        if request.slow:
            report = replace(report, evaluations=cost.curve(candidate, against, request.seed, request.longest, request.say))
        if request.cas:
            report = replace(report, cas=cas.score(candidate, request))
        return EvaluationResult(report, [*found.findings, *known])


def open_target(path: Path, request: Request) -> GeneratorTarget:
    """What is at ``path``, before anything is drawn.

    Raises:
        UserError: where there is nothing to judge, and for too few images for the feature space.
    """
    candidate = open_candidate(path, request)
    if request.cas:
        cas.require(candidate)
    try:
        if candidate.train is not None:
            spaces_for(candidate.train, candidate.holdout, candidate.count, request.features, candidate.through)
    except TooFewReals as error:
        if candidate.generator is None:
            raise
        return GeneratorTarget(candidate, str(error))
    return GeneratorTarget(candidate)


def _judged(candidate: Candidate) -> Judged | None:
    """What remedies for a generator depend on."""
    generator = candidate.generator
    config = None if generator is None else getattr(generator.model, "config", None)
    if generator is None or config is None:
        return None
    return Judged(model_settings(config), candidate.recipe or "", candidate.taken, bool(generator.spec.classes), small_gray(generator.spec))


def _of_training(candidate: Candidate) -> Findings:
    """What the log and the checkpoints tell; a folder of images has neither."""
    if candidate.generator is None:
        return unanswered(History, "NOT APPLICABLE", "A folder of images tells nothing of a training.")
    space = pick(None, candidate.generator.spec, through=candidate.through)[0]
    found = [space.of(pixels) for _, pixels in candidate.grids]
    drawn = [e.features if e.probabilities is None else e.probabilities for e in found]
    return answers(History(candidate.records, drawn, [step for step, _ in candidate.grids]))


def _alone(report: result.Report, lacking: str, known: Findings) -> EvaluationResult:
    """The report where images cannot be compared with real ones."""
    none = "There are no training images to compare with: name them with `data`."
    why = "There are too few real images to compare with." if lacking else none
    note = lacking or "without training images there are no scores of images"
    return EvaluationResult(replace(report, notes=(*report.notes, note)), [*unanswered(Generated, "CANNOT TELL", why), *known])


def _beside(against: ReferenceSet, candidate: Candidate, report: result.Report, request: Request) -> EvaluationResult:
    """The report with everything that real images tell, and what is found in the images."""
    pixels, seed, say = candidate.images, request.seed, request.say
    drawn, confirm = drawn_in(against, pixels, progress(say, "features of the images"))
    compared = progress(say, "comparing") or (lambda done, total: None)
    made, real = _pairs(against, drawn, len(pixels))
    scores = _scores(against, drawn, pixels, made, real)
    compared(2, 4)
    near, near_real = ([pair.once(manifold_scores) for pair in pairs] for pairs in (made, real))
    made_of = Generated(pixels, drawn, confirm, against, seed, near, near_real, candidate.generator is None)
    findings = answers(made_of)
    shares = made_of.once(estimated_shares)
    compared(3, 4)
    train, held = against.whole.images, against.holdout.images
    report = replace(
        report,
        scores=(*scores, *report.scores),
        data=result.ReferenceData(train.name, len(train), len(held), train.fingerprint, held.fingerprint if len(held) else ""),
        protocol=_protocol(against),
        notes=(*report.notes, *_flattered(against, pixels, candidate.through), *_notes(against, len(pixels))),
        pictures=evidence.pictures(pixels, drawn, confirm, against, made_of.once(search).nearby),
        classes=evidence.classes(against, drawn, confirm, shares if shares is not None and shares.possible else None),
        spectrum=evidence.spectrum(pixels, against.baseline.images.pixels),
    )
    compared(4, 4)
    if request.short:
        return EvaluationResult(report, findings)
    ladder = evidence.ladder(against, seed, progress(say, "planting failures for scale"))
    return EvaluationResult(
        replace(report, ladder=ladder, extrapolation=evidence.extrapolation([pair.once(line) for pair in made])), findings
    )


def _pairs(against: ReferenceSet, drawn: Sequence[Extracted], n: int) -> tuple[list[InSpace], list[InSpace]]:
    """As many generated images as the baseline has, and the baseline, beside the reference in each space."""
    even, reference, baseline = against.even(n), against.reference, against.baseline
    made, real = (
        [InSpace(x, y, (x[rows], y[reference.once])) for x, y in zip(z, reference.features, strict=True)]
        for z, rows in (([x[even] for x in drawn], slice(None)), (baseline.features, baseline.once))
    )
    return made, real


def _scores(
    against: ReferenceSet, drawn: Sequence[Extracted], pixels: Pixels, made: Sequence[InSpace], real: Sequence[InSpace]
) -> list[Score]:
    """All scores that real images give, in the order of the table."""
    even, space, train, holdout = against.even(len(pixels)), against.spaces[0], against.train.features[0], against.holdout.features[0]
    n, m = len(even), len(against.reference)
    found = scored(made, real, _label(against), n, m)
    found += scored([Drawn(pixels[even])], [Drawn(against.baseline.images.pixels)], "pixels", n, m)
    found += scored([Published(space, drawn[0], train)], [], space.label, len(drawn[0]), len(train))
    found += scored([Divided(made[0].drawn, train, holdout)], [], space.label, n, len(holdout))
    return in_table_order(found)


def _label(against: ReferenceSet) -> str:
    labels = [space.label for space in against.spaces]
    return labels[0] if len(labels) == 1 else f"mean of {', '.join(labels)}"


def _notes(against: ReferenceSet, n: int) -> list[str]:
    space = against.spaces[0]
    baseline = len(against.baseline)
    notes = [
        _repeats(against.whole),
        against.caution,
        _looked(against),
        check_count(min(baseline, len(against.reference)), space.dimension),
    ]
    if baseline < n:
        notes.append(
            f"scores use {baseline:,} of the {n:,} images, because only {baseline:,} real images are left for the real-vs-real baseline: "
            "give more with `holdout`"
        )
    if space.accuracy is not None:
        notes.append(f"{space_in_words(space.label)}, which judges, is right for {100 * space.accuracy:.1f}% of images that it never saw")
    return [note for note in notes if note]


def _flattered(against: ReferenceSet, pixels: Pixels, through: Sequence[str]) -> list[str]:
    """Where a model was trained through features related to those that judge it: what others say, which learned from no photographs."""
    if not (through and against.spaces[0].network):
        return []
    space, even = random(against.train.images.spec)[0], against.even(len(pixels))
    made, reference, real = (space.of(x).features for x in (pixels[even], against.reference.images.pixels, against.baseline.images.pixels))
    found, baseline = frechet_estimate(made, reference), frechet_estimate(real, reference).value
    low, high = found.interval or (found.value, found.value)
    judge = against.spaces[0].network
    return [
        f"the model was trained through {', '.join(through)}, which learned from the same photographs as {judge}, which judges: scores "
        f"flatter it. In random features, which know none, its Frechet distance is {found.value:.3g} [{low:.3g}, {high:.3g}], "
        f"that of real images {baseline:.3g}"
    ]


def _repeats(train: RealImages) -> str | None:
    again, different = len(train) - len(train.once), len(train.once)
    if 2 * different <= len(train):
        return f"the {len(train):,} training images are {some(different, 'image')}, repeated: nothing here says much of such a training"
    said = f"{again:,} of the {len(train):,} training images repeat others pixel by pixel"
    return f"{said}: each different image counts once for precision, recall, density and coverage" if again >= WORTH * len(train) else None


def _looked(against: ReferenceSet) -> str | None:
    if against.all_train is None:
        return None
    whole, some = len(against.whole), len(against.train)
    space = space_in_words(against.spaces[0].label)
    part = f"of the {whole:,} training images {some:,} are compared with, and the nearest ones shown are of these"
    return f"{space}: {part}; copies are looked for among all"


def _protocol(against: ReferenceSet) -> dict[str, str]:
    return {
        "features": ", ".join(space.label for space in against.spaces),
        "reference": f"{len(against.reference):,} training images",
        "real-vs-real baseline": f"{len(against.baseline):,} other real images",
        "reals": against.train.images.fingerprint[:16],
    }
