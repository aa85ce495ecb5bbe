"""Degradations: how images get degraded, as operators that restoration is trained on, tested with and conditioned on."""

from calotype.degrade.base import Degradation, Degraded, Operator
from calotype.degrade.parse import kinds, makes_other, parse
from calotype.degrade.svd import SVD

__all__ = ["SVD", "Degradation", "Degraded", "Operator", "kinds", "makes_other", "parse"]
