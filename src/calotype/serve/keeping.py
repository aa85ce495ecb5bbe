"""What a service keeps beyond an answer: jobs, runs and the gallery, put together from its settings."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from calotype.serve.events import Streams
from calotype.serve.gallery import Gallery
from calotype.serve.job_store import STATES
from calotype.serve.jobs import JobQueue
from calotype.serve.runs import Runs
from calotype.serve.sources import Sources
from calotype.serve.trainings import Trainings
from calotype.serve.work import perform

if TYPE_CHECKING:
    from calotype.serve.state import State


def furnish(state: State) -> None:
    """Give a state its jobs, runs, gallery and streams; without a folder for them they live as long as the service.

    Raises:
        UserError: where the folder cannot be written, where another service uses it, and for a source that there is not.
    """
    settings = state.settings
    sources = Sources(settings.sources)
    if settings.state is None:
        state.temporary = tempfile.TemporaryDirectory(prefix="calotype-")
    state.place = Path(state.temporary.name) if state.temporary is not None else Path(settings.state or ".").resolve()
    state.jobs = JobQueue(state.place, perform, workers=settings.workers, capacity=settings.queue, seconds=settings.job_seconds)
    state.gallery = Gallery(state.place / "gallery", settings.gallery_bytes, settings.gallery_items)
    trainings = Trainings(state.place / "trainings", settings.trainings, settings.training_minutes)
    state.runs = Runs(settings.runs, trainings, sources, state.shelf)
    state.streams = Streams(settings.streams)


def gauges(state: State) -> dict[str, tuple[str, float]]:
    """What is kept, as numbers for Prometheus: a help and a value for each name."""
    counts, usage = state.jobs.counts(), state.gallery.usage()
    found = {f"jobs_{one}": (f"jobs that are {one}, of those that are not forgotten", float(counts.get(one, 0))) for one in STATES}
    found["streams_open"] = "streams of events that are open", float(state.streams.open)
    found["gallery_pictures"] = "pictures in the gallery", float(usage["pictures"])
    found["gallery_bytes"] = "bytes of these, with their requests", float(usage["bytes"])
    return found


def clear(state: State) -> None:
    """End what `furnish` began; trainings go on."""
    state.streams.stop()
    state.runs.trainings.close()
    state.jobs.close()
    state.gallery.close()
    if state.temporary is not None:
        state.temporary.cleanup()
