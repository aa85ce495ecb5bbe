"""Files that earlier versions wrote: what they call otherwise, brought to the names of today before it is checked.

Nothing here judges: what is not as expected is left as it is, for the reader to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def spec(facts: Any) -> Any:
    """What images are like, as `calotype.types.ImageSpec` has it."""
    return _within(facts, "source", _source)


def _source(facts: Any) -> Any:
    if not isinstance(facts, Mapping):
        return facts
    new = {_SOURCE.get(name, name): value for name, value in facts.items()}
    how = new.pop("how", None)
    if how is None:
        return new
    if not isinstance(how, str):
        return facts
    pairing, _, degradation = how.partition(" ") if how.startswith(("paired", "unpaired")) else ("paired", "", how)
    return {**new, "degradation": degradation, "paired": pairing == "paired"}


_SOURCE = {"known": "conditioning"}


def _within(facts: Any, name: str, change: Callable[[Any], Any]) -> Any:
    return {**facts, name: change(facts[name])} if isinstance(facts, Mapping) and name in facts else facts
