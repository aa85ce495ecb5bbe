"""A classifier: one player learns to tell labelled images apart. It draws nothing; it makes feature spaces to score others in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from calotype.models.recognition import ImageClassifier, accuracy, labels_in
from calotype.networks.recognizer import Recognizer
from calotype.precise import pooled
from calotype.settings import NotNegative, Part, Width
from calotype.types import Batch, ImageSpec, Step

PICTURE = 14  # pixels a side of the picture that the features must remember


@dataclass(frozen=True)
class ClassifierConfig:
    """A recognizer and how its training images are varied."""

    kind: Literal["classifier"] = "classifier"
    width: Annotated[Width, Field(ge=4)] = 16  # channels of the first maps
    features: Annotated[Width, Field(ge=2)] = 64  # numbers of the penultimate layer, the feature space
    dropout: Part = 0.2  # share of the features dropped in training
    smooth: Part = 0.1  # label smoothing: the share of belief spread over all classes
    redraw: NotNegative = 5.0  # weight of drawing a coarse picture from the features, so that they keep more than a class
    shift: Part = 0.08  # largest move of a training image, as a share of its side
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0  # largest turn in degrees
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # largest enlargement or reduction
    erase: Part = 0.0  # side of a square of each training image that is made gray, as a share of its side


class Classifier(ImageClassifier):
    """A recognizer trained by cross entropy on images moved, turned and scaled at random.

    Cross entropy alone lets the features of a class shrink to a point (neural collapse, Papyan et al. 2020): they could not tell
    a generator that draws every image of a class alike from one that draws them as varied as they are. A linear layer must
    therefore also draw a coarse picture of the image from the same features (Le et al. 2018, supervised autoencoders).

    Raises:
        UserError: where the images have no labels, or only one class.
    """

    def __init__(self, config: ClassifierConfig, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.config = config
        self.network = Recognizer(
            spec.channels,
            len(spec.classes),
            spec.size,
            width=config.width,
            features=config.features,
            dropout=config.dropout,
            picture=min(PICTURE, spec.size) if config.redraw else 0,
        )

    @property
    def dimension(self) -> int:
        """Numbers of the features of an image."""
        features: int = self.config.features
        return features

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        c, label = self.config, labels_in(batch)
        image = self._varied(batch, step)
        features = self.network.features(image)
        logits = self.network.logits_of(features)
        named = functional.cross_entropy(logits, label, label_smoothing=c.smooth)
        if not c.redraw:
            return {"loss": named, "accuracy": accuracy(logits, label)}
        drawn = self.network.picture_of(features)
        redrawn = functional.mse_loss(drawn, pooled(image.float(), drawn.shape[-1]))
        return {"loss": named + c.redraw * redrawn, "class": named, "redraw": redrawn, "accuracy": accuracy(logits, label)}
