"""What the rooms of a service share: settings, the shelf of models, the lanes in which they compute, jobs and the gallery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from calotype.serve.lanes import Lanes
from calotype.serve.settings import Settings
from calotype.serve.shelf import Shelf

if TYPE_CHECKING:
    from calotype.serve.batching import Batcher


@dataclass
class State:
    """Of one service, made by `calotype.serve.app.create_app`."""

    settings: Settings
    shelf: Shelf
    lanes: Lanes
    jobs: Any = None  # long work in processes of its own
    gallery: Any = None  # what was made and kept
    extra: dict[str, Any] = field(default_factory=dict)  # of tests

    _batcher: Batcher | None = None

    @property
    def batcher(self) -> Batcher:
        """Samples of several requests drawn together."""
        if self._batcher is None:
            from calotype.serve.batching import Batcher

            self._batcher = Batcher(self.lanes.quick)
        return self._batcher
