"""What is known of a detector: how it was judged, and what it answers where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from calotype.detect.equalize import Equalizer
from calotype.detect.sets import SetFacts
from calotype.metrics.confidence import Reliability
from calotype.settings import Finite, NotNegative, Share, Text, Whole

Verdict3 = Literal["REAL", "GENERATED", "CANNOT TELL"]
Mark = Literal["", "not held", "CANNOT TELL"]
Ends = tuple[Share, Share]
Distance = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ImageCount = Annotated[int, Field(ge=0, le=10_000_000)]


@dataclass(frozen=True)
class Rate:
    """A share of images with its exact 95% interval (Clopper & Pearson 1934)."""

    share: Share
    interval: Ends
    n: ImageCount


@dataclass(frozen=True)
class Answers:
    """What a detector answers to images of one kind."""

    real: Rate
    generated: Rate
    cannot_tell: Rate


@dataclass(frozen=True)
class ToldApart:
    """How well generated images are told from real ones that no part of the detector has seen."""

    name: Text  # of the generator, or of what was done to the images
    area: Share  # under the ROC curve
    interval: Ends  # 95%, DeLong et al. 1988
    real: Answers  # to the real images
    generated: Answers

    def holds(self, rate: float) -> bool:
        """Whether answers can be given to images like these: neither wrong answer is shown to be more frequent than stated."""
        return self.interval[0] > 0.5 and self.real.generated.interval[0] <= rate and self.generated.real.interval[0] <= rate


@dataclass(frozen=True)
class Results:
    """How a detector did on the images of the test, and on those of generators that were left out."""

    counts: tuple[Whole, Whole, Whole]  # images of training, calibration and test
    overall: ToldApart  # all generators together, each with the same weight
    each: Annotated[tuple[ToldApart, ...], Field(max_length=1000)]  # of each generator
    left_out: Annotated[tuple[ToldApart, ...], Field(max_length=1000)]  # of each by a detector that never saw it; () for one generator
    robustness: Annotated[tuple[ToldApart, ...], Field(max_length=100)]  # of degraded images of the test
    curve: Annotated[tuple[Ends, ...], Field(max_length=1000)]  # false alarm rate and share of generated images found, at some thresholds
    before: Reliability  # of probabilities as they were learned
    after: Reliability  # as they are calibrated
    chance: Share  # 95% of the calibration errors that probabilities without fault have on so many images lie below
    seconds: NotNegative  # that it took


@dataclass(frozen=True)
class Limits:
    """How a number becomes a probability and an answer."""

    slope: NotNegative  # of Platt's calibration
    offset: Finite
    above: Finite | None  # GENERATED above this; None: never
    below: Finite | None  # REAL below this
    # the distance from the images of each set beyond which one is unlike
    unlike: Annotated[tuple[Distance | None, ...], Field(max_length=1000)]
    false_alarms: Annotated[float, Field(gt=0, lt=0.5)]  # the rate that all of these were chosen for


@dataclass(frozen=True)
class CoveredFiles:
    """Files beyond which nothing was tested."""

    sides: tuple[Whole, Whole]  # of the shorter side in pixels
    quality: Annotated[float, Field(ge=0, le=100)] | None  # of JPEG files, the lowest; None where none were tested
    formats: Annotated[tuple[Text, ...], Field(max_length=16)]  # of lossy files

    def covers_quality(self, quality: float) -> bool:
        """Whether JPEG files of a quality were tested; what a file says of its own is right to one."""
        return "JPEG" in self.formats and (self.quality is None or quality >= self.quality - 1)


@dataclass(frozen=True)
class DetectorFacts:
    """All of a detector but its tensors: ``config.json``."""

    kind: Literal["detector"]
    version: Text  # of Calotype
    equalizer: Equalizer
    groups: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)]  # of features
    real: SetFacts
    generated: Annotated[tuple[SetFacts, ...], Field(min_length=1, max_length=1000)]
    seed: Whole
    limits: Limits
    tested: CoveredFiles
    results: Results
    notes: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    tensors: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = ""  # SHA-256 of ``detector.safetensors``

    @property
    def useful(self) -> bool:
        """Whether it tells generated images from real ones at all, beyond doubt."""
        return self.results.overall.interval[0] > 0.5

    def mark(self, row: ToldApart) -> Mark:
        """Of a row of degraded images: whether all such files get CANNOT TELL, else whether they get answers that it does not hold for."""
        if not self.useful or not self._answers(row.name):
            return "CANNOT TELL"
        return "" if row.holds(self.limits.false_alarms) else "not held"

    def _answers(self, degradation: str) -> bool:
        """Whether any of the images of the test, degraded so, would be among the files that get answers."""
        kind, _, value = degradation.partition(":")
        if kind == "jpeg":
            return self.tested.covers_quality(float(value))
        if kind == "resize":
            sides = [side for one in (self.real, *self.generated) for side in one.sides]
            low, high = (round(float(value) * side) for side in (max(min(sides), self.equalizer.size), max(sides)))
            return low <= self.tested.sides[1] and high >= self.tested.sides[0]
        return True  # no file tells

    @property
    def doubt(self) -> str:
        """What no file tells and makes the detector call real images GENERATED, in one sentence; empty where nothing was seen to."""
        seen = [row for row in self.results.robustness if row.name.partition(":")[0] in ("blur", "noise")]
        false = [row for row in seen if row.real.generated.interval[0] > self.limits.false_alarms]
        if not false:
            return ""
        worst = max(false, key=lambda row: row.real.generated.share)
        return (
            f"No file tells whether it was blurred or has noise: of real images degraded by {worst.name} "
            f"{100 * worst.real.generated.share:.0f}% were called GENERATED."
        )

    @property
    def trust(self) -> str:
        """How far it can be trusted with generators that it never saw, in one sentence."""
        rows = self.results.left_out
        if not rows:
            return "It knows one generator, so that none could be left out: how it does on others was not tested."
        worst = min(rows, key=lambda row: row.area)
        missed = max(rows, key=lambda row: row.generated.real.share)
        areas = f"AUC {min(r.area for r in rows):.2f} to {max(r.area for r in rows):.2f}"
        share = f"{100 * missed.generated.real.share:.0f}%"
        return (
            f"Generators that were left out of its training it told from real images with {areas} (worst: {worst.name}), and called up to "
            f"{share} of their images REAL ({missed.name}): REAL means unlike the generators that it knows."
        )
