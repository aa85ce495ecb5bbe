"""What the verdicts see and miss: every failure planted into real images, many times, and every alarm counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calotype.data import Images, load
from calotype.data.images import some
from calotype.diagnose import planted
from calotype.diagnose.checks import answers, asked_of
from calotype.diagnose.generated import Generated
from calotype.diagnose.modes import CLUSTERS
from calotype.diagnose.verdict import conclude
from calotype.engine.display import Say, progress
from calotype.errors import UserError
from calotype.evaluation.beside import reading
from calotype.evaluation.generator import Pixels
from calotype.evaluation.reference_set import TooFewReals, drawn_in, known, laid, spaces_for
from calotype.metrics.features import Extracted, FeatureSpace, second
from calotype.metrics.inputs import InSpace
from calotype.metrics.manifold import manifold_scores
from calotype.metrics.real_images import RealImages, ReferenceSet
from calotype.selftest.training import COURSES, OF_TRAINING, of_course

FEWEST = 1_500  # images of the source
GENERATED = 1_000  # of them that play generated ones, where there are so many
Plant = Callable[[Pixels, NDArray[np.int64], Pixels, np.random.Generator], Pixels]


def plants(kinds: int, what: str = "classes") -> dict[str, Plant]:
    """Every planted failure by name, for images of so many ``kinds``, which are ``what``: a tenth and three tenths of them go missing."""
    found: dict[str, Plant] = {"nothing (other real images)": lambda x, labels, train, rng: x}
    for gone in dict.fromkeys(max(1, round(share * kinds)) for share in (0.1, 0.3)):
        if gone < kinds:
            found[f"{gone} of {kinds} {what} missing"] = partial(_collapse, gone)
    return found | {
        "a tenth of the variety": lambda x, labels, train, rng: planted.shrink(x, 0.1, rng),
        "2% copies": lambda x, labels, train, rng: planted.copies(x, train, 0.02, rng),
        "5% copies": lambda x, labels, train, rng: planted.copies(x, train, 0.05, rng),
        "5% copies with less contrast": lambda x, labels, train, rng: planted.copies(x, train, 0.05, rng, 0.9),
        "10% of one image again": lambda x, labels, train, rng: planted.repeats(x, 0.1, rng),
        "blur of half a pixel": lambda x, labels, train, rng: planted.blur(x, 0.5),
        "blur of 1 pixel": lambda x, labels, train, rng: planted.blur(x, 1.0),
        "noise of 3 levels": lambda x, labels, train, rng: planted.noise(x, 3, rng),
        "noise of 10 levels": lambda x, labels, train, rng: planted.noise(x, 10, rng),
        "halves exchanged": lambda x, labels, train, rng: planted.swap(x, rng),
    }


def _collapse(gone: int, x: Pixels, labels: NDArray[np.int64], train: Pixels, rng: np.random.Generator) -> Pixels:
    gone = min(gone, len(np.unique(labels)) - 1)  # a rare class may not be there at all
    return planted.collapse(x, labels, gone, rng) if gone else x


@dataclass(frozen=True)
class AlarmRates:
    """One planted failure, and the share of trials in which each verdict raised its alarm (WARN or FAIL)."""

    planted: str
    alarms: Mapping[str, float]
    trials: int
    fails: Mapping[str, float] = field(default_factory=dict)  # the share of trials in which it was a FAIL


def selftest(
    data: str = "mnist5k",
    *,
    count: int | None = None,
    trials: int = 20,
    size: int | None = None,
    channels: int | None = None,
    features: str | None = None,
    labels: bool = True,
    images: int | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    say: Say | None = None,
) -> list[AlarmRates]:
    """Plant each failure into real images of ``data`` in ``trials`` random divisions and count the alarms.

    In every trial ``count`` images play what was generated (1,000 where none is given, or a third), a tenth the holdout, and the rest
    what was trained on: the verdicts do not know which is which. Without ``labels`` they do not know the classes either, by which
    images go missing all the same. Of large sets ``images`` are used, and of all failures those alone whose names hold one of the words
    in ``only``, where they are given. Rows on trainings follow, with logs, checkpoints, latents and likelihoods that are made up
    (`calotype.selftest.training`).

    Raises:
        UserError: for too few images, and for words that are in no name.
    """
    split = load(data, size=size, channels=channels, progress=progress(say, reading(data)))
    parts = _few([part for part in (split.train, split.holdout) if len(part)], images, seed)
    total = sum(map(len, parts))
    count, held = _count(data, total, count), _held(total)
    try:
        spaces, _ = spaces_for(split.train.take(slice(0, total - count - held)), split.train.take(slice(0, held)), count, features)
    except TooFewReals:
        raise UserError(f"{total:,} images are too few for the features: give more of them, or choose other `features`") from None
    confirm = second(spaces[0], split.train.spec)
    of_parts = [known(part, spaces, confirm, progress(say, "features of real images")) for part in parts]
    real = of_parts[0] if len(of_parts) == 1 else of_parts[0] + of_parts[1]
    classes = real.images.labels
    if not labels:
        real = replace(real, images=replace(real.images, labels=None, classes=()))
    damages = _asked(plants(CLUSTERS, "clusters") if classes is None else plants(len(np.unique(classes))), only)
    alarms, fails = ({plant: dict.fromkeys(asked_of(Generated), 0) for plant in damages} for _ in range(2))
    said = progress(say, "planting failures")
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        against, made, rows = _divided(real, spaces, confirm, count, rng, trial)
        kinds = _clusters(made) if classes is None else classes[rows]
        reference, once = [y[against.reference.once] for y in against.reference.features], against.baseline.once
        of_baseline = [manifold_scores(InSpace(x[once], y)) for x, y in zip(against.baseline.features, reference, strict=True)]
        for number, (plant, damage) in enumerate(damages.items()):
            pixels = damage(made.images.pixels, kinds, against.train.images.pixels, rng)
            drawn, again = _drawn(against, made, pixels)
            even = against.even(len(pixels))
            scores = [manifold_scores(InSpace(x[even], y)) for x, y in zip(drawn, reference, strict=True)]
            for verdict in conclude(answers(Generated(pixels, drawn, again, against, trial, scores, of_baseline))):
                alarms[plant][verdict.name] += verdict.status in ("WARN", "FAIL")
                fails[plant][verdict.name] += verdict.status == "FAIL"
            if said is not None:
                said(trial * len(damages) + number + 1, trials * len(damages))
    return [*_rows(alarms, fails, trials), *of_trainings(trials, seed, say)]


def _few(parts: Sequence[Images], most: int | None, seed: int) -> list[Images]:
    """At most so many of the images, drawn at random from each part by its share."""
    total, rng = sum(map(len, parts)), np.random.default_rng([seed, 17])
    if most is None or most >= total:
        return list(parts)
    return [part.take(np.sort(rng.permutation(len(part))[: round(most * len(part) / total)])) for part in parts]


def _asked(damages: dict[str, Plant], only: Sequence[str]) -> dict[str, Plant]:
    """Those whose names hold one of some words; all without words."""
    lost = next((word for word in only if not any(word in name for name in damages)), None)
    if lost is not None:
        raise UserError(f"no planted failure is called {lost!r}: they are {', '.join(damages)}")
    return {name: damage for name, damage in damages.items() if not only or any(word in name for word in only)}


def _count(data: str, there: int, asked: int | None) -> int:
    """How many images play the generated ones. Raises `UserError` where too few would be left, and where there are too few at all."""
    if there < FEWEST:
        raise UserError(
            f"{data} has {some(there, 'image')}; a selftest needs {FEWEST:,}, to divide them into generated, trained on and held out"
        )
    if asked is not None and asked > there // 3:
        raise UserError(f"{asked:,} are more than a third of the {there:,} images of {data}: give a `count` of {there // 3:,} or less")
    return min(GENERATED, there // 3) if asked is None else asked


def of_trainings(trials: int, seed: int = 0, say: Say | None = None) -> list[AlarmRates]:
    """The alarms of the verdicts on trainings, over made-up ones."""
    alarms, fails = ({name: dict.fromkeys(OF_TRAINING, 0) for name in COURSES} for _ in range(2))
    for place, (name, course) in enumerate(COURSES.items()):
        for trial in range(trials):
            for verdict in of_course(course, np.random.default_rng([seed, trial, 1])):
                alarms[name][verdict.name] += verdict.status in ("WARN", "FAIL")
                fails[name][verdict.name] += verdict.status == "FAIL"
            if say:
                say("making up trainings", place * trials + trial + 1, len(COURSES) * trials)
    return _rows(alarms, fails, trials)


def _rows(alarms: Mapping[str, Mapping[str, int]], fails: Mapping[str, Mapping[str, int]], trials: int) -> list[AlarmRates]:
    shares = {plant: [{name: n / trials for name, n in counted[plant].items()} for counted in (alarms, fails)] for plant in alarms}
    return [AlarmRates(plant, alarmed, trials, failed) for plant, (alarmed, failed) in shares.items()]


def _divided(
    real: RealImages, spaces: Sequence[FeatureSpace], confirm: FeatureSpace, count: int, rng: np.random.Generator, seed: int
) -> tuple[ReferenceSet, RealImages, NDArray[np.int64]]:
    """What plays the real images, what plays the generated ones, and which of all those are."""
    order = rng.permutation(len(real))
    held = _held(len(real))
    made, holdout, train = real[order[:count]], real[order[count : count + held]], real[order[count + held :]]
    return laid(spaces, confirm, train, holdout, count, seed), made, order[:count]


def _drawn(against: ReferenceSet, made: RealImages, pixels: Pixels) -> tuple[list[Extracted], Extracted]:
    """Features of ``pixels``, of which many may be those of ``made`` still."""
    other = np.flatnonzero((pixels != made.images.pixels).any((1, 2, 3)))
    if len(other) > len(pixels) // 2:
        return drawn_in(against, pixels)
    found, again = drawn_in(against, pixels[other])
    return [old.updated(other, new) for old, new in zip(made.features, found, strict=True)], made.confirm.updated(other, again)


def _held(there: int) -> int:
    """How many images of so many are held out."""
    return max(there // 10, 1)


def _clusters(real: RealImages) -> NDArray[np.int64]:
    """What stands in for labels where there are none."""
    from calotype.metrics.diversity import kmeans
    from calotype.metrics.manifold import nearest

    points = real.features[0].features
    return nearest(points, kmeans(points, CLUSTERS, np.random.default_rng(0)))[0]


def table(rows: list[AlarmRates]) -> str:
    """The rows as Markdown tables, one for each set of verdicts: alarms in percent of the trials."""
    sets: dict[tuple[str, ...], list[AlarmRates]] = {}
    for row in rows:
        sets.setdefault(tuple(row.alarms), []).append(row)
    return "\n\n".join(_table(names, members) for names, members in sets.items())


def _table(names: Sequence[str], rows: list[AlarmRates]) -> str:
    head = "| planted | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names) + "\n"
    return head + "\n".join(f"| {row.planted} | " + " | ".join(f"{100 * row.alarms[name]:.0f}%" for name in names) + " |" for row in rows)
