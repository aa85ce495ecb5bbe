"""The variational autoencoder: an encoder that gives each image a distribution of latents, and a decoder back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.losses.divergence import kl_standard, log_normal
from calotype.models.variational import Inference, ObjectiveConfig, Variational
from calotype.networks.autoencoder import Autoencoder, ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, SharedScale
from calotype.networks.hooks import captured
from calotype.networks.posterior import ClassPrior
from calotype.settings import DEEPEST, Width
from calotype.types import Condition, ImageSpec, Noise, Player, SamplingOptions

MEAN = "posterior mean"  # among the layers of an encoder


@dataclass(frozen=True)
class VAEConfig(ObjectiveConfig):
    """An encoder, a decoder, and the objective that joins them."""

    kind: Literal["vae"] = "vae"
    network: Literal["conv", "mlp"] = "conv"  # convolutional, or fully connected
    latent: Width = 32  # numbers that an image is made from; 2 can be drawn as a map
    width: Width = 32  # channels of the largest map (conv), units of a hidden layer (mlp)
    depth: Annotated[int, Field(ge=0, le=DEEPEST)] = 1  # residual blocks of each map (conv), hidden layers (mlp; 0 for linear maps)
    scale: Literal["pixel", "shared"] = "pixel"  # the likelihood's scale: of each pixel by the decoder, or one learned number for all


class VAE(Variational):
    """One level of latents with a normal prior (Kingma & Welling 2014; beta-VAE, Higgins et al. 2017).

    Encoder: q(z|x) is normal with a diagonal covariance. Prior: standard normal; with classes, a mean and a scale learned for each,
    in whose units latents are given and taken. Decoder: p(x|z, label) is a distribution for each pixel, independent of the others.
    Images are drawn as the decoder's expected pixels: a draw of each pixel by itself adds noise that no eye takes for a part of the
    picture.

    Raises:
        UserError: where options contradict each other.
    """

    def __init__(self, config: VAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        _check(config)
        self.config = config
        self.bf16_pays = config.network == "conv"
        outputs = self.observation.outputs
        self.network = Autoencoder(
            _encoder(config, spec), ClassPrior(config.latent, self.classes), _decoder(config, spec, outputs, self.classes)
        )

    def players(self) -> Sequence[Player]:
        """Encoder and decoder together."""
        return (Player("autoencoder", self.network, self._loss),)

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; a conditional model without labels draws them uniformly.

        Raises:
            UserError: for labels that the model does not know.
        """
        latent = noise.normal(*self.latent_shape)
        return self._picture(latent, self.wanted(noise, condition))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(z,)."""
        return (self.config.latent,)

    @property
    def decoding(self) -> nn.Module:
        """The decoder."""
        return self.network.decoder

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Posterior means (N, z) of images (N, C, H, W), in units of the prior of their class.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        mean, _ = self.network.prior.standardize(*self.network.encode(x), self.needed(condition))
        return mean

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Expected images (N, C, H, W) in [-1, 1] of latents (N, z).

        Raises:
            UserError: where a conditional model is given no labels.
        """
        return self._picture(z, self.needed(condition))

    def layers(self) -> Sequence[str]:
        """The maps of a convolutional encoder, and the posterior mean, in which no prior of a class has a say."""
        return (*self._maps(), MEAN)

    @torch.no_grad()
    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        """Maps of the encoder, and the posterior mean (N, z), of images (N, C, H, W), by name, in float32."""
        every = self._maps()
        with captured({name: every[name] for name in layers if name in every}) as found:
            mean, _ = self.network.encode(x)
        return {**found, MEAN: mean.float()} if MEAN in layers else found

    def _maps(self) -> dict[str, nn.Module]:
        encoder = self.network.encoder
        levels = encoder.backbone.levels if isinstance(encoder, ConvEncoder) else ()
        return {f"level {number}": level for number, level in enumerate(levels, 1)}

    def _picture(self, latent: Tensor, label: Tensor | None) -> Tensor:
        return self.observation.mean(self.network.decode(latent, label))

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.encode(image)

    def _infer(self, features: tuple[Tensor, Tensor], label: Tensor | None, rng: torch.Generator | None) -> Inference:
        mean, log_scale = self.network.prior.standardize(*features, label)
        latent = mean
        if rng is not None:
            latent = mean + log_scale.exp() * torch.randn(mean.shape, generator=rng, device=mean.device)
        log_weight = log_normal(latent, torch.zeros_like(mean), torch.zeros_like(mean)) - log_normal(latent, mean, log_scale)
        return Inference(
            out=self.network.decode(latent, label),
            kl=(kl_standard(mean, log_scale)[:, :, None],),
            means=(mean[:, :, None],),
            log_weight=log_weight.sum(1),
        )


def _encoder(config: VAEConfig, spec: ImageSpec) -> nn.Module:
    encoder = ConvEncoder if config.network == "conv" else MLPEncoder
    return encoder(spec.shape, 2 * config.latent, width=config.width, depth=config.depth)


def _decoder(config: VAEConfig, spec: ImageSpec, outputs: int, classes: int) -> nn.Module:
    decoder = ConvDecoder if config.network == "conv" else MLPDecoder
    shared = config.scale == "shared"
    means = decoder(spec.shape, config.latent, outputs - shared, width=config.width, depth=config.depth, classes=classes)
    return SharedScale(means) if shared else means


def _check(config: VAEConfig) -> None:
    if config.scale == "shared" and (config.likelihood == "bernoulli" or config.components > 1):
        raise UserError(
            "one scale for all pixels needs a likelihood that has one: "
            "`model.scale=pixel`, or `model.components=1` with `model.likelihood=gaussian` or discretized_logistic"
        )
