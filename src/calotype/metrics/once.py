"""Inputs that several computations share, each of which is done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

S = TypeVar("S", bound="Once")
T = TypeVar("T")


class Once:
    """Remembers what was computed of it, so that scores and findings may share a step without knowing of each other."""

    def once(self: S, compute: Callable[[S], T]) -> T:
        """``compute`` of this, which is computed at the first call."""
        known: dict[Callable[..., Any], Any] = self.__dict__.setdefault("_once", {})
        if compute not in known:
            known[compute] = compute(self)
        return known[compute]  # type: ignore[no-any-return]
