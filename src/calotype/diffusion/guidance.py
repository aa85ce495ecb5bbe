"""Steering a sampler towards a condition."""

from __future__ import annotations

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): away from the unconditional prediction, through the conditional one.

    ``scale`` 0 is unconditional, 1 conditional, above 1 sharper and less varied. Any shape; both predictions of one kind, linear
    in the score (velocity, noise or image).
    """
    return unconditional + scale * (conditional - unconditional)


def scale_at(share: float, scale: float, interval: tuple[float, float]) -> float:
    """The scale at a share of the image: 1 outside of ``interval``, which keeps variety where guidance harms (Kynkäänniemi et al. 2024).

    >>> scale_at(0.5, 2.0, (0.2, 0.8)), scale_at(0.1, 2.0, (0.2, 0.8))
    (2.0, 1.0)
    """
    return scale if interval[0] <= share <= interval[1] else 1.0
