"""Solvers of the ordinary differential equation dx/dt = velocity(x, t) that carries noise to images.

Each is a pure function of a velocity field, the state at the first time and the times to step through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""The direction in which a state (N, C, H, W) moves at a time."""

SolverName = Literal["euler", "heun"]


def euler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """The explicit Euler method: order 1, one evaluation a step."""
    for now, then in pairwise(times):
        x = x + (then - now) * velocity(x, now)
    return x


def heun(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Heun's method, the explicit trapezoidal rule: order 2, two evaluations a step but one in the last.

    The last step is Euler's, which keeps the order and never asks for the velocity at the last time, where it may not exist
    (Karras et al. 2022, algorithm 1).
    """
    for now, then in pairwise(times[:-1]):
        slope = velocity(x, now)
        x = x + (then - now) / 2 * (slope + velocity(x + (then - now) * slope, then))
    return euler(velocity, x, times[-2:])


SOLVERS: dict[SolverName, Callable[[Velocity, Tensor, Sequence[float]], Tensor]] = {"euler": euler, "heun": heun}
