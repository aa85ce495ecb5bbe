"""A classifier of few photographs: it starts from a network that knows photographs, learns its last layer at once, and tunes the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.losses.logistic import logistic
from calotype.models.recognition import ImageClassifier, Varying, labels_in
from calotype.networks.blocks import FeatureClassifier
from calotype.networks.efficientnet import FEATURES, STAGES, EfficientNetLite, folded
from calotype.networks.published import LITE0, published
from calotype.settings import Count, Part, Positive
from calotype.types import Batch, ImageSpec

PARTS = len(STAGES) + 1  # the stages and the head


@dataclass(frozen=True)
class TransferConfig(Varying):
    """How much of the network is tuned, and how training images are varied."""

    kind: Literal["transfer"] = "transfer"
    tune: Annotated[int, Field(ge=0, le=PARTS)] = 3  # parts of the network that are trained, from the last: head, stage 7, stage 6 ...
    dropout: Part = 0.2  # share of the features dropped in training
    probe: Count = 20_000  # training images at most from which the last layer is learned before the first step
    decay: Positive = 1e-2  # of the weights of the last layer while it is learned at once


class TransferNetwork(FeatureClassifier):
    """EfficientNet-Lite0 (Tan & Le 2019) with a last layer of its own.

    Args:
        classes: to tell apart.
        tune: parts that are trained, from the last: the head, then stages.
        dropout: share of the features dropped in training.
    """

    dimension = FEATURES

    def __init__(self, classes: int, *, tune: int, dropout: float) -> None:
        super().__init__()
        self.photographs = EfficientNetLite()
        del self.photographs.classify
        parts = [*self.photographs.stages, self.photographs.head]
        self.photographs.requires_grad_(False)
        for part in parts[PARTS - tune :]:
            part.requires_grad_(True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, classes)

    def load_published(self) -> None:
        """Take the published weights. Raises `UserError` where the package that carries them is not installed."""
        state = folded(published(LITE0))
        self.photographs.load_state_dict({name: t for name, t in state.items() if not name.startswith("classify.")})

    def features(self, x: Tensor) -> Tensor:
        """Means of the head, (N, 1280) float32, of images (N, C, H, W) in [-1, 1]; gray ones are met as gray photographs."""
        color = ((x * 127.5 + 0.5) / 128).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)  # as it was trained
        maps = self.photographs.maps(color)[-1]
        return F.relu6(self.photographs.head(maps)).float().mean((2, 3))


class TransferClassifier(ImageClassifier):
    """A linear judge of what a network of photographs sees, and then the last parts of that network trained with it.

    What is learned before the first step is logistic regression on the features of the images as they are (a linear probe); training
    goes on from there (Kumar et al. 2022 show that the other order distorts the features).
    """

    bf16_pays = False  # depthwise convolutions go backward more slowly in it
    mirror_pays = False  # what photographs taught hardly changes with it

    def __init__(self, config: TransferConfig, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.config = config
        self.network = TransferNetwork(len(spec.classes), tune=config.tune, dropout=config.dropout)

    @property
    def first_images(self) -> int:
        """How many images `learn_first` takes at most."""
        images: int = self.config.probe
        return images

    @torch.no_grad()
    def learn_first(self, batches: Iterable[Batch], *, started: bool = False) -> None:
        """As `calotype.capabilities.LearnsFirst` says: the network of photographs is the published one, or the one that another run tuned.

        Raises:
            UserError: where the published weights are needed and not installed, and for images that are all of one class.
        """
        if not started:
            self.network.load_published()
        found = [(self.network.features(batch.image), labels_in(batch)) for batch in batches]
        features, labels = (torch.cat(part) for part in zip(*found, strict=True))
        if int(labels.min()) == int(labels.max()):
            raise UserError("the training images are all of one class: there is nothing to tell apart")
        weight, bias = logistic(features, labels, len(self.spec.classes), self.config.decay)
        self.network.head.weight.copy_(weight)
        self.network.head.bias.copy_(bias)
