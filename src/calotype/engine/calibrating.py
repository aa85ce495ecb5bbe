"""What is learned of a classifier after its training, from images that it never saw, and kept beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from calotype.data import Images
from calotype.data.fit import Fit
from calotype.data.images import holdout_order
from calotype.errors import DamagedError, UserError
from calotype.files import read_json, write_json
from calotype.metrics.confidence import COLDEST, FALSE_ALARMS, HOTTEST, energy, energy_limits, fit_temperature
from calotype.metrics.predictions import predictions
from calotype.settings import Finite, Whole, checked
from calotype.types import Classifies, Model

FILE = "calibration.json"
MOST = 5_000  # held-out images that are looked at


@dataclass(frozen=True)
class BeliefCalibration:
    """How the logits of a classifier become probabilities, and from where on an image is unlike those that it knows."""

    temperature: Annotated[float, Field(ge=COLDEST / 2, le=2 * HOTTEST)]  # that logits are divided by
    energies: tuple[Finite, Finite] | None  # outside which an image counts as unlike; None where there were too few images to tell
    false_alarms: Annotated[float, Field(gt=0, lt=1)]  # the share of images of the known kinds that lie outside
    images: Whole  # held-out images that both follow from
    fit: Fit  # how training images that were no squares became so

    def unlike(self, energy: float) -> bool | None:
        """Whether an image of this energy is unlike the known ones; None where that is not known."""
        return None if self.energies is None else not self.energies[0] <= energy <= self.energies[1]


def calibrated(model: Model, holdout: Images, fit: Fit, device: torch.device) -> BeliefCalibration | None:
    """The calibration of a classifier by held-out images.

    None for a model that tells no classes apart, and where none are held out.
    """
    if not isinstance(model, Classifies) or not len(holdout) or holdout.labels is None:
        return None
    some = looked_at(holdout)
    assert some.labels is not None
    logits = predictions(model, some.pixels, device).logits
    return BeliefCalibration(fit_temperature(logits, some.labels), energy_limits(energy(logits)), FALSE_ALARMS, len(some), fit)


def looked_at(holdout: Images) -> Images:
    """Those of the held-out images that a calibration follows from."""
    return holdout.take(holdout_order(len(holdout), holdout.labels)[:MOST])


def write(folder: Path, calibration: BeliefCalibration | None) -> None:
    """Put it beside the weights in ``folder``; what was there of other weights goes."""
    if calibration is None:
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_json(folder / FILE, asdict(calibration))


def read(folder: Path) -> BeliefCalibration | None:
    """The calibration of the weights in ``folder``; None where there is none.

    Raises:
        DamagedError: for a file that holds something else.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        return checked(BeliefCalibration, read_json(folder / FILE))
    except DamagedError:
        raise
    except UserError as error:
        raise DamagedError(f"{folder / FILE} is damaged or from another version ({error}): restore it from a copy") from None
