"""What the verdicts see and miss: every failure planted into real images, many times, and every alarm counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calotype.data import load
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
from calotype.evaluation.reference_set import TooFewReals, drawn_in, enough, known, laid
from calotype.metrics.features import FeatureSpace, pick, second
from calotype.metrics.inputs import InSpace
from calotype.metrics.manifold import neighbors
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
class Row:
    """One planted failure, and the share of trials in which each verdict raised its alarm (WARN or FAIL)."""

    planted: str
    alarms: Mapping[str, float]
    trials: int


def selftest(
    data: str = "mnist5k",
    *,
    count: int | None = None,
    trials: int = 20,
    size: int | None = None,
    channels: int | None = None,
    features: str | None = None,
    seed: int = 0,
    say: Say | None = None,
) -> list[Row]:
    """Plant each failure into real images of ``data`` in ``trials`` random divisions and count the alarms.

    In every trial ``count`` images play what was generated (1,000 where none is given, or a third), a tenth the holdout, and the rest
    what was trained on: the verdicts do not know which is which. Rows on trainings follow, with logs, checkpoints, latents and
    likelihoods that are made up (`calotype.selftest.training`).

    Raises:
        UserError: for too few images.
    """
    split = load(data, size=size, channels=channels, progress=progress(say, reading(data)))
    parts = [images for images in (split.train, split.holdout) if len(images)]
    total = sum(map(len, parts))
    count, held, spaces = _count(data, total, count), _held(total), pick(features, split.train.spec)
    try:
        enough(split.train.take(slice(0, total - count - held)), split.train.take(slice(0, held)), count, features)
    except TooFewReals:
        raise UserError(f"{total:,} images are too few for {spaces[0].dimension:,} features of each: choose other `features`") from None
    confirm = second(spaces[0], split.train.spec)
    of_parts = [known(images, spaces, confirm, progress(say, "features of real images")) for images in parts]
    real = of_parts[0] if len(of_parts) == 1 else of_parts[0] + of_parts[1]
    classes = real.images.labels
    damages = plants(CLUSTERS, "clusters") if classes is None else plants(len(np.unique(classes)))
    alarms = {plant: dict.fromkeys(asked_of(Generated), 0) for plant in damages}
    said = progress(say, "planting failures")
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        against, made = _divided(real, spaces, confirm, count, rng, trial)
        labels = _labels(made)
        reference, once = [y[against.reference.once] for y in against.reference.features], against.baseline.once
        of_baseline = [neighbors(InSpace(x[once], y)) for x, y in zip(against.baseline.features, reference, strict=True)]
        for number, (plant, damage) in enumerate(damages.items()):
            pixels = damage(made.images.pixels, labels, against.train.images.pixels, rng)
            drawn, again = drawn_in(against, pixels)
            even = against.even(len(pixels))
            scores = [neighbors(InSpace(x[even], y)) for x, y in zip(drawn, reference, strict=True)]
            for verdict in conclude(answers(Generated(pixels, drawn, again, against, trial, scores, of_baseline))):
                alarms[plant][verdict.name] += verdict.status in ("WARN", "FAIL")
            if said is not None:
                said(trial * len(damages) + number + 1, trials * len(damages))
    return [*_rows(alarms, trials), *of_trainings(trials, seed, say)]


def _count(data: str, there: int, asked: int | None) -> int:
    """How many images play the generated ones. Raises `UserError` where too few would be left, and where there are too few at all."""
    if there < FEWEST:
        raise UserError(
            f"{data} has {some(there, 'image')}; a selftest needs {FEWEST:,}, to divide them into generated, trained on and held out"
        )
    if asked is not None and asked > there // 3:
        raise UserError(f"{asked:,} are more than a third of the {there:,} images of {data}: give a `count` of {there // 3:,} or less")
    return min(GENERATED, there // 3) if asked is None else asked


def of_trainings(trials: int, seed: int = 0, say: Say | None = None) -> list[Row]:
    """The alarms of the verdicts on trainings, over made-up ones."""
    alarms = {name: dict.fromkeys(OF_TRAINING, 0) for name in COURSES}
    for place, (name, course) in enumerate(COURSES.items()):
        for trial in range(trials):
            for verdict in of_course(course, np.random.default_rng([seed, trial, 1])):
                alarms[name][verdict.name] += verdict.status in ("WARN", "FAIL")
            if say:
                say("making up trainings", place * trials + trial + 1, len(COURSES) * trials)
    return _rows(alarms, trials)


def _rows(alarms: Mapping[str, Mapping[str, int]], trials: int) -> list[Row]:
    return [Row(plant, {name: n / trials for name, n in counted.items()}, trials) for plant, counted in alarms.items()]


def _divided(
    real: RealImages, spaces: Sequence[FeatureSpace], confirm: FeatureSpace, count: int, rng: np.random.Generator, seed: int
) -> tuple[ReferenceSet, RealImages]:
    order = rng.permutation(len(real))
    held = _held(len(real))
    made, holdout, train = real[order[:count]], real[order[count : count + held]], real[order[count + held :]]
    return laid(spaces, confirm, train, holdout, count, seed), made


def _held(there: int) -> int:
    """How many images of so many are held out."""
    return max(there // 10, 1)


def _labels(real: RealImages) -> NDArray[np.int64]:
    """Labels, or clusters in their place."""
    if real.images.labels is not None:
        return real.images.labels
    from calotype.metrics.diversity import kmeans
    from calotype.metrics.manifold import nearest

    points = real.features[0].features
    return nearest(points, kmeans(points, CLUSTERS, np.random.default_rng(0)))[0]


def table(rows: list[Row]) -> str:
    """The rows as Markdown tables, one for each set of verdicts: alarms in percent of the trials."""
    sets: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        sets.setdefault(tuple(row.alarms), []).append(row)
    return "\n\n".join(_table(names, members) for names, members in sets.items())


def _table(names: Sequence[str], rows: list[Row]) -> str:
    head = "| planted | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names) + "\n"
    return head + "\n".join(f"| {row.planted} | " + " | ".join(f"{100 * row.alarms[name]:.0f}%" for name in names) + " |" for row in rows)
