"""Everything a report knows: plain data, without a word on how it is drawn.

Every part may be missing; what is missing is left out of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.checks import by_name
from calotype.diagnose.verdict import Status, Verdict, worst_first
from calotype.evaluation.recognized import ClassificationAccuracyScore, Recognition
from calotype.metrics.score import Estimate, Interval, Score
from calotype.spelling import as_options, spelled

Pixels = NDArray[np.uint8]

SCHEMA = 2
"""Grows when a field of ``report.json`` changes its meaning."""

VERDICTS = tuple(by_name())
"""The names a verdict may have."""


@dataclass(frozen=True)
class Neighbors:
    """Generated images, each beside the nearest real ones. Distances are those of the feature space named."""

    generated: Pixels  # (N, H, W, C) uint8
    train: Pixels | None = None  # (N, H, W, C): the nearest training image of each
    holdout: Pixels | None = None  # (N, H, W, C): the nearest held-out image of each
    train_distance: tuple[float, ...] = ()
    holdout_distance: tuple[float, ...] = ()
    features: str = ""  # the space in which they are near
    place: tuple[int, ...] = ()  # of each generated image among all that were drawn, from 0
    train_name: tuple[str, ...] = ()  # of each image, its file where there is one
    holdout_name: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crop:
    """A piece of one image, before and after, at its own pixels. All are (H, W, C) uint8."""

    title: str  # "worst of 24: 23.1 dB, 19.9 before"
    before: Pixels  # what the model was given, in the size of the result
    after: Pixels
    truth: Pixels | None = None
    difference: Pixels | None = None  # (H, W, 1): how far the result is from the truth
    again: Pixels | None = None  # translated back


@dataclass(frozen=True)
class PointPictures:
    """Points as scatter plots, (H, W, 3) uint8 each."""

    generated: Pixels
    real: Pixels
    over_time: Pixels | None = None  # several of the training, side by side


@dataclass(frozen=True)
class ReportImages:
    """The images of a report."""

    samples: Pixels | None = None  # (N, H, W, C) uint8, drawn from fixed noise, not selected
    reals: Pixels | None = None  # (N, H, W, C) uint8, not selected
    neighbors: Neighbors | None = None  # of the first samples
    copies: Neighbors | None = None  # the generated images closest to a training image, closest first
    crops: tuple[Crop, ...] = ()  # of a model that makes images from images: the worst, the median and the best one
    mistakes: Pixels | None = None  # (N, H, W, C): held-out images that a classifier firmly took for something else
    suspects: Pixels | None = None  # (N, H, W, C): training images whose labels are doubtful
    points: PointPictures | None = None  # of a model that makes points in place of images


@dataclass(frozen=True)
class Series:
    """One curve of the training log."""

    name: str  # as in log.jsonl: "discriminator/loss"
    step: tuple[int, ...]
    value: tuple[float, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened at one step of the training."""

    step: int
    says: str  # a few words: "went back to step 400"
    kind: str = "event"  # "rollback", "verdict" ...


@dataclass(frozen=True)
class TrainingCurves:
    """How the training went."""

    series: tuple[Series, ...]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class ClassCounts:
    """How often each class was generated, and how often it is in the real images."""

    names: tuple[str, ...]
    generated: tuple[int, ...]
    real: tuple[int, ...]
    interval: tuple[Interval, ...]  # exact (Clopper and Pearson 1934) 95% interval of each generated share, in [0, 1]
    judge: str = ""  # who told the classes: "digits@1a2b3c4d, 99.1% right on held-out images"


@dataclass(frozen=True)
class Spectrum:
    """Radially averaged power by spatial frequency, and the band in which real images lie."""

    frequency: tuple[float, ...]  # cycles per pixel, in (0, 0.5]
    low: tuple[float, ...]  # power; lower end of the band of real images
    median: tuple[float, ...]
    high: tuple[float, ...]
    generated: tuple[float, ...]  # median of the generated images


@dataclass(frozen=True)
class LadderRow:
    """What a known failure, planted into real images, does to the scores: a scale to read them on."""

    name: str  # "blur of 1 pixel", "5% copies"
    scores: Mapping[str, float]  # by the name of the score


@dataclass(frozen=True)
class Extrapolation:
    """The Frechet distance at several sample sizes and where it goes for infinitely many images."""

    points: tuple[tuple[int, float], ...]  # (N, FD)
    infinite: float  # intercept of the line FD = infinite + slope / N
    slope: float


@dataclass(frozen=True)
class Units:
    """How much each latent of an encoder says of an image."""

    active: int  # units whose posterior mean varies with the image
    total: int
    nats: tuple[float, ...]  # mean divergence from the prior of each unit, largest first; of many units, evenly spaced ones


@dataclass(frozen=True)
class Cost:
    """What a model takes to train and to draw from. Seconds are those of the machine that measured them."""

    parameters: int  # of all networks
    drawing: int | None = None  # parameters that take part in drawing an image
    passes: float | None = None  # through the network for one image: function evaluations; a guided one counts once
    seconds_per_1000: float | None = None  # for 1,000 images
    threads: int = 0  # of the processor while drawing
    device: str = "cpu"  # that drew
    steps: int | None = None  # of the training
    minutes: float | None = None  # of the training
    images_per_second: float | None = None  # in training
    train_threads: int | None = None
    seconds_per_megapixel: float | None = None  # of the result, for a model that makes images from images


@dataclass(frozen=True)
class Method:
    """How well one way to restore images does, over all images of a report."""

    name: str  # "this model", "input", "bicubic", "wiener" ...
    psnr: Estimate  # dB, mean over the images
    ssim: Estimate
    gain: Estimate | None = None  # dB by which the model is better: the mean over the pairs; None for the model itself


@dataclass(frozen=True)
class PsnrAtSigma:
    """Denoising at one noise level."""

    sigma: float  # on the scale of 0 to 255
    psnr: Mapping[str, float]  # dB, mean over the images, by method; of the model "told" and "not told"


@dataclass(frozen=True)
class Restoration:
    """Images that were degraded, restored, and compared with what they were."""

    degradation: str  # "noise:0-55", or "paired" where the source has both
    convention: str  # of the scores, in words
    images: tuple[str, ...]  # names, in the order of ``psnr``
    methods: tuple[Method, ...]  # the model, then the classical methods, best first
    psnr: Mapping[str, tuple[float, ...]]  # dB of each image, by method
    levels: tuple[PsnrAtSigma, ...] = ()  # of a denoiser for a range

    @property
    def best(self) -> Method | None:
        """The best classical method."""
        return self.methods[1] if len(self.methods) > 1 else None


@dataclass(frozen=True)
class Evaluations:
    """The Frechet distance of images that were drawn with a given number of function evaluations."""

    nfe: float  # passes through the network for one image
    steps: int  # of the sampler
    fd: float
    interval: Interval | None  # 95%
    unbiased: float  # less what small samples add
    baseline: float  # FD of as many real images
    n: int  # images
    seconds_per_1000: float


@dataclass(frozen=True)
class ReferenceData:
    """The real images that a report measures against."""

    name: str
    train: int  # images
    holdout: int  # images
    fingerprint: str  # SHA-256 of both, hexadecimal
    holdout_fingerprint: str = ""


@dataclass(frozen=True)
class NextStep:
    """The one thing to try first."""

    command: str
    minutes: float | None  # that it takes on the machine of the training; None where that is not known, or is no training
    shows: str  # what one will know then


@dataclass(frozen=True)
class Report:
    """The judgement of one generator. It holds no date, so that the same evaluation gives the same report, seconds apart."""

    subject: str  # the run, model or folder that was judged, as the user knows it
    scores: tuple[Score, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)  # of the subject, for people: model, parameters, steps ...
    data: ReferenceData | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)  # what two reports must share to be compared, besides what scores carry
    versions: Mapping[str, str] = field(default_factory=dict)  # calotype, torch, numpy ...
    seed: int = 0  # of the evaluation
    command: str = ""  # repeats the evaluation; where it was a short one, makes the full report
    short: bool = False  # without the planted ladder, the extrapolation and what takes long
    recipe: str | None = None  # its name
    settings: str = ""  # equal for runs that differ in nothing but their training seed; "" where that is not known
    train_seed: int | None = None
    notes: tuple[str, ...] = ()  # warnings about the evaluation itself: "N is below 5 times the dimension"
    pictures: ReportImages = field(default_factory=ReportImages)
    curves: TrainingCurves | None = None
    classes: ClassCounts | None = None
    spectrum: Spectrum | None = None
    ladder: tuple[LadderRow, ...] = ()
    extrapolation: Extrapolation | None = None
    cost: Cost | None = None  # of a model; nothing is known of that of a folder of images
    evaluations: tuple[Evaluations, ...] = ()  # of a sampler that takes steps, fewest first
    units: Units | None = None  # of a model with an encoder
    restoration: Restoration | None = None  # of a model that makes images from images
    recognition: Recognition | None = None  # of a classifier
    cas: ClassificationAccuracyScore | None = None  # of a model that draws classes, where it was asked for
    next: NextStep | None = None  # of a run: what to do about the worst trouble, or with what it can do

    @property
    def verdicts_worst_first(self) -> list[Verdict]:
        """In the order in which they are shown."""
        return worst_first(self.verdicts)

    @property
    def asked(self) -> list[Verdict]:
        """The verdicts whose questions make sense for the subject, worst first."""
        return [v for v in self.verdicts_worst_first if v.asked]

    @property
    def status(self) -> Status:
        """The worst verdict that was asked for; CANNOT TELL where there is none."""
        return next((v.status for v in self.asked), "CANNOT TELL")

    def score(self, name: str) -> Score | None:
        """The first score of that name."""
        return next((s for s in self.scores if s.name == name), None)


_TEXTS = ("subject", "about", "protocol", "versions", "seed", "command", "short", "recipe", "settings", "train_seed", "notes")
_PARTS = ("data", "spectrum", "classes", "extrapolation", "cost", "units", "restoration", "recognition", "cas", "next")


def to_json(report: Report) -> dict[str, Any]:
    """``report.json``: all of the report but its pictures, as docs/report.schema.json describes it.

    Numbers that JSON cannot hold (infinite, not a number) become null.
    """
    tree: dict[str, Any] = {"schema": SCHEMA, "status": report.status}
    tree |= {name: getattr(report, name) for name in _TEXTS}
    tree["scores"] = [_score(score) for score in report.scores]
    tree["notes"] = spelled(report.notes)
    tree["verdicts"] = [_verdict(verdict) for verdict in report.verdicts_worst_first]
    tree |= {name: None if (part := getattr(report, name)) is None else asdict(part) for name in _PARTS}
    for name, near in (("neighbors", report.pictures.neighbors), ("copies", report.pictures.copies)):
        tree[name] = None if near is None else _near(near)
    tree["ladder"] = [{"name": row.name, "scores": dict(row.scores)} for row in report.ladder]
    tree["evaluations"] = [asdict(row) for row in report.evaluations]
    tree["curves"] = None if report.curves is None else asdict(report.curves)
    if report.next is not None:
        tree["next"]["shows"] = as_options(report.next.shows)
    for event in tree["curves"]["events"] if tree["curves"] else ():
        event["says"] = as_options(event["says"])
    return plain(tree)  # type: ignore[no-any-return]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    words = {"says": as_options(verdict.says), "evidence": as_options(verdict.evidence), "remedies": [r.text for r in verdict.remedies]}
    return asdict(verdict) | words


def _near(near: Neighbors) -> dict[str, Any]:
    def beside(names: tuple[str, ...], distances: tuple[float, ...], row: int) -> dict[str, Any] | None:
        return {"name": names[row], "distance": distances[row]} if row < min(len(names), len(distances)) else None

    rows = [
        {
            "image": place,
            "train": beside(near.train_name, near.train_distance, row),
            "holdout": beside(near.holdout_name, near.holdout_distance, row),
        }
        for row, place in enumerate(near.place)
    ]
    return {"features": near.features, "images": rows}


def _score(score: Score) -> dict[str, Any]:
    known = score.interval is not None and all(map(math.isfinite, score.interval))
    tree = asdict(score) | {"interval": score.interval if known else None}
    del tree["likelihood"]  # which `features` says in words
    return tree


def plain(value: Any) -> Any:
    """``value`` in the words of JSON: numpy numbers and arrays unpacked, tuples as lists, non-finite numbers as null.

    >>> plain({"a": np.float32(0.5), "b": (1, float("nan"))})
    {'a': 0.5, 'b': [1, None]}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
