"""Files that earlier versions wrote: what they call otherwise, brought to the names of today before it is checked.

Nothing here judges: what is not as expected is left as it is, for the reader to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


def config(facts: Any) -> Any:
    """The settings of a run, as `calotype.config.Config` has them."""
    return _within(_within(facts, "model", model), "data", _data)


def model(facts: Any) -> Any:
    """The settings of a model."""
    if not isinstance(facts, Mapping):
        return facts
    names = _SETTINGS.get(str(facts.get("kind")), {})
    new: dict[str, Any] = {str(names.get(str(name), name)): value for name, value in facts.items()}
    if new.get("kind") == "diffusion" and isinstance(new.get("path"), str):
        new["path"] = _PATHS.get(new["path"], new["path"])
    if new.get("kind") == "restorer" and new.get("perceptual"):  # which looked through random networks alone
        new.setdefault("perceptual_features", "random")
    return _gan(new) if new.get("kind") == "gan" and "network" in new else new


def parameter(name: str) -> str:
    """The name of a tensor of a model."""
    return re.sub(r"(?<![^./])(trunk|crown)(?=\.)", lambda found: _MODULES[found[0]], name)


def record(facts: dict[str, Any]) -> dict[str, Any]:
    """A line of a log."""
    return {**facts, "event": "rollback"} if facts.get("event") == "retreat" else facts


def calibration(facts: Any) -> Any:
    """A ``calibration.json``: limits of energies, by which images were once called unlike, are none of distances."""
    if not isinstance(facts, Mapping) or "energies" not in facts:
        return facts
    return {name: value for name, value in facts.items() if name != "energies"} | {"distance": None}


def _data(facts: Any) -> Any:
    return {_DATA.get(name, name): value for name, value in facts.items()} if isinstance(facts, Mapping) else facts


def report(facts: Any) -> Any:
    """A ``report.json``: what it called floor is the baseline, and what was not asked is not applicable."""
    if not isinstance(facts, Mapping):
        return facts
    new = dict(facts)
    for name, change in (("scores", _baseline), ("evaluations", _baseline), ("verdicts", _asked)):
        if isinstance(new.get(name), list):
            new[name] = [change(row) if isinstance(row, Mapping) else row for row in new[name]]
    return new | ({"schema": 2} if new.get("schema") == 1 else {})


def _baseline(row: Mapping[str, Any]) -> dict[str, Any]:
    return {{"floor": "baseline"}.get(name, name): value for name, value in row.items()}


def _asked(row: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(row)
    return new if new.pop("asked", True) else new | {"status": "NOT APPLICABLE"}


def _gan(facts: Mapping[str, Any]) -> Any:
    new = dict(facts)
    network, width, narrow = (new.pop(name, None) for name in ("network", "width", "discriminator_width"))
    kept: dict[str, Any] = {name: new.pop(name) for name in ("depth", "activation") if name in new}
    both: dict[str, Any] = {"network": network, **(kept if network == "mlp" else {})}
    generator, discriminator = {**both, "width": width}, {**both, "width": narrow or width}
    for side, part in (("generator_norm", generator), ("discriminator_norm", discriminator)):
        if side in new:
            part["norm"] = new.pop(side)
    discriminator |= {name: new.pop(name) for name in ("dropout", "spectral", "minibatch_std") if name in new}
    return {**new, "generator": generator, "discriminator": discriminator}


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


_DATA = {"turn": "rot90"}
_SOURCE = {"known": "conditioning"}
_SETTINGS = {"gan": {"pace": "discriminator_lr_mult"}, "hvae": {"rungs": "latent_blocks"}}
_PATHS = {"straight": "rectified", "linear": "vp-linear", "cosine": "vp-cosine", "exploding": "ve"}
_MODULES = {"trunk": "backbone", "crown": "decoder"}


def _within(facts: Any, name: str, change: Callable[[Any], Any]) -> Any:
    return {**facts, name: change(facts[name])} if isinstance(facts, Mapping) and name in facts else facts
