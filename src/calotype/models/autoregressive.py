"""Autoregressive models: the probability of an image is the product of those of its pixels, each given the ones before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.losses.mixture import invert, mixture_log_prob, mixture_sample, mixture_size, spread_start
from calotype.networks.blocks import evaluating
from calotype.networks.pixel_transformer import PixelTransformer
from calotype.networks.pixelcnn import PixelCNN
from calotype.settings import Depth, Part, Positive, Width, unless
from calotype.types import Batch, Condition, ImageSpec, Likelihood, Model, Noise, Player, SamplingOptions, Step, chosen

LEAST_BATCH = 8  # matrix products of fewer rows take another path, whose sums are rounded otherwise


@dataclass(frozen=True)
class AutoregressiveConfig:
    """A network that sees the pixels before one, and the distribution that it gives that one."""

    kind: Literal["autoregressive"] = "autoregressive"  # the family
    network: Literal["pixelcnn", "transformer"] = "pixelcnn"  # gated convolutions, or attention to all earlier pixels
    conditional: bool = True  # learn the classes where the data have labels
    width: Annotated[Width, Field(ge=8)] = 64  # features of each position
    depth: Depth = 6  # layers
    heads: Width = 4  # of the attention (transformer)
    segment: Annotated[int, Field(ge=1, le=1024)] = 4  # pixels in a row that share one token (transformer)
    dropout: Part = 0.0  # share of features dropped in training
    # of a sub-pixel: one probability for each of the 256 values, or a mixture of logistic distributions over them
    output: Literal["softmax", "mixture"] = "softmax"
    components: Depth = 10  # of the mixture
    temperature: Positive = 1.0  # of the samples: below 1 for likelier and less varied images

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return {
            **unless(self.network == "transformer", "`model.network=transformer`", "heads", "segment"),
            **unless(self.output == "mixture", "`model.output=mixture`", "components"),
        }


@dataclass(frozen=True)
class AutoregressiveSampling(SamplingOptions):
    """How an autoregressive model draws."""

    temperature: Positive | None = None  # below 1 for likelier and less varied images


class Autoregressive(Model):
    """The pixels of an image, row by row from the upper left, each drawn from a distribution given those before it.

    The order within a pixel is that of the colors. The likelihood is exact, and so is sampling, pixel by pixel (van den Oord et
    al. 2016). Without labels the model is unconditional.

    Args:
        config: of the model.
        spec: of the images.
        levels: values of a sub-pixel under a softmax, evenly spaced over [-1, 1]: 256 but where all images are to be enumerated.

    Raises:
        UserError: where options contradict each other.
    """

    sampling = AutoregressiveSampling
    in_order = True
    pixelwise = True

    def __init__(self, config: AutoregressiveConfig, spec: ImageSpec, levels: int = 256) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.classes = len(spec.classes) if config.conditional else 0
        self.conditional = self.classes > 0
        body = _network(config, spec, self.classes)
        if config.output == "softmax":
            self.network = PixelDistribution(body, SoftmaxHead(config.width, spec.channels, levels))
        else:
            self.network = PixelDistribution(body, MixtureHead(config.width, spec.channels, config.components))

    def players(self) -> Sequence[Player]:
        """The network with the distribution that it ends in."""
        return (Player("pixels", self.network, self._loss),)

    def log_prob(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Log-probability in nats, (N,) float32, of 8-bit images (N, C, H, W)."""
        nats: Tensor = self.network(x, self.needed(condition))
        return nats

    @torch.no_grad()
    def located(self, x: Tensor, condition: Condition, rng: torch.Generator) -> dict[str, Tensor]:
        """As `calotype.capabilities.LocatesLikelihood` says: exact, each pixel given those before it."""
        return {"pixels": self.network.located(x, self.needed(condition))}

    def likelihoods(self) -> Sequence[Likelihood]:
        """The exact one."""
        return (Likelihood("exact", "exact", lambda x, condition, rng: self.log_prob(x, condition)),)

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """Bits per sub-pixel of images that are trained on, and of others that are not."""
        with evaluating(self):
            return {"bits_train": self._bits(train), "bits_holdout": self._bits(holdout)}

    @torch.no_grad()
    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1] of 8-bit values, exactly from the distribution of the model.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none: those of a conditional model are drawn uniformly then.
            options: `AutoregressiveSampling`.

        Raises:
            UserError: for labels that the model does not know.
        """
        label, given = self.wanted(noise, condition), chosen(AutoregressiveSampling, options)
        return self._draw(torch.zeros(noise.n, *self.spec.shape, device=noise.device), 0, noise, label, given.temperature)

    @torch.no_grad()
    def complete(self, known: Tensor, rows: int, noise: Noise, condition: Condition | None = None) -> Tensor:
        """(N, C, H, W) images whose first ``rows`` rows are those of ``known``, and whose others are drawn given them.

        Raises:
            UserError: for labels that the model does not know, or rows that the images do not have.
        """
        if not 0 <= rows <= self.spec.size:
            raise UserError(f"images of {self.spec.size} rows cannot be completed from {rows} rows")
        canvas = torch.zeros_like(known, device=noise.device)
        canvas[:, :, :rows] = known[:, :, :rows]
        return self._draw(canvas, rows, noise, self.wanted(noise, condition), None)

    def _draw(self, canvas: Tensor, first: int, noise: Noise, label: Tensor | None, temperature: float | None) -> Tensor:
        """``canvas`` with the rows from ``first`` on filled in."""
        n, channels, height, columns = canvas.shape
        temperature = self.config.temperature if temperature is None else temperature
        extra = max(0, LEAST_BATCH - n)
        uniform = torch.cat([noise.uniform(height, columns, channels + 1), canvas.new_zeros(extra, height, columns, channels + 1)])
        canvas = torch.cat([canvas, canvas.new_zeros(extra, *canvas.shape[1:])])
        label = None if label is None else torch.cat([label, label.new_zeros(extra)])
        for row, column, features in self.network.body.visit(canvas, label, first):
            canvas[:, :, row, column] = self.network.head.draw(features, uniform[:, row, column], temperature)
        return canvas[:n]

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": self._bits(batch)}

    def _bits(self, batch: Batch) -> Tensor:
        return -self.log_prob(batch.image, batch.condition).mean() / self.spec.nats_per_bit


def _network(config: AutoregressiveConfig, spec: ImageSpec, classes: int) -> PixelCNN | PixelTransformer:
    if config.network == "pixelcnn":
        return PixelCNN(spec.shape, width=config.width, depth=config.depth, classes=classes, dropout=config.dropout)
    if config.width % config.heads:
        raise UserError(f"{config.width} features cannot be shared by {config.heads} heads: give a divisor with `model.heads`")
    return PixelTransformer(
        spec.shape,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        segment=config.segment,
        classes=classes,
        dropout=config.dropout,
    )


class PixelDistribution(nn.Module):
    """A network that sees the pixels before one, and the distribution that it gives that one."""

    def __init__(self, body: PixelCNN | PixelTransformer, head: SoftmaxHead | MixtureHead) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Log-probabilities in nats, (N,) float32, of images (N, C, H, W)."""
        return self.located(x, label).flatten(1).sum(1)

    def located(self, x: Tensor, label: Tensor | None) -> Tensor:
        """The same of each pixel given those before it, (N, H, W)."""
        features = self.body(x, label)
        chances: Tensor = self.head(features.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1))
        return chances


class SoftmaxHead(nn.Module):
    """One probability for each value of a sub-pixel (van den Oord et al. 2016, section 3.1), given features and earlier colors.

    All probabilities are equal at first.

    Args:
        width: features of a pixel.
        channels: sub-pixels of a pixel.
        levels: values of a sub-pixel, evenly spaced over [-1, 1].
    """

    def __init__(self, width: int, channels: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.earlier = nn.ModuleList(nn.Linear(channel, width) for channel in range(1, channels))
        self.logits = nn.ModuleList(nn.Linear(width, levels) for _ in range(channels))
        for parameter in self.logits.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probabilities (...) float32 of pixels (..., C) in [-1, 1] given features (..., width)."""
        target = ((x + 1) * (0.5 * (self.levels - 1))).round().long()
        chances = [
            F.cross_entropy(self.logits_of(features, x, channel).flatten(0, -2), target[..., channel].flatten(), reduction="none")
            for channel in range(x.shape[-1])
        ]
        return -torch.stack(chances).sum(0).view(x.shape[:-1])

    def draw(self, features: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Pixels (N, C) drawn given features (N, width) and numbers (N, C + 1) uniform in [0, 1), the last of which is not needed."""
        x = features.new_zeros(len(features), uniform.shape[1] - 1)
        for channel in range(x.shape[1]):
            chances = F.softmax(self.logits_of(features, x, channel) / temperature, dim=-1)
            x[:, channel] = invert(chances, uniform[:, channel]) / (0.5 * (self.levels - 1)) - 1
        return x

    def logits_of(self, features: Tensor, x: Tensor, channel: int) -> Tensor:
        """Logits (..., levels) float32 of one color given features (..., width) and the colors (..., C) before it."""
        if channel:
            features = F.silu(features + self.earlier[channel - 1](x[..., :channel]))
        logits: Tensor = self.logits[channel](features)
        return logits.float()


class MixtureHead(nn.Module):
    """A mixture of discretized logistic distributions (Salimans et al. 2017), its parameters linear in the features.

    Args:
        width: features of a pixel.
        channels: sub-pixels of a pixel.
        components: of the mixture.
    """

    def __init__(self, width: int, channels: int, components: int) -> None:
        super().__init__()
        self.parameters_of = nn.Linear(width, mixture_size(channels, components))
        nn.init.normal_(self.parameters_of.weight, 0.0, 0.1 * width**-0.5)
        spread_start(self.parameters_of.bias, channels)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probabilities (...) float32 of pixels (..., C) in [-1, 1] given features (..., width)."""
        # the 8 bits of bfloat16 are too few for the mean of an 8-bit pixel
        with torch.autocast(features.device.type, enabled=False):
            return mixture_log_prob(x, self.parameters_of(features.float()))

    def draw(self, features: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Pixels (N, C) drawn given features (N, width) and numbers (N, C + 1) uniform in [0, 1)."""
        return mixture_sample(self.parameters_of(features.float()), uniform, temperature)
