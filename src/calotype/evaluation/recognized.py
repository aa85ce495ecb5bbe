"""What a report says of a classifier besides its scores: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from calotype.metrics.confidence import Reliability
from calotype.metrics.paired_accuracy import ComparedAccuracy
from calotype.metrics.score import Interval


@dataclass(frozen=True)
class ClassAccuracy:
    """How well one class is told from the others, on held-out images. Intervals of 95% are exact (Clopper & Pearson 1934)."""

    name: str
    n: int  # images of it
    named: int  # images that were taken for it
    precision: float | None  # the share of these that are of it; None where there are none
    precision_interval: Interval | None
    recall: float | None  # the share of its images that were taken for it
    recall_interval: Interval | None


@dataclass(frozen=True)
class NamedImage:
    """One image and what it was taken for."""

    image: str  # its file, or its place in the data
    label: str
    named: str
    probability: float  # of the class that it was taken for


@dataclass(frozen=True)
class Recognition:
    """Images of known classes, and what a classifier took them for."""

    classes: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]  # images of each class (rows) by what they were taken for (columns)
    right: int  # held-out images that were named rightly
    n: int  # held-out images
    interval: Interval  # of the share, exact, 95%
    train_right: int | None  # training images that were named rightly; None where they are not known
    train_n: int  # of so many
    temperature: float  # that logits are divided by
    own_temperature: bool  # whether it was learned from these images, each half of which was then judged at the temperature of the other
    before: Reliability  # of the beliefs without the temperature
    after: Reliability  # with it
    unlike: float | None  # the share of held-out images that would be called unlike the training images; None where that is not known
    mistakes: tuple[NamedImage, ...]  # held-out images that were firmly taken for something else, the firmest first
    suspects: tuple[NamedImage, ...]  # training images whose labels are doubtful, the most doubtful first
    suspected: int  # of them in all
    checked: int  # training images that were looked at for that; 0 where they are not known
    labels: int | None = None  # training images whose labels it knew, where the others' were hidden
    labels_only: ComparedAccuracy | None = None  # the same network trained on these alone, where the model learned from the others, too


@dataclass(frozen=True)
class TaughtRecall:
    """Held-out images of one class that are recognized by what generated images teach, and by what real ones do. Intervals are exact."""

    name: str
    n: int  # held-out images of it
    generated: int  # recognized by the classifier that saw generated images alone
    generated_interval: Interval  # 95%, of the share
    real: int  # by the one that saw real images
    real_interval: Interval

    @property
    def lost(self) -> bool:
        """Whether generated images teach this class worse than real ones beyond doubt: the intervals lie apart."""
        return self.generated_interval[1] < self.real_interval[0]


@dataclass(frozen=True)
class ClassificationAccuracyScore:
    """How much of the real images a classifier recognizes that was trained on generated ones; and the same one, trained on real images."""

    right: int  # held-out real images that it names rightly
    n: int  # of so many
    interval: Interval  # of the share, exact, 95%
    real: ComparedAccuracy  # the same network, trained in as many steps on as many real images
    images: int  # that either was trained on, as many of each class
    steps: int
    classifier: str  # its recipe
    classes: tuple[TaughtRecall, ...]

    @property
    def accuracy(self) -> float:
        """The share that is named rightly: the score."""
        return self.right / self.n
