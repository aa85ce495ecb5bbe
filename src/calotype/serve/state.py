"""What the rooms of a service share: settings, the shelf of models, the lanes in which they compute, jobs and the gallery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from calotype.serve.counts import Counts
from calotype.serve.events import Streams
from calotype.serve.gallery import Gallery
from calotype.serve.jobs import JobQueue
from calotype.serve.lanes import Lane, Lanes
from calotype.serve.runs import Runs
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
    counts: Counts = field(default_factory=Counts)
    on_problem: Callable[[], None] = lambda: None  # called where the models that were named cannot be served
    stopping: bool = False
    place: Path = Path()  # where jobs and the gallery are kept
    temporary: TemporaryDirectory[str] | None = None  # that place, where it goes with the service

    jobs: JobQueue = field(init=False)  # long work in processes of its own; these four are made by `calotype.serve.keeping.furnish`
    gallery: Gallery = field(init=False)  # what was made and kept
    runs: Runs = field(init=False)  # those of a folder
    streams: Streams = field(init=False)  # of events

    batchers: dict[str, Batcher] = field(default_factory=dict)  # by the names of lanes, as they are needed

    def batcher(self, lane: Lane) -> Batcher:
        """Samples of several requests drawn together in a lane."""
        from calotype.serve.batching import Batcher

        return self.batchers.setdefault(lane.name, Batcher(lane))
