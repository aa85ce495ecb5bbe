"""The images that trainings may be started on: the embedded ones, and the folders that whoever started the service named. No path comes
from a client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calotype.errors import UserError, printable
from calotype.serve.refusal import UnknownError

EMBEDDED = {
    "mnist5k": "5,000 handwritten digits of 28x28 pixels, gray, in ten classes",
    "clothing": "photographs of garments in color, in classes",
    "photos": "a few photographs in color",
}
TESTBEDS = {
    "ring": "points in the plane on a ring of eight, for which modes are known",
    "grid": "points in the plane on a grid, for which modes are known",
    "stacked5k": "stacked digits: a thousand modes that can be counted",
}


class Sources:
    """Sources by name; ``places`` are those besides the embedded ones.

    Raises:
        UserError: for a folder or file that is not there, and for a name that is that of an embedded set.
    """

    def __init__(self, places: Mapping[str, Path] | None = None) -> None:
        self._places: dict[str, Path] = {}
        for name, place in (places or {}).items():
            if name in EMBEDDED or name in TESTBEDS:
                raise UserError(f"`sources`: {name} is the name of an embedded set: choose another")
            if not place.exists():
                raise UserError(f"`sources`: {place} does not exist: name folders, zip archives or prepared files")
            self._places[name] = place.absolute()

    @property
    def listed(self) -> list[dict[str, Any]]:
        """All of them, as a client may know them."""
        own = [{"name": name, "kind": "folder" if path.is_dir() else "file", "about": ""} for name, path in self._places.items()]
        embedded = [{"name": name, "kind": "embedded", "about": about} for name, about in EMBEDDED.items()]
        return [*own, *embedded, *({"name": name, "kind": "testbed", "about": about} for name, about in TESTBEDS.items())]

    def place(self, name: str) -> str:
        """What `data.source` is for a name. Raises `UnknownError` for a name that is none."""
        if name in self._places:
            return str(self._places[name])
        if name in EMBEDDED or name in TESTBEDS:
            return name
        raise UnknownError("there is no such source: GET /v1/sources lists them", "source")

    def name(self, place: str) -> str:
        """What a client is told of the source of a run: its name, or the last part of its path."""
        return next((name for name, path in self._places.items() if str(path) == place), printable(Path(place).name))
