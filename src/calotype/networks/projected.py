"""A discriminator that sees images through fixed features of photographs (Sauer et al. 2021, Projected GANs converge faster)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.adversary import ImageDiscriminator
from calotype.networks.blocks import add_spectral_norm
from calotype.networks.efficientnet import prepared
from calotype.networks.published import LITE1, PhotographEye, lite
from calotype.networks.recognizer import RandomNetwork
from calotype.settings import Share, Width

SEED = 1862  # of the random mixing, and of random features: no score uses it
RANDOM = (48, 64, 96, 128)  # widths of random features
PHOTOS = (2, 3, 5, 7)  # the stages of the network of photographs after which features are taken: at a 4th to a 32nd of the side
SPREAD = (11.6, 10.7, 8.3, 3.9)  # standard deviation of these features of photographs: all sizes are to weigh the same
SMALLEST = 64  # pixels a side that the network of photographs sees: smaller images are enlarged, which it was found worth its time
CHANNELS = {"photos": (24, 40, 112, 320), "random": tuple(2 * width for width in RANDOM)}


@dataclass(frozen=True)
class ProjectedDiscriminatorConfig:
    """A discriminator on fixed features, of which several sizes are mixed at random."""

    network: Literal["projected"] = "projected"  # small heads on fixed features
    features: Literal["photos", "random"] = "photos"  # of a network that knows photographs (EfficientNet-Lite1), or of a random one
    width: Width = 64  # channels that the features are mixed to
    warmup: Share = 0.25  # share of the run in which a plain convolutional discriminator teaches first
    norm: ClassVar[str] = "none"
    spectral: ClassVar[bool] = True


class ProjectedDiscriminator(ImageDiscriminator):
    """Images (N, C, H, W) to logits (N, K) float32, one for each place that one of four heads sees.

    The features of a fixed network at four sizes are mixed by random 1x1 convolutions (cross-channel mixing) and, from the smallest
    to the largest, added up through random 3x3 convolutions (cross-scale mixing). None of these weights is trained or saved: the
    random ones are the same everywhere. One head for each size, spectrally normalized, is what is trained.

    Until a share ``warmup`` of the run is over, ``plain`` teaches in their place, a discriminator that sees pixels: images that are not yet
    like anything all look alike to a network that knows photographs.
    """

    def __init__(
        self, shape: tuple[int, int, int], *, classes: int = 0, features: str = "photos", width: int = 64, warmup: float = 0.0
    ) -> None:
        super().__init__()
        self.warmup = warmup
        self.changes_at = (warmup,) if warmup else ()
        if warmup:  # whether the heads have played: a budget that grows lets no plain discriminator teach again, who fell behind
            self.register_buffer("taught", torch.zeros((), dtype=torch.bool))
        self.plain: nn.Module | None = None
        self.through = (LITE1.network,) if features == "photos" else ()
        self.random = None if self.through else RandomNetwork(shape[0], SEED, RANDOM, saved=False)
        rng = np.random.RandomState(SEED)
        self.levels = len(CHANNELS[features])
        for level, channels in enumerate(CHANNELS[features]):
            self.register_buffer(f"across{level}", _kaiming(rng, (width, channels, 1, 1)), persistent=False)
            self.register_buffer(f"scales{level}", _kaiming(rng, (width, width, 3, 3)), persistent=False)
        # random features begin at half of the side, those of photographs at a quarter, of images of 64 pixels at least
        side = max(shape[1], SMALLEST) if self.random is None else 2 * shape[1]
        self.width = width
        self.sides = [-(-side // 2 ** (level + 2)) for level in range(self.levels)]
        self.heads = nn.ModuleList(_Head(width, side, classes) for side in self.sides)
        add_spectral_norm(self)

    def taught_by(self, plain: nn.Module) -> None:
        """Let another discriminator teach first; images meet in it."""
        self.plain, self.mixes_batch = plain, True

    @property
    def plays(self) -> bool:
        """Whether the heads judge, and not ``plain``."""
        return not self.warmup or bool(self.get_buffer("taught"))

    def reach(self, progress: float) -> None:
        """Let the heads judge once the warm-up is over. Once they have they always do, however large the budget becomes."""
        if self.warmup:
            self.get_buffer("taught").logical_or_(torch.tensor(progress >= self.warmup))

    def look(self, images: Tensor) -> Tensor:
        """What `project` makes of images, where the heads judge."""
        return self.project(images) if self.plays else images

    def ready(self) -> None:
        """Find the weights before anything is trained.

        Raises:
            UserError: where they are not there, or are not the published ones.
        """
        if self.through:
            PhotographEye(LITE1, PHOTOS[-1]).ready("take `model.discriminator.features=random`")

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of what `project` made of images, (N, K); of images (N, C, H, W) themselves what ``plain`` says, if there is one."""
        if image.ndim == 4 and self.plain is not None:
            opinion: Tensor = self.plain(image, label)
            return opinion
        mixed = self.project(image) if image.ndim == 4 else image
        maps = torch.split(mixed, [self.width * side**2 for side in self.sides], dim=1)
        logits = [
            head(part.view(len(part), side, side, self.width).permute(0, 3, 1, 2), label)
            for head, part, side in zip(self.heads, maps, self.sides, strict=True)
        ]
        return torch.cat(logits, dim=1)

    def project(self, image: Tensor) -> Tensor:
        """The mixed features of images (N, C, H, W): (N, F), of all sizes one after another, in each the channels last."""
        mixed: Tensor | None = None
        found = []
        for level, features in reversed(list(enumerate(self._features(image)))):
            own = F.conv2d(features, self.get_buffer(f"across{level}"))
            if mixed is not None:
                own = own + F.interpolate(mixed, own.shape[2:], mode="bilinear", align_corners=False)
            mixed = F.conv2d(own, self.get_buffer(f"scales{level}"), padding=1)
            found.append(mixed.permute(0, 2, 3, 1).flatten(1))
        return torch.cat(found[::-1], dim=1)

    def _features(self, image: Tensor) -> list[Tensor]:
        if self.random is not None:
            maps: list[Tensor] = self.random.maps(image)
            return maps
        network = lite(LITE1, str(image.device))
        seen = prepared((image.float() + 1) * 127.5, max(image.shape[2], SMALLEST)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(image.device.type, enabled=False):
            all_maps = network.maps(seen, PHOTOS[-1])
        return [all_maps[stage - 1] / spread for stage, spread in zip(PHOTOS, SPREAD, strict=True)]


class _Head(nn.Module):
    """Halves a map down to at most four places a side, then says of each neighborhood whether it is real."""

    def __init__(self, width: int, side: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > 4:
            layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
            width, side = 2 * width, side // 2
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.logit = nn.Conv2d(width, 1, min(side, 4))
        self.embed = nn.Embedding(classes, width) if classes else None

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(N, width, side, side) to (N, places)."""
        hidden = self.layers(x)
        with torch.autocast(x.device.type, enabled=False):
            hidden = hidden.float()
            logits: Tensor = self.logit(hidden).flatten(1)
            if self.embed is not None and label is not None:
                logits = logits + (hidden.mean((2, 3)) * self.embed(label)).sum(1, keepdim=True)
            return logits


def _kaiming(rng: np.random.RandomState, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers that keep the scale of what passes (He et al. 2015); the streams of ``RandomState`` are frozen."""
    return torch.from_numpy((rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))
