"""What all normalizing flows share: from 8-bit images to latents and back, the bound that they are trained by, and sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.flows.base import Transform, normal_log_prob
from calotype.flows.pixels import Histogram, Logit, Scale, UniformDequantization, VariationalDequantization
from calotype.flows.places import located_log_prob
from calotype.losses.discretized import images_of, levels
from calotype.networks.blocks import evaluating
from calotype.networks.coupling import CouplingNetwork
from calotype.settings import NotNegative
from calotype.types import Batch, Condition, ImageSpec, Likelihood, Model, Noise, Player, SamplingOptions, Step, chosen

LEVELS = 256  # of a pixel
INVERTED, INVERSION_STEPS, INVERSION_RATE = 16, 24, 0.3  # images at once, steps of the search for their latents, and their size
MARGIN = 0.05  # of the logit (Dinh et al. 2017, section 4.1)
PixelsName = Literal["scale", "logit", "histogram"]
DequantizationName = Literal["uniform", "variational"]


@dataclass(frozen=True)
class FlowSampling(SamplingOptions):
    """How a normalizing flow draws."""

    temperature: NotNegative | None = None  # standard deviation of the latents: below 1 for clearer and less varied images


class DequantizedFlow(Model):
    """A density of real numbers, made by an invertible map to normal latents, for 8-bit images.

    Noise u in [0, 1) turns the value k of a pixel into the real number (k + u) / 256, whose density ``self.flow`` gives; averaged
    over the noise this bounds the probability of k (see `calotype.flows.pixels`). Images whose size is not a multiple of
    ``multiple`` are padded to the right and below with pixels of uniform noise. The pad is a part of the noise: its density is one
    everywhere, so that the bound stays a bound, and is tight where the flow learns the pad to be independent of the image.

    A subclass sets ``flow``, ``dequantize`` and ``embed``, the last to None for an unconditional model.
    """

    flow: Transform
    dequantize: nn.Module
    embed: nn.Embedding | None  # its last row means "no label"
    initialized: Tensor
    pixelwise = False  # what is said of a pixel is no probability of its own
    bf16_pays = True
    sampling: type[SamplingOptions] = FlowSampling

    def __init__(self, spec: ImageSpec, *, conditional: bool, multiple: int, label_dropout: float, temperature: float) -> None:
        super().__init__()
        self.spec = spec
        self.classes = len(spec.classes) if conditional else 0
        self.conditional = self.classes > 0
        self.pad = -spec.size % multiple
        self.label_dropout, self.temperature = label_dropout, temperature
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))

    def players(self) -> Sequence[Player]:
        """The whole model."""
        return (Player("flow", self, self._loss),)

    def forward(self, images: Tensor, label: Tensor | None, rng: torch.Generator | None) -> Tensor:
        """The bound in nats of 8-bit images (N, C, H, W) in [-1, 1] with one draw of the noise, (N,)."""
        values = levels(images).to(images.dtype)
        noise, log_noise = self.dequantize(images_of(values).to(images.dtype), rng)
        points = self._padded((values + noise) / LEVELS, rng)
        z, log_abs_det = self.flow(points, self._context(label, len(images)))
        nats: Tensor = normal_log_prob(z) + log_abs_det - log_noise - math.log(LEVELS) * math.prod(self.spec.shape)
        return nats

    @torch.no_grad()
    def located(self, x: Tensor, condition: Condition, rng: torch.Generator) -> dict[str, Tensor]:
        """As `calotype.capabilities.LocatesLikelihood` says, by level; the terms of the pad are spread over the whole image."""
        values = levels(x).to(x.dtype)
        noise, log_noise = self.dequantize.local(images_of(values).to(x.dtype), rng)  # type: ignore[operator]
        context = self._context(condition.label if self.conditional else None, len(x))
        whole = located_log_prob(self.flow, self._padded((values + noise) / LEVELS, rng), context)
        found = {"values": -log_noise.sum(1) - math.log(LEVELS) * self.spec.channels}
        beside = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for name, terms in whole.items():
            inside = terms[:, : self.spec.size, : self.spec.size]
            found[name] = found.get(name, 0) + inside
            beside = beside + terms.flatten(1).sum(1) - inside.flatten(1).sum(1)
        if self.pad:
            found["pad"] = (beside / self.spec.size**2).view(-1, 1, 1).expand_as(found["values"])
        return found

    def likelihoods(self) -> Sequence[Likelihood]:
        """The bound with one draw of the noise, and the tighter one of sixteen draws (Burda et al. 2016, eq. 8)."""

        def tighter(images: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
            draws = torch.stack([self._nats(images, condition, rng) for _ in range(16)])
            return torch.logsumexp(draws, 0) - math.log(16)

        return (
            Likelihood("dequantized bound", "lower bound", self._nats),
            Likelihood("dequantized bound, K=16", "lower bound", tighter, slow=True),
        )

    @torch.no_grad()
    def _nats(self, images: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        out: Tensor = self(images, condition.label if self.conditional else None, rng)
        return out

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        label = self._hidden(batch.condition.label, step.rng)
        if not bool(self.initialized):
            self._initialize(batch.image, label, step.rng)
        return {"loss": self._bits(self(batch.image, label, step.rng))}

    def _bits(self, nats: Tensor) -> Tensor:
        return -nats.mean() / self.spec.nats_per_bit

    def _hidden(self, label: Tensor | None, rng: torch.Generator) -> Tensor | None:
        """The labels, some of them replaced by the one that means none."""
        if label is None or self.embed is None:
            return None
        drop = torch.rand(label.shape, generator=rng, device=label.device) < self.label_dropout
        return torch.where(drop, self.classes, label)

    @torch.no_grad()
    def _initialize(self, images: Tensor, label: Tensor | None, rng: torch.Generator) -> None:
        """What depends on data, from the first batch."""
        noise, _ = self.dequantize(images, rng)
        points = self._padded((levels(images) + noise) / LEVELS, rng)
        self.flow.initialize(points, self._context(label, len(images)))
        self.initialized.fill_(True)

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """Bits a dimension of images that were trained on, and of others."""
        named = {"bits_train": train, "bits_holdout": holdout}
        with evaluating(self):
            return {name: self._bits(self._nats(batch.image, batch.condition, step.rng)) for name, batch in named.items()}

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Latents (N, D) of images (N, C, H, W) in [-1, 1], from the middle of each pixel's bin."""
        points = self._padded((levels(x) + 0.5) / LEVELS, None)
        z: Tensor = self.flow(points, self._context(None if condition is None else condition.label, len(x)))[0]
        return z

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of latents (N, D), the inverse of ``encode``; D is that of ``latent_shape``."""
        return self._images(self.flow.inverse(z, self._context(None if condition is None else condition.label, z.shape[0])))

    @torch.no_grad()
    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; without labels, those of a conditional model are drawn uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `FlowSampling`.

        Raises:
            UserError: for labels that the model does not know.
        """
        label = self.wanted(noise, condition)
        return self.decode(self._latents(noise, chosen(FlowSampling, options)), Condition(label))

    def _latents(self, noise: Noise, options: FlowSampling) -> Tensor:
        return noise.starting(*self.latent_shape) * self._temperature(options)

    def _temperature(self, options: FlowSampling) -> float:
        return self.temperature if options.temperature is None else options.temperature

    def require_invertible(self, options: SamplingOptions | None = None) -> None:
        """Raise `UserError` at a temperature of 0, where nothing is left of the noise."""
        if self._temperature(chosen(FlowSampling, options)) == 0:
            raise UserError("at temperature=0 nothing of their starting noise is in the images: give a larger one")

    def invert(self, x: Tensor) -> Tensor:
        """As `calotype.capabilities.Inverts` says: up to their temperature, latents of points in the bins of ``x``, the likeliest found.

        Not searched is beyond the outermost bins, where the inverse of pixels that were scaled or brought through a logit may lead, too.
        The middles of the bins, which `encode` takes, are far from what a sample was before it was rounded where many numbers share a
        bin, as those of a black ground do. A model of classes is asked with the label under which the image is most probable.
        """
        return torch.cat([self._most_probable(part) for part in torch.split(x, INVERTED)])

    def _most_probable(self, x: Tensor) -> Tensor:
        """Latents (N, D) of points in the bins of images, the pad free: what `INVERSION_STEPS` of Adam find towards the least |z|^2."""
        with torch.no_grad():
            context, least = self._context(self._likeliest(x), len(x)), self._padded(levels(x) / LEVELS, None)
            widths = torch.full_like(least[:1], 1 / LEVELS)
            if self.pad:
                beside = torch.ones_like(widths, dtype=torch.bool)
                beside[..., : self.spec.size, : self.spec.size] = False
                least, widths = least.masked_fill(beside, 0.0), widths.masked_fill(beside, 1.0)
        place = torch.zeros_like(least, requires_grad=True)
        adam = torch.optim.Adam([place], lr=INVERSION_RATE)
        with torch.enable_grad():
            for _ in range(INVERSION_STEPS):
                z = self.flow(least + widths * torch.sigmoid(place), context)[0]
                (place.grad,) = torch.autograd.grad(z.square().sum() / 2, place)
                adam.step()
        with torch.no_grad():
            found: Tensor = self.flow(least + widths * torch.sigmoid(place), context)[0]
        return found

    def _likeliest(self, x: Tensor) -> Tensor | None:
        """The label (N,) under which the middles of each image's bins are densest; None of a model without classes."""
        if self.embed is None:
            return None
        points, densities = self._padded((levels(x) + 0.5) / LEVELS, None), []
        for label in range(self.classes):
            z, log_abs_det = self.flow(points, self._context(torch.full((len(x),), label, device=x.device), len(x)))
            densities.append(normal_log_prob(z) + log_abs_det)
        return torch.stack(densities).argmax(0)

    @property
    def latent_shape(self) -> tuple[int]:
        """One latent for each sub-pixel of the padded image."""
        return (self.spec.channels * (self.spec.size + self.pad) ** 2,)

    def _context(self, label: Tensor | None, count: int) -> Tensor | None:
        if self.embed is None:
            return None
        if label is None:
            label = torch.full((count,), self.classes, device=self.embed.weight.device)
        out: Tensor = self.embed(label)
        return out

    def _padded(self, points: Tensor, rng: torch.Generator | None) -> Tensor:
        """Points with the pad of noise around them, the middle of it without a generator."""
        if not self.pad:
            return points
        whole = F.pad(points, (0, self.pad, 0, self.pad))
        if rng is None:
            noise = torch.full_like(whole, 0.5)
        else:
            noise = torch.rand(whole.shape, generator=rng, device=whole.device, dtype=whole.dtype)
        noise[..., : self.spec.size, : self.spec.size] = points
        return noise

    def _images(self, points: Tensor) -> Tensor:
        """The image whose bins have their middles at ``points``; rounding it gives the values of the bins."""
        size = self.spec.size
        return ((points[..., :size, :size] * LEVELS - 0.5) / ((LEVELS - 1) / 2) - 1).clamp(-1, 1)


def pixels(name: PixelsName) -> Transform:
    """The first transform of a flow, from the unit interval to the line."""
    match name:
        case "scale":
            return Scale(1.0)
        case "logit":
            return Logit(MARGIN)
        case "histogram":
            return Histogram(LEVELS)


def dequantization(name: DequantizationName, spec: ImageSpec, width: int) -> nn.Module:
    """The noise of pixels: uniform, or fitted to the image by a small network of ``width`` channels."""
    if name == "uniform":
        return UniformDequantization()
    c = spec.channels
    return VariationalDequantization(CouplingNetwork(c, 2 * c, width=width, depth=0, size=spec.size))
