"""How many batches the steps of a training draw: players take steps in them, and each has its own number of those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from calotype.types import Player


def batches_at(players: Sequence[Player], step: int) -> int:
    """The batches that one step draws: as many as steps of the busiest player that plays in it; none where nobody plays."""
    return max((p.repeats for p in players if step % p.every == 0), default=0)


def batches_before(players: Sequence[Player], step: int) -> int:
    """The batches that all steps before ``step`` draw together."""
    period = _period(players)
    rounds, rest = divmod(step, len(period))
    return rounds * sum(period) + sum(period[:rest])


def steps_until(players: Sequence[Player], batches: int) -> int:
    """The fewest steps that draw so many batches together.

    >>> players = [Player("lazy critic", None, None, every=2, repeats=5), Player("generator", None, None)]
    >>> [batches_before(players, step) for step in range(5)], [steps_until(players, n) for n in (0, 1, 5, 6, 7, 12)]
    ([0, 5, 6, 11, 12], [0, 1, 1, 2, 3, 4])
    """
    if batches < 1:
        return 0
    period = _period(players)
    rounds, rest = divmod(batches - 1, sum(period))
    return rounds * len(period) + next(i for i, drawn in enumerate(accumulate(period), 1) if drawn > rest)


def _period(players: Sequence[Player]) -> list[int]:
    """The batches of each step until the pattern repeats; in the first step everybody plays."""
    return [batches_at(players, step) for step in range(math.lcm(*(p.every for p in players)))]
