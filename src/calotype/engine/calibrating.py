"""What is learned of a classifier after its training, from images that it never saw, and kept beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as pack_arrays

from calotype import earlier
from calotype.capabilities import Classifies
from calotype.config import Data
from calotype.data import Images, ImageSource
from calotype.data.fit import Fit
from calotype.data.images import holdout_order
from calotype.errors import DamagedError, UserError
from calotype.files import read_json, write_atomic, write_json
from calotype.metrics.confidence import COLDEST, HOTTEST, fit_temperature
from calotype.metrics.familiar import FALSE_ALARMS, OF_CLASS, REMEMBERED, KnownImages, distance_limit
from calotype.metrics.predictions import Predictions, predictions
from calotype.settings import NotNegative, Whole, checked
from calotype.types import Model

FILE, KNOWN = "calibration.json", "known.safetensors"
MOST = 5_000  # held-out images that are looked at


@dataclass(frozen=True)
class CalibrationFacts:
    """How the logits of a classifier become probabilities, and from where on an image is unlike those that it knows."""

    temperature: Annotated[float, Field(ge=COLDEST / 2, le=2 * HOTTEST)]  # that logits are divided by
    distance: NotNegative | None  # beyond which an image counts as unlike; None where there were too few images to tell
    false_alarms: Annotated[float, Field(gt=0, lt=1)]  # the share of images of the known kinds that lie beyond it
    images: Whole  # held-out images that both follow from
    fit: Fit  # how training images that were no squares became so
    mirrored: bool = False  # whether images are judged together with their mirror images, as both were trained on


@dataclass(frozen=True)
class BeliefCalibration:
    """The facts, and the training images from which distances are measured; None where the file of a model lacks them."""

    facts: CalibrationFacts
    known: KnownImages | None

    def unlike(self, found: Predictions) -> NDArray[np.bool_] | None:
        """Whether each of N images is unlike the known ones, (N,); None where that is not known."""
        if self.known is None or self.facts.distance is None:
            return None
        return self.known.distances(found.features) > self.facts.distance


def calibrated(model: Model, train: ImageSource, holdout: Images, options: Data, device: torch.device) -> BeliefCalibration | None:
    """The calibration of a classifier by held-out images, and by what it makes of some of those that it learned from.

    None for a model that tells no classes apart, and where none are held out.
    """
    if not isinstance(model, Classifies) or not len(holdout) or holdout.labels is None:
        return None
    some, mirrored = looked_at(holdout), bool(options.flip) and model.mirror_pays
    assert some.labels is not None
    most = max(REMEMBERED, OF_CLASS * len(model.spec.classes))
    rows = np.sort(np.random.RandomState(0).permutation(len(train))[:most])
    pixels = train.pixels_at(rows)
    assert pixels.dtype == np.uint8  # points have no classifiers
    known = KnownImages.of(predictions(model, pixels.astype(np.uint8, copy=False), device, mirrored=mirrored).features)
    found = predictions(model, some.pixels, device, mirrored=mirrored)
    limit = distance_limit(known.distances(found.features))
    temperature = fit_temperature(found.logits, some.labels)
    return BeliefCalibration(CalibrationFacts(temperature, limit, FALSE_ALARMS, len(some), options.fit, mirrored), known)


def looked_at(holdout: Images) -> Images:
    """Those of the held-out images that a calibration follows from."""
    return holdout.take(holdout_order(len(holdout), holdout.labels)[:MOST])


def write(folder: Path, calibration: BeliefCalibration | None) -> None:
    """Put it beside the weights in ``folder``; what was there of other weights goes."""
    for name in (FILE, KNOWN):
        (folder / name).unlink(missing_ok=True)
    if calibration is None:
        return
    if calibration.known is not None:
        packed = pack_arrays({"directions": calibration.known.directions.astype(np.float16)})
        write_atomic(folder / KNOWN, lambda stream: stream.write(packed))
    write_json(folder / FILE, asdict(calibration.facts))


def read(folder: Path) -> BeliefCalibration | None:
    """The calibration of the weights in ``folder``; None where there is none.

    Raises:
        DamagedError: for files that hold something else.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        facts = checked(CalibrationFacts, earlier.calibration(read_json(folder / FILE)))
    except DamagedError:
        raise
    except UserError as error:
        raise DamagedError(f"{folder / FILE} is damaged or from another version ({error}): restore it from a copy") from None
    return BeliefCalibration(facts, _known(folder / KNOWN) if (folder / KNOWN).is_file() else None)


def _known(path: Path) -> KnownImages:
    try:
        directions = parse_arrays(path.read_bytes())["directions"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedError(f"{path} is damaged ({error}): restore it from a copy") from None
    if directions.ndim != 2 or not len(directions) or directions.dtype != np.float16 or not np.isfinite(directions).all():
        raise DamagedError(f"{path} is damaged (it holds no directions of images): restore it from a copy")
    return KnownImages.of(directions.astype(np.float32))
