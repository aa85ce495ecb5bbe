"""Which scores may be compared, which differ, and how much of a difference is the luck of a training seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from calotype.evaluation.result import Report
from calotype.evaluation.scores import LIKELIHOOD
from calotype.metrics.score import Interval, Score
from calotype.metrics.table import clamped


def comparable(a: Score, b: Score) -> bool:
    """Whether two scores were measured alike: name, feature space, counts and direction are the same."""
    return (a.name, a.features, a.n, a.m, a.kind) == (b.name, b.features, b.n, b.m, b.kind)


def separated(a: Score, b: Score) -> bool:
    """Whether two scores differ beyond doubt: both have 95% intervals that do not touch, under one protocol.

    For two independent estimates of equal error this asks for p < .006: stricter than a test of the difference, so that several
    models can be compared at once, and it is what a reader sees in the plot.
    """
    if a.interval is None or b.interval is None or not comparable(a, b):
        return False
    return bool(a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0])


def better(a: Score, b: Score) -> bool:
    """Whether ``a`` is better than ``b`` beyond doubt: of scores to be matched, whether it is closer to its baseline whatever the truth."""
    return separated(a, b) and _worst(a) < _best(b)


def _worst(score: Score) -> float:
    return max((_badness(replace(score, value=end)) for end in score.interval or ()), default=math.nan)


def _best(score: Score) -> float:
    low, high = score.interval or (math.nan, math.nan)
    if score.kind == "match" and score.baseline is not None and low <= score.baseline <= high:
        return 0.0
    return min(_badness(replace(score, value=end)) for end in (low, high))


def _badness(score: Score) -> float:
    if score.kind == "match":
        return abs(score.value - score.baseline) if score.baseline is not None else math.nan
    return score.value if score.kind == "lower" else -score.value


def ranks(scores: Sequence[Score]) -> list[tuple[int, int]]:
    """The best and the worst rank that each score may have, 1 being the best: equal where nothing is in doubt.

    >>> def fd(value, half): return Score("FD", value, (value - half, value + half), None, 100, 100, "pixels", "lower")
    >>> ranks([fd(1, 0.5), fd(2, 0.8), fd(9, 1)])
    [(1, 2), (1, 2), (3, 3)]
    """
    return [(1 + sum(better(other, s) for other in scores), len(scores) - sum(better(s, other) for other in scores)) for s in scores]


def in_order(scores: Sequence[Score]) -> list[int]:
    """Positions of the scores, best first; those without a value last."""
    return sorted(range(len(scores)), key=lambda i: (math.isnan(_badness(scores[i])), _badness(scores[i])))


def ties(named: Sequence[tuple[str, Score]]) -> list[str]:
    """One sentence for each largest set of models of which the intervals separate no two, and for those without an interval.

    >>> one = Score("FD", 1.0, (0.5, 1.5), None, 500, 500, "pixels", "lower")
    >>> ties([("A", one), ("B", replace(one, value=1.2, interval=(0.9, 1.6))), ("C", replace(one, value=9.0, interval=(8.0, 10.0)))])
    ['A and B cannot be told apart at N = 500.']
    """
    spans = {who: s.interval for who, s in named if s.interval is not None}
    # intervals of which every two meet have a point in common, and the lowest such point is where one of them begins
    sets = [frozenset(who for who, (low, high) in spans.items() if low <= point <= high) for point, _ in spans.values()]
    largest = {group for group in sets if len(group) > 1 and not any(group < other for other in sets)}
    told = sorted(
        [[who for who, _ in named if who in group] for group in largest], key=lambda group: [who for who, _ in named].index(group[0])
    )
    said = [f"{listed(group)} cannot be told apart at N = {named[0][1].n:,}." for group in told]
    return said + [f"{who} cannot be ranked: no interval is known." for who, s in named if s.interval is None]


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    >>> listed(["A", "B", "C"])
    'A, B and C'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def obstacles(reports: Sequence[Report]) -> list[str]:
    """Why these reports must not be ranked against each other: every way in which their protocols differ."""
    found = []
    if len({None if r.data is None else r.data.fingerprint for r in reports}) > 1 or any(r.data is None for r in reports):
        found.append("Different real images: " + "; ".join(f"{r.subject}: {_data(r)}" for r in reports) + ".")
    elif len({r.data.holdout_fingerprint for r in reports if r.data is not None}) > 1:
        found.append("Different held-out images, which give the real-vs-real baseline.")
    for key in sorted({key for r in reports for key in r.protocol}):
        if len({r.protocol.get(key) for r in reports}) > 1:
            found.append(f"Different {key}: " + "; ".join(f"{r.subject}: {r.protocol.get(key, 'not said')}" for r in reports) + ".")
    unlike: dict[str, list[str]] = {}
    for name in shared(reports):
        if name == LIKELIHOOD:  # each kind is ranked by itself, and stands in the way of nothing else
            continue
        ways = {r.subject: _way(s) for r in reports if (s := r.score(name)) is not None}
        if len(set(ways.values())) > 1:
            unlike.setdefault("; ".join(f"{who}: {way}" for who, way in ways.items()), []).append(name)
    return found + [f"Measured differently ({', '.join(names)}): {ways}." for ways, names in unlike.items()]


def _way(score: Score) -> str:
    return f"{score.features}, {score.n:,} generated against {score.m:,} real"


def _data(report: Report) -> str:
    return "not known" if report.data is None else f"{report.data.name} ({report.data.fingerprint[:8]})"


def shared(reports: Sequence[Report]) -> list[str]:
    """Names of the scores that every report has, in the order of the first."""
    first = reports[0].scores if reports else ()
    return list(dict.fromkeys(s.name for s in first if all(r.score(s.name) for r in reports)))


@dataclass(frozen=True)
class SeedSpread:
    """What several trainings that differ in their seed alone say of a recipe."""

    runs: int
    mean: float
    interval: Interval  # 95%, of the mean over all seeds: Student's t on the runs
    sampling: float  # standard deviation that comes from judging a run by few images
    seeds: float  # standard deviation between trained models that no number of images removes; 0 where sampling explains all


def seed_spread(scores: Sequence[Score]) -> SeedSpread:
    """Separate sampling error from seed spread: the variance between runs is the sum of both (one-way random effects).

    The sampling error of each run is its 95% interval over 2 * 1.96. Where the runs share their real images, the interval holds an
    error that they share too; then ``seeds`` is a little too small and never too large. ``ValueError`` for fewer than two runs or
    a run without an interval.
    """
    from scipy.stats import t

    if len(scores) < 2:
        raise ValueError("seed spread needs two runs or more")
    spans = [s.interval for s in scores if s.interval is not None]
    if len(spans) < len(scores):
        raise ValueError("seed spread needs an interval of each run")
    count = len(scores)
    mean = math.fsum(s.value for s in scores) / count
    between = math.fsum((s.value - mean) ** 2 for s in scores) / (count - 1)
    sampling = math.fsum(((high - low) / 2 / 1.959964) ** 2 for low, high in spans) / count
    half = float(t.ppf(0.975, count - 1)) * math.sqrt(max(between, sampling) / count)  # runs alike by luck know no more than their samples
    span = clamped(scores[0].name, (mean - half, mean + half)) or (mean, mean)
    return SeedSpread(count, mean, span, math.sqrt(sampling), math.sqrt(max(0.0, between - sampling)))


def recipe_score(scores: Sequence[Score]) -> Score:
    """The score of a recipe: the mean over its runs, with the interval of `seed_spread`."""
    spread = seed_spread(scores)
    return replace(scores[0], value=spread.mean, interval=spread.interval)
