"""Numbers that follow the progress of a run: a pure function of the share of the budget that is spent, so that resuming repeats them."""

from __future__ import annotations

import math


def cosine(start: float, end: float | None, progress: float) -> float:
    """From ``start`` to ``end`` along half a wave of a cosine over ``progress`` in [0, 1]; ``start`` throughout where there is no end.

    Huang et al. 2024 have this one schedule for the learning rate, Adam's second beta, the half-life of the averaged weights, the weight
    of the penalties and the share of augmented images.

    >>> [cosine(0.0, 0.55, p) for p in (0.0, 0.5, 1.0)], cosine(0.9, None, 0.5)
    ([0.0, 0.275, 0.55], 0.9)
    """
    if end is None:
        return start
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
