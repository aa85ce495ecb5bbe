"""Image recognition: what all classifiers share, and residual and densely connected ones, whose game is cross entropy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from calotype.errors import UserError
from calotype.networks.blocks import evaluating
from calotype.networks.densenet import DenseNet
from calotype.networks.resnet import ResNet, ResNet9
from calotype.settings import Depth, Part, Width, unless
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step


@dataclass(frozen=True)
class Varying:
    """How labels are softened and training images varied, whatever the network: moved and scaled a little, and never turned over."""

    smooth: Part = 0.1  # label smoothing: the share of belief spread over all classes
    shift: Part = 0.1  # largest move of a training image, as a share of its side
    rotate: Annotated[float, Field(ge=0, le=45)] = 0.0  # largest turn in degrees
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # largest enlargement or reduction
    erase: Part = 0.0  # side of a square of each training image that is made gray, as a share of its side


@dataclass(frozen=True)
class ResNetConfig(Varying):
    """A residual network and how its training images are varied."""

    kind: Literal["resnet"] = "resnet"
    network: Literal["basic", "resnet9"] = "basic"  # of many narrow layers (He et al. 2016), or of nine wide ones (Page 2018)
    depth: Depth = 8  # layers of the basic one: 6n + 2, of which three stages have 2n each
    width: Annotated[Width, Field(ge=4)] = 24  # channels of the first map; they double wherever maps are halved

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.network == "basic", "`model.network=basic`", "depth")


@dataclass(frozen=True)
class DenseNetConfig(Varying):
    """A densely connected network and how its training images are varied."""

    kind: Literal["densenet"] = "densenet"
    depth: Depth = 22  # layers: 6n + 4, of which three dense blocks have 2n each
    growth: Annotated[Width, Field(ge=2)] = 12  # channels that each layer adds
    compression: Annotated[float, Field(gt=0, le=1)] = 0.5  # the share of the channels that is kept between two dense blocks
    dropout: Part = 0.0  # share of the numbers of each new map that is dropped in training


class ImageClassifier(Model):
    """A network that tells classes apart, trained by cross entropy on images that are varied at random.

    Raises:
        UserError: where the images have no labels, or only one class.
    """

    draws = False
    config: Any  # with the settings of `Varying`
    network: Any  # ``features(x)``, ``logits_of(features)``, and both as its call

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        if len(spec.classes) < 2:
            what = "no labels" if not spec.classes else "one class only"
            raise UserError(f"a classifier needs images of two classes or more, and these have {what}: give data with class subfolders")
        self.spec = spec

    def players(self) -> Sequence[Player]:
        """The one network."""
        return (Player("recognizer", self.network, self._loss),)

    @property
    def dimension(self) -> int:
        """Numbers of the features of an image."""
        dimension: int = self.network.dimension
        return dimension

    @property
    def backbone(self) -> nn.Module:
        """The network."""
        network: nn.Module = self.network
        return network

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, dimension) float32, of images (N, C, H, W) in [-1, 1]."""
        found: Tensor = self.network.features(x)
        return found

    def logits_of(self, features: Tensor) -> Tensor:
        """(N, classes) float32 of features (N, dimension)."""
        logits: Tensor = self.network.logits_of(features)
        return logits

    def logits(self, x: Tensor) -> Tensor:
        """(N, classes) float32 of images (N, C, H, W) in [-1, 1]."""
        logits: Tensor = self.network(x)
        return logits

    def probabilities(self, features: Tensor) -> Tensor:
        """Beliefs (N, classes), rows summing to 1, from features (N, dimension), with the smoothing of the labels undone.

        Trained on labels (1 - s) y + s / K the network learns p = (1 - s) q + s / K of the belief q that it was asked for.
        """
        share: float = self.config.smooth
        p = self.logits_of(features).softmax(1)
        q = ((p - share / p.shape[1]) / (1 - share)).clamp_min(0)
        return q / q.sum(1, keepdim=True)

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Raise `UserError`: a classifier draws no images."""
        raise UserError("a classifier draws no images: give it to calotype classify or, as `features`, to calotype evaluate")

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The share of unvaried training and holdout images recognized, and the cross entropy on the holdout."""
        with evaluating(self.network):
            on_train, on_holdout = self.logits(train.image), self.logits(holdout.image)
        return {
            "accuracy_train": accuracy(on_train, labels_in(train)),
            "accuracy_holdout": accuracy(on_holdout, labels_in(holdout)),
            "loss_holdout": functional.cross_entropy(on_holdout, labels_in(holdout)),
        }

    def _varied(self, batch: Batch, step: Step) -> Tensor:
        c = self.config
        return erased(varied(batch.image, step.rng, c.shift, c.rotate, c.scale), step.rng, c.erase)

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        label = labels_in(batch)
        logits = self.network(self._varied(batch, step))
        return {
            "loss": functional.cross_entropy(logits, label, label_smoothing=self.config.smooth),
            "accuracy": accuracy(logits, label),
        }


class ResNetClassifier(ImageClassifier):
    """A residual network (He et al. 2016; Page 2018) trained by cross entropy."""

    def __init__(self, config: ResNetConfig, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.config = config
        shape = spec.channels, len(spec.classes), spec.size
        if config.network == "basic":
            self.network = ResNet(*shape, depth=config.depth, width=config.width)
        else:
            self.network = ResNet9(*shape, width=config.width)


class DenseNetClassifier(ImageClassifier):
    """A densely connected network (Huang et al. 2017) trained by cross entropy."""

    def __init__(self, config: DenseNetConfig, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.config = config
        self.network = DenseNet(
            spec.channels,
            len(spec.classes),
            spec.size,
            depth=config.depth,
            growth=config.growth,
            compression=config.compression,
            dropout=config.dropout,
        )


def varied(image: Tensor, rng: torch.Generator, shift: float, rotate: float, scale: float) -> Tensor:
    """Images (N, C, H, W), each moved, turned and scaled at random, bilinear, the border continued outwards.

    What is only moved is moved by whole pixels, as papers pad and crop: nothing is blurred.

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
    moved, side = shift * u[2:], image.shape[-1]
    if not (rotate or scale):
        moved = (moved * side).round() / side
    angle, zoom = u[0] * math.radians(rotate), 1 + u[1] * scale
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    # the map from where a pixel goes to where it comes from, in coordinates in which the image spans [-1, 1]
    rows = torch.stack([cos, -sin, 2 * moved[0], sin, cos, 2 * moved[1]], 1).view(-1, 2, 3)
    with torch.autocast(image.device.type, enabled=False):  # bfloat16 cannot tell neighboring pixels of a large image apart
        grid = functional.affine_grid(rows, list(image.shape), align_corners=False)
        return functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def erased(image: Tensor, rng: torch.Generator, share: float) -> Tensor:
    """Images (N, C, H, H), each with a square of ``share`` of its side at zero, anywhere within it (DeVries & Taylor 2017, cutout)."""
    side = image.shape[-1]
    if not (hole := round(share * side)):
        return image
    corner = (torch.rand(2, len(image), 1, generator=rng, device=image.device) * (side - hole + 1)).floor()
    places = torch.arange(side, device=image.device)
    down, across = ((places >= start) & (places < start + hole) for start in corner)
    return image.masked_fill((down[:, :, None] & across[:, None])[:, None], 0.0)


def accuracy(logits: Tensor, label: Tensor) -> Tensor:
    """The share of images whose class (N,) has the largest logit of (N, classes)."""
    return (logits.detach().argmax(1) == label).float().mean()


def labels_in(batch: Batch) -> Tensor:
    """The labels of a batch, (N,). Raises `UserError` where it has none."""
    if batch.condition.label is None:
        raise UserError("a classifier needs images with labels: give data with class subfolders")
    return batch.condition.label
