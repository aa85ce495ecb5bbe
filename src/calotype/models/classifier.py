"""A classifier: one player learns to tell labelled images apart. It draws nothing; it makes feature spaces to score others in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from calotype.errors import UserError
from calotype.networks.blocks import evaluating
from calotype.networks.recognizer import Recognizer
from calotype.precise import pooled
from calotype.settings import NotNegative, Part, Width
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step

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


class Classifier(Model):
    """A recognizer trained by cross entropy on images moved, turned and scaled at random.

    Cross entropy alone lets the features of a class shrink to a point (neural collapse, Papyan et al. 2020): they could not tell
    a generator that draws every image of a class alike from one that draws them as varied as they are. A linear layer must
    therefore also draw a coarse picture of the image from the same features (Le et al. 2018, supervised autoencoders).

    Raises:
        UserError: where the images have no labels, or only one class.
    """

    draws = False

    def __init__(self, config: ClassifierConfig, spec: ImageSpec) -> None:
        super().__init__()
        if len(spec.classes) < 2:
            what = "no labels" if not spec.classes else "one class only"
            raise UserError(f"a classifier needs images of two classes or more, and these have {what}: give data with class subfolders")
        self.config = config
        self.spec = spec
        self.network = Recognizer(
            spec.channels,
            len(spec.classes),
            spec.size,
            width=config.width,
            features=config.features,
            dropout=config.dropout,
            picture=min(PICTURE, spec.size) if config.redraw else 0,
        )

    def players(self) -> Sequence[Player]:
        """The recognizer."""
        return (Player("recognizer", self.network, self._loss),)

    @property
    def dimension(self) -> int:
        """Numbers of the features of an image."""
        return self.config.features

    @property
    def backbone(self) -> nn.Module:
        """The recognizer."""
        return self.network

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, features) float32, of images (N, C, H, W) in [-1, 1]."""
        return self.network.features(x)

    def logits(self, x: Tensor) -> Tensor:
        """(N, classes) float32 of images (N, C, H, W) in [-1, 1]."""
        logits: Tensor = self.network(x)
        return logits

    def probabilities(self, features: Tensor) -> Tensor:
        """Beliefs (N, classes), rows summing to 1, from features (N, features), with the smoothing of the labels undone.

        Trained on labels (1 - s) y + s / K the network learns p = (1 - s) q + s / K of the belief q that it was asked for.
        """
        share = self.config.smooth
        p = self.network.logits_of(features).softmax(1)
        q = ((p - share / p.shape[1]) / (1 - share)).clamp_min(0)
        return q / q.sum(1, keepdim=True)

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Raise `UserError`: a classifier draws no images."""
        raise UserError("a classifier draws no images: give it to calotype evaluate as `features`, and sample from a generator")

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The share of unvaried training and holdout images recognized, and the cross entropy on the holdout."""
        with evaluating(self.network):
            on_train, on_holdout = self.logits(train.image), self.logits(holdout.image)
        return {
            "accuracy_train": _accuracy(on_train, _labels(train)),
            "accuracy_holdout": _accuracy(on_holdout, _labels(holdout)),
            "loss_holdout": functional.cross_entropy(on_holdout, _labels(holdout)),
        }

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        c, label = self.config, _labels(batch)
        image = varied(batch.image, step.rng, c.shift, c.rotate, c.scale)
        features = self.network.features(image)
        logits = self.network.logits_of(features)
        named = functional.cross_entropy(logits, label, label_smoothing=c.smooth)
        if not c.redraw:
            return {"loss": named, "accuracy": _accuracy(logits, label)}
        drawn = self.network.picture_of(features)
        redrawn = functional.mse_loss(drawn, pooled(image.float(), drawn.shape[-1]))
        return {"loss": named + c.redraw * redrawn, "class": named, "redraw": redrawn, "accuracy": _accuracy(logits, label)}


def varied(image: Tensor, rng: torch.Generator, shift: float, rotate: float, scale: float) -> Tensor:
    """Images (N, C, H, W), each moved, turned and scaled at random, bilinear, the border continued outwards.

    Args:
        image: float32; not changed.
        rng: of the step, on the device of the images.
        shift: largest move as a share of the side.
        rotate: largest turn in degrees.
        scale: largest relative change of the size.
    """
    if not (shift or rotate or scale):
        return image
    u = torch.rand(4, len(image), generator=rng, device=image.device) * 2 - 1
    angle, zoom = u[0] * math.radians(rotate), 1 + u[1] * scale
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # the map from where a pixel goes to where it comes from, in coordinates in which the image spans [-1, 1]
    rows = torch.stack([cos, -sin, 2 * shift * u[2], sin, cos, 2 * shift * u[3]], 1).view(-1, 2, 3)
    with torch.autocast(image.device.type, enabled=False):  # bfloat16 cannot tell neighboring pixels of a large image apart
        grid = functional.affine_grid(rows, list(image.shape), align_corners=False)
        return functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _accuracy(logits: Tensor, label: Tensor) -> Tensor:
    return (logits.detach().argmax(1) == label).float().mean()


def _labels(batch: Batch) -> Tensor:
    if batch.condition.label is None:
        raise UserError("a classifier needs images with labels: give data with class subfolders")
    return batch.condition.label
