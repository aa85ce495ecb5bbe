"""How a judgement is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calotype.data.fit import Fit
from calotype.data.images import Progress
from calotype.engine.display import Say, progress

LONGEST = 60.0  # seconds that drawing with several numbers of function evaluations may take together


@dataclass(frozen=True)
class Request:
    """What somebody asked for; None where nothing was said."""

    data: str | None = None  # source of the training images; a run knows its own
    holdout: str | None = None  # source of real images that the generator never saw; a run knows its own
    count: int | None = None  # images to draw, to take from a folder, or to restore
    features: str | None = None  # feature space (`calotype.metrics.features.pick`)
    size: int | None = None  # pixels a side at which images are compared; that of the generated ones where none is given
    fit: Fit | None = None  # how images that are no squares become so: ``crop`` where none is given
    divided: bool = True  # divide ``data`` as the run did where they are its own images; else all of them count as trained on
    seed: int = 0  # of the noise that images are drawn from, and of everything random in the evaluation
    device: str = "auto"  # where a model draws
    short: bool = False  # without the planted ladder, the extrapolation and what takes long
    slow: bool = True  # ask for likelihoods that take long, and draw with several numbers of function evaluations
    cas: bool = False  # train a classifier on drawn images, and the same one on real ones (`calotype.evaluation.cas`)
    longest: float = LONGEST  # seconds that the latter may take
    say: Say | None = None  # called as the work goes on
    tell: Callable[[str], None] | None = None  # called with lines that are better known before the work begins
    offers: frozenset[str] = frozenset({"holdout", "size", "fit"})  # of its settings those that whoever asks has: no note names another

    def progress(self, what: str) -> Progress | None:
        """``say`` for work of one kind."""
        return progress(self.say, what)
