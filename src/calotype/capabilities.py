"""What a model can say besides drawing: protocols that everything else asks for, so that nobody asks for a family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from calotype.types import Batch, Condition, ImageSpec, Noise, SamplingOptions

if TYPE_CHECKING:  # names alone: nothing here depends on the room
    from calotype.diffusion.path import NoiseLevel
    from calotype.diffusion.samplers import Denoiser


@runtime_checkable
class MayIdle(Protocol):
    """A configuration of which some settings have no effect beside others."""

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """Those that nothing would read for images like ``spec``, whatever their value, each with what it needs to have an effect."""


@runtime_checkable
class DrawsPairs(Protocol):
    """Images of two domains drawn together, learned from unpaired data of two sides: coupled generators (Liu & Tuzel 2016)."""

    def sample_pairs(
        self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None
    ) -> tuple[Tensor, Tensor]:
        """What ``sample`` draws, (noise.n, C, H, W), and its counterparts in the domain of ``spec.source``, both in [-1, 1]."""


@runtime_checkable
class HasLatents(Protocol):
    """Images made from latents that are standard normal: GANs, VAEs, flows, diffusion along its differential equation."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of the latents of one image."""

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of latents (N, *latent_shape); standard normal latents give images like those of ``sample``."""


@runtime_checkable
class HasEncoder(HasLatents, Protocol):
    """The way back as well."""

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Latents (N, *latent_shape) of images (N, C, H, W) in [-1, 1]."""


@runtime_checkable
class HasDecoder(HasLatents, Protocol):
    """Latents that one network makes images of, whose layers can be looked into: generators of GANs, decoders of VAEs."""

    @property
    def decoding(self) -> nn.Module:
        """The network: ``decode`` is its call, but for what comes before the first and after the last layer."""


@runtime_checkable
class HasStyles(HasLatents, Protocol):
    """Latents that become styles first, from which the layers of the network are told what to make (Karras et al. 2019)."""

    @property
    def has_styles(self) -> bool:
        """Whether the network of this very model is such a one."""

    def styles(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """The styles of all layers, (N, layers, styles), of latents (N, *latent_shape): without mixing, those of all layers are alike."""

    def of_styles(self, styles: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of styles (N, layers, styles), or of styles (N, styles) that all layers share."""


@runtime_checkable
class Inverts(Protocol):
    """A sampler that adds no noise on its way: from an image its starting noise (`Noise.starting`) is found again."""

    def require_invertible(self, options: SamplingOptions | None = None) -> None:
        """Raise `UserError` where the sampler of these options adds noise, so that nothing leads back."""

    def invert(self, x: Tensor) -> Tensor:
        """The starting noise (N, D) of images (N, C, H, W) in [-1, 1] of 8 bits, as near as it is found without their labels and options.

        Its signs matter, and how sure each of them is by its size; it need not be standard normal.
        """


@runtime_checkable
class HasPosterior(Protocol):
    """An encoder that gives a distribution of latents for each image."""

    def posterior(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Of images (N, C, H, W): the posterior means (N, z), and the divergence of each latent from its prior in nats, (N, z)."""


@runtime_checkable
class LocatesLikelihood(Protocol):
    """A likelihood that is a sum over the places of an image: autoregressive models, and flows as far as it can be said of them."""

    pixelwise: bool  # whether a number is the probability of its pixel given those before it; else a term that arises at its place

    def located(self, x: Tensor, condition: Condition, rng: torch.Generator) -> dict[str, Tensor]:
        """Nats (N, H, W) of 8-bit images (N, C, H, W) in [-1, 1] by the name of the part of the model that they come from.

        With the same generator all of them add up to what the first of ``likelihoods()`` says of each image.
        """


@runtime_checkable
class Discriminates(Protocol):
    """A network that was trained to tell real images from generated ones, beside the one that makes them: GANs."""

    discriminator: nn.Module

    def realness(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """(N,) float32 of images (N, C, H, W) in [-1, 1], each judged by itself: the larger, the more real."""


@runtime_checkable
class Denoises(Protocol):
    """A denoiser at every noise level between image and noise, from which posterior sampling draws: diffusion and flow matching."""

    @property
    def needs_label(self) -> bool:
        """Whether it has never seen images without their label."""

    def timesteps(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 places on the path from noise to image."""

    def denoiser(self, label: Tensor | None = None, guidance: float = 1.0, *, clip: bool = False) -> Denoiser:
        """The expected image (N, C, H, W) given a state and its place, of labels (N,) or of all classes together.

        ``clip``: into [-1, 1], where the network puts out something else, whose small errors near the noise are large ones of the image.
        """


@runtime_checkable
class CallsOften(Protocol):
    """A sampler that calls the same networks many times: an exported file holds each of them once."""

    @property
    def called_often(self) -> Sequence[str]:
        """The names of these submodules, each a function of tensors that returns one in the shape of the first."""


@runtime_checkable
class HasFeatures(Protocol):
    """A classifier: its features are a space to compare images in, and it says what it takes an image for."""

    @property
    def dimension(self) -> int:
        """Numbers of the features of an image."""

    @property
    def backbone(self) -> nn.Module:
        """The network that the features follow from."""

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, dimension) float32, of images (N, C, H, W) in [-1, 1]."""

    def probabilities(self, features: Tensor) -> Tensor:
        """Of each class, (N, classes), from features (N, dimension)."""


@runtime_checkable
class Classifies(Protocol):
    """A model that takes an image for one of the classes of its data."""

    def features(self, x: Tensor) -> Tensor:
        """What it tells them apart by, (N, d) float32, of images (N, C, H, W) in [-1, 1]."""

    def logits_of(self, features: Tensor) -> Tensor:
        """(N, classes) float32 of features (N, d): the larger, the likelier the class, up to a constant of the image."""


@runtime_checkable
class HasLabelsOnly(Protocol):
    """A classifier that learned from images without labels too, and trained the same network on the labelled ones alone beside itself."""

    def labels_only_logits(self, x: Tensor) -> Tensor | None:
        """(N, classes) float32 of images (N, C, H, W) in [-1, 1], by that other network; None where it was left out."""


@runtime_checkable
class HasActivations(Protocol):
    """A model whose network has layers worth looking at: what a linear probe asks."""

    def layers(self) -> Sequence[str]:
        """Their names, from the image on; of a denoiser each layer at each of several noise levels. () where none is the model's own."""

    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        """What some of them make of images (N, C, H, W) in [-1, 1], by name: maps (N, channels, h, w) or vectors (N, d), float32.

        ``noise`` has the randomness of each image, where any is needed. No label is asked for. A layer that takes no part is left out.
        """


@runtime_checkable
class LearnsFirst(Protocol):
    """A model that learns a part of itself from the training images at once, before the first step; a run with a checkpoint never asks."""

    @property
    def first_images(self) -> int:
        """How many images it learns from at most."""

    def learn_first(self, batches: Iterable[Batch], *, started: bool = False) -> None:
        """Learn from batches of images as they are, none of them varied; the same batches leave the same weights.

        ``started`` says that it has the weights of another such model, and takes no others.
        """


@runtime_checkable
class HasBaselines(Protocol):
    """A model that knows simpler answers from its training data, which it has to beat."""

    def baselines(self, source: Tensor) -> dict[str, Tensor]:
        """Of sources (N, C', h, w): images (N, C, H, W) in [-1, 1] by the name of the method, on the device of the model."""


@runtime_checkable
class Completes(Protocol):
    """A model that can finish an image of which the upper part is given: autoregressive models."""

    def complete(self, known: Tensor, rows: int, noise: Noise, condition: Condition | None = None) -> Tensor:
        """(N, C, H, W) images whose first ``rows`` rows are those of ``known`` and whose others are drawn given them."""
