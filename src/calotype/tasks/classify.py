"""Images that a user names, and what a classifier takes them for: what the command line and Python share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from calotype.capabilities import Classifies
from calotype.data.decode import UnusableError
from calotype.data.fit import Fit
from calotype.data.images import Pixels, Progress
from calotype.engine import calibrating
from calotype.engine.calibrating import BeliefCalibration
from calotype.engine.display import Display, Terminal
from calotype.errors import DamagedError, UserError, printable
from calotype.files import name_of
from calotype.metrics.confidence import softmax
from calotype.metrics.predictions import Predictions, predictions
from calotype.models import MODELS, stored
from calotype.settings import Count, value
from calotype.tasks.batch import reason_of
from calotype.tasks.inputs import Inputs, open_inputs
from calotype.tasks.sample import Generator, load
from calotype.types import ImageSpec

TOP = 3  # classes that are told of each image
_AT_ONCE = 32  # images in memory
UNCALIBRATED = (
    "its probabilities are as it learned them, and no image is called unlike the others: a classifier is calibrated when its training "
    "ends, by held-out images (`data.holdout`), or later by calotype.calibrate in Python"
)
NO_LIMIT = "no image is called unlike the others, for what that takes is not known: calotype.calibrate in Python learns it"


@dataclass(frozen=True)
class Classification:
    """What became of one image."""

    file: str
    classes: tuple[tuple[str, float], ...] = ()  # names with their probabilities, the likeliest first
    distance: float | None = None  # to the tenth nearest training image, between directions of features (Sun et al. 2022)
    unlike: bool | None = None  # whether that is more than for 95% of held-out images; None where that is not known
    error: str = ""  # why nothing is known of it


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained classifier, ready to be asked."""

    name: str
    generator: Generator
    calibration: BeliefCalibration | None  # None where no images were held out, or the training did not end

    @property
    def spec(self) -> ImageSpec:
        """What its images look like."""
        return self.generator.spec

    @property
    def fit(self) -> Fit:
        """How images that are no squares become so."""
        return "crop" if self.calibration is None or self.calibration.facts.fit == "tile" else self.calibration.facts.fit

    @property
    def mirrored(self) -> bool:
        """Whether images are judged together with their mirror images."""
        return self.calibration is not None and self.calibration.facts.mirrored

    @property
    def temperature(self) -> float | None:
        """That its logits are divided by; None where it is not calibrated."""
        return None if self.calibration is None else self.calibration.facts.temperature

    def predictions(self, pixels: Pixels, progress: Progress | None = None) -> Predictions:
        """What it makes of images (N, H, W, C) uint8 of its shape."""
        return predictions(self.generator.model, pixels, self.generator.device, progress, mirrored=self.mirrored)

    def of(self, names: Sequence[str], images: Sequence[Pixels], top: int) -> list[Classification]:
        """What it takes some images (H, W, C) uint8 of its shape for."""
        if not images:
            return []
        seen, known = self.predictions(np.stack(images)), self.calibration
        beliefs = softmax(seen.logits, self.temperature or 1.0)
        unlike = None if known is None else known.unlike(seen)
        distances = None if known is None or known.known is None else known.known.distances(seen.features)
        found = []
        for row, (name, p) in enumerate(zip(names, beliefs, strict=True)):
            likeliest = np.argsort(-p, kind="stable")[:top]
            classes = tuple((self.spec.classes[int(k)], float(p[k])) for k in likeliest)
            far = None if distances is None else float(distances[row])
            found.append(Classification(name, classes, far, None if unlike is None else bool(unlike[row])))
        return found


def classify(
    model: TrainedClassifier | str | Path,
    *sources: str | Path,
    top: int = TOP,
    count: int | None = None,
    device: str = "auto",
    display: Display | None = None,
) -> list[Classification]:
    """What a classifier takes images for, with calibrated probabilities.

    Args:
        model: What `open_classifier` returns, or the folder of a run.
        sources: Images, folders with everything in them, zip archives, or data sets (of those, held-out images).
        top: Classes that are told of each image at most.
        count: Only the first so many images of each source.
        device: Where the model computes, where it is named by its folder.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Raises:
        UserError: for a model that is no classifier, for no images, and where the only file that was named cannot be used.
    """
    if not sources:
        raise UserError("IN is missing: name a picture, a folder, a zip archive or a data set")
    top = value("top", top, Annotated[Count, Field(ge=1)])
    trained = model if isinstance(model, TrainedClassifier) else open_classifier(model, device)
    with closing(display or Terminal()) as shown:
        if trained.calibration is None:
            shown.say(f"calotype: {trained.name}: {UNCALIBRATED}")
        elif trained.calibration.known is None or trained.calibration.facts.distance is None:
            shown.say(f"calotype: {trained.name}: {NO_LIMIT}")
        return [one for source in sources for one in _of(trained, str(source), top, count, shown, alone=len(sources) == 1)]


def open_classifier(path: str | Path, device: str = "auto") -> TrainedClassifier:
    """The classifier in a run, or in a ``model/`` folder by itself. Raises `UserError` for a model that is none."""
    found = stored.find(path, "the run folder of a classifier, made by calotype train resnet `data.source=SOURCE`")
    kind: Any = MODELS[type(found.config)]
    if not issubclass(kind, Classifies):
        family = found.config.kind
        raise UserError(f"{path} is of the family {family}, which tells no classes apart: calotype train resnet makes a model that does")
    generator, calibration = load(path, device), calibrating.read(found.folder)
    if calibration is not None and calibration.known is not None:
        blank = np.zeros((1, *found.spec.shape[1:], found.spec.channels), np.uint8)
        width = predictions(generator.model, blank, generator.device).features.shape[1]
        if calibration.known.directions.shape[1] != width:
            raise DamagedError(f"{found.folder / calibrating.KNOWN} belongs to another model: restore it from a copy")
    return TrainedClassifier(name_of(Path(path)), generator, calibration)


def _of(trained: TrainedClassifier, source: str, top: int, count: int | None, display: Display, *, alone: bool) -> list[Classification]:
    with open_inputs(source, None, count) as inputs:
        found = [Classification(skipped.name, error=skipped.reason) for skipped in inputs.skipped]
        names, total = inputs.names, len(inputs.names)
        for first in range(0, total, _AT_ONCE):
            found += _batch(trained, inputs, names[first : first + _AT_ONCE], top, alone=alone)
            display.show("classifying", min(first + _AT_ONCE, total), total)
    return found


def _batch(trained: TrainedClassifier, inputs: Inputs, names: Sequence[str], top: int, *, alone: bool) -> list[Classification]:
    """Some images, in their order; what cannot be read is told in its place."""
    readable: list[tuple[int, str, Pixels]] = []
    found: dict[int, Classification] = {}
    for place, name in enumerate(names):
        try:
            readable.append((place, printable(name), inputs.fitted(name, trained.spec.size, trained.spec.channels, trained.fit)))
        except Exception as error:  # a damaged file, a full memory: the others can still be done
            if inputs.single and alone and isinstance(error, (UnusableError, UserError)):
                raise UserError(f"{name} cannot be used: {reason_of(error)}") from None
            found[place] = Classification(printable(name), error=reason_of(error))
    told = trained.of([name for _, name, _ in readable], [pixels for _, _, pixels in readable], top)
    found |= {place: one for (place, _, _), one in zip(readable, told, strict=True)}
    return [found[place] for place in sorted(found)]


def table(found: Sequence[Classification]) -> Iterator[list[str]]:
    """Rows of a table: the head, then one for each image."""
    most = max((len(one.classes) for one in found), default=0)
    head = [word for rank in range(1, most + 1) for word in (f"class_{rank}", f"probability_{rank}")]
    yield ["file", *head, "unlike", "distance", "error"]
    for one in found:
        cells = [word for name, p in one.classes for word in (name, f"{p:.6f}")]
        unlike = "" if one.unlike is None else str(one.unlike)
        yield [one.file, *cells, *[""] * (2 * most - len(cells)), unlike, "" if one.distance is None else f"{one.distance:.6f}", one.error]


def facts(found: Sequence[Classification]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {"file": one.file, "error": one.error}
        if one.error
        else {
            "file": one.file,
            "classes": [{"name": name, "probability": p} for name, p in one.classes],
            "unlike": one.unlike,
            "distance": one.distance,
        }
        for one in found
    ]
