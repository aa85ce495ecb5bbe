"""Scores as reports hold them: what the metrics compute of images, beside the same of real ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calotype.metrics.likelihood import BITS
from calotype.metrics.score import Estimate, Score
from calotype.metrics.table import METRICS, by_name, clamped, computed

LIKELIHOOD = BITS.name
"""The name of the score that a model gives of itself; its ``features`` are the kind of likelihood."""


def scored(made: Sequence[object], real: Sequence[object], label: str, n: int, m: int) -> list[Score]:
    """All scores of what was made, averaged over several inputs of one kind, with that of the baseline beside each.

    Args:
        made: What is to be scored, in each feature space.
        real: The baseline in its place; empty where there is none, or where metrics know what it scores.
        label: Where they were computed.
        n: Images behind them.
        m: Real images behind them.
    """
    values, metrics = mean_over([computed(inputs) for inputs in made]), by_name()
    baselines = {name: estimate.value for name, estimate in mean_over([computed(inputs) for inputs in real]).items()} if real else {}
    baselines |= {name: real_of(made[0]) for name in values if (real_of := metrics[name].real) is not None}
    return [
        Score(name, e.value, clamped(name, e.interval), baselines.get(name), n, m, label, metrics[name].kind) for name, e in values.items()
    ]


def in_table_order(scores: Sequence[Score]) -> list[Score]:
    """Scores in the order of the table."""
    places = {metric.name: place for place, metric in enumerate(METRICS)}
    return sorted(scores, key=lambda score: places[score.name])


def mean_of(name: str, values: NDArray[np.float64]) -> Estimate:
    """The mean of a score over images, with an interval that stays where the score can be."""
    found = Estimate.mean(values)
    return Estimate(found.value, clamped(name, found.interval))


def mean_over(parts: Sequence[dict[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of each score over several spaces; its interval holds the error of each and the spread among them (Student's t)."""
    from scipy.stats import t

    if len(parts) == 1:
        return parts[0]
    wide = float(t.ppf(0.975, len(parts) - 1))
    found = {}
    for name in parts[0]:
        several = [part[name] for part in parts]
        value = float(np.mean([e.value for e in several]))
        halves = [(e.interval[1] - e.interval[0]) / 2 for e in several if e.interval is not None]
        if len(halves) < len(several):
            found[name] = Estimate(value)
            continue
        spread = wide * float(np.std([e.value for e in several], ddof=1)) / np.sqrt(len(several))
        half = float(np.hypot(np.mean(halves), spread))
        found[name] = Estimate(value, clamped(name, (value - half, value + half)))
    return found
