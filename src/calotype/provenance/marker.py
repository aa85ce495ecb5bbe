"""The marker of a picture as data: what made it, and of a sample all that makes it anew.

It is one line of JSON in ASCII with a checksum over its other fields. The checksum tells of damage and of careless changes; nobody is
kept from writing another marker, or none, which only a signature does (`calotype.tasks.signing`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from calotype import __version__
from calotype.errors import DamagedError, UserError
from calotype.files import parse_json
from calotype.settings import Seed, checked

Making = Literal[
    "sample", "decoding", "completion", "inpainting", "translation", "overview", "restoration", "enlargement", "degradation", "comparison"
]
"""What made a picture. A *decoding* is drawn from latents that were not drawn by themselves, an *overview* shows what a model made beside
other pictures, a *comparison* pictures that were given."""

Provenance = Literal["full", "minimal", "none"]
"""How much a picture says: all of it, that it was made but not how, nothing."""

UNMARKED = "`provenance=none`: nothing in the files says that Calotype made them"
"""What is said wherever pictures are written so."""

_SAMPLE, _COMPOSITE, _ENHANCED = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicallyEnhanced"
SOURCE_TYPES: dict[Making, str] = {
    "sample": _SAMPLE,
    "decoding": _SAMPLE,
    "completion": _COMPOSITE,
    "inpainting": _COMPOSITE,
    "translation": _COMPOSITE,
    "overview": _COMPOSITE,
    "restoration": _ENHANCED,
    "enlargement": _ENHANCED,
    "degradation": "",  # no model had a part in these: what a picture said before remains true
    "comparison": "",
}
"""The digital source type of each (IPTC NewsCodes, digitalsourcetype)."""

STRENGTH = ("", _ENHANCED, _COMPOSITE, _SAMPLE)
"""Source types of models, those behind saying more: what a picture was once is never said more weakly afterwards."""


@dataclass(frozen=True)
class Marker:
    """What made a picture. Fields at their defaults were left out, or say nothing of such a picture."""

    making: Making
    version: str = __version__  # of Calotype
    weights: str = ""  # SHA-256 of the model's model.safetensors, in hexadecimal
    recipe: str = ""  # of the model
    seed: Seed | None = None
    index: Seed | None = None  # the number that the seed is mixed with; of several pictures side by side that of the first
    cells: int = 0  # images of the model side by side, with numbers that follow each other; 0 for a picture by itself
    columns: int = 0  # of those side by side, where not as many as there are rows, or one more
    batch: tuple[Seed, ...] = ()  # of samples: the first that was asked for, how many, and how many were drawn at once
    label: str | None = None  # the class that was asked for, by name
    options: Mapping[str, str | int | float] = field(default_factory=dict)  # everything else that was asked for
    machine: str = ""  # what computed it: other machines round otherwise
    watermark: str = ""  # id of the key whose watermark is in the noise that it was drawn from; the key does not follow from it

    def one(self, place: int) -> Marker:
        """The marker of one of several pictures."""
        return replace(self, index=None if self.index is None else self.index + place, cells=0)

    def at(self, level: Provenance) -> Marker | None:
        """As much of it as is wanted."""
        return None if level == "none" else self if level == "full" else Marker(self.making, self.version, watermark=self.watermark)

    @property
    def source_type(self) -> str:
        """The last part of its digital source type; empty where no model had a part in it."""
        return SOURCE_TYPES[self.making]

    @property
    def text(self) -> str:
        """The marker as it stands in a file."""
        plain = {one.name: one.default for one in fields(self)}
        said = {name: value for name, value in asdict(self).items() if value not in (plain[name], (), {})} | {"version": self.version}
        said |= {"source": self.source_type} if self.source_type else {}
        return _json(said | {"checksum": _checksum(said)})


def parse(text: str) -> Marker:
    """The marker that ``text`` is. Raises `DamagedError` for one that was altered, and for what is none."""
    try:
        facts = parse_json(text)
    except ValueError:
        raise DamagedError("its marker is damaged or was altered: it is no longer readable") from None
    if facts.pop("checksum", None) != _checksum(facts):
        raise DamagedError("its marker is damaged or was altered: its fields do not have the checksum that it states")
    names = {one.name for one in fields(Marker)}
    try:
        marker = checked(Marker, {name: value for name, value in facts.items() if name in names})
    except UserError as error:
        raise DamagedError(f"its marker is none that this version knows ({error})") from None
    if facts.get("source", "") != marker.source_type or len(marker.batch) not in (0, 3):
        raise DamagedError("its marker is none that this version knows (its fields contradict each other)")
    return marker


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(facts).encode()).hexdigest()
