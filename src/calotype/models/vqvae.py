"""An autoencoder with discrete latents, and a learned prior over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.losses.reconstruction import Observation
from calotype.networks.autoencoder import ConvMapDecoder
from calotype.networks.backbone import ConvBackbone
from calotype.networks.blocks import evaluating
from calotype.networks.codeprior import CodePrior, middles
from calotype.networks.quantizer import Quantizer, perplexity, straight_through
from calotype.precise import doubled, normal_quantile
from calotype.settings import Depth, Part, Positive, Width
from calotype.types import Batch, Condition, ImageSpec, Likelihood, Model, Noise, Player, SamplingOptions, Step, chosen

REVIVE_UNTIL = 0.5  # share of the budget in which dead codes begin again: later the prior has to know what each code means


@dataclass(frozen=True)
class VQVAEConfig:
    """An encoder and a decoder with a codebook between them, and a transformer that learns which codes follow which."""

    kind: Literal["vqvae"] = "vqvae"
    conditional: bool = True  # learn the classes where the data have labels
    likelihood: Literal["gaussian", "discretized_logistic"] = "discretized_logistic"  # of each pixel given the codes
    components: Depth = 1  # distributions mixed for each sub-pixel
    codes: Annotated[Width, Field(ge=2)] = 64  # size of the codebook
    features: Width = 32  # numbers of each code
    width: Annotated[Width, Field(ge=8)] = 32  # channels of the largest map; every smaller one has twice as many
    depth: Depth = 1  # residual blocks of each map
    commitment: Positive = 0.25  # how strongly the encoder is drawn to the codes
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99  # of the codebook's running means
    prior_width: Width = 96  # features of a position of the prior, a multiple of its heads
    prior_depth: Depth = 3  # transformer blocks of the prior
    prior_heads: Width = 4  # of each attention of the prior
    prior_dropout: Part = 0.1  # share of the prior's features dropped in training
    temperature: Positive = 1.0  # in sampling: below 1 for likelier and less varied codes


@dataclass(frozen=True)
class VQVAESampling(SamplingOptions):
    """How a VQ-VAE draws."""

    temperature: Positive | None = None  # of the prior: below 1 for likelier and less varied codes


class VQVAE(Model):
    """Vector-quantized VAE (van den Oord et al. 2017).

    The encoder gives a map of vectors, each replaced by the nearest code; gradients pass straight through. The codes follow the
    vectors as running means. The prior, a second player, learns the sequence of the codes of the same images, row by row, given the
    label; the autoencoder never sees it. A posterior that is certain of its codes makes log p(x | codes) + log p(codes) a lower
    bound of the log-likelihood. Images are drawn as the decoder's expected pixels.

    Latents are one standard normal number a code: its distribution function is the number by which the prior chooses the code
    (inverse transform sampling), so that normal latents decode to samples of the model.

    Raises:
        UserError: where options contradict each other.
    """

    sampling = VQVAESampling
    in_order = True

    def __init__(self, config: VQVAEConfig, spec: ImageSpec) -> None:
        super().__init__()
        if config.prior_width % config.prior_heads:
            raise UserError(
                f"{config.prior_width} features of the prior cannot be shared by {config.prior_heads} heads: "
                "give a divisor with `model.prior_heads`"
            )
        self.config = config
        self.spec = spec
        self.classes = len(spec.classes) if config.conditional else 0
        self.conditional = self.classes > 0
        self.observation = Observation(config.likelihood, config.components)
        backbone = ConvBackbone(spec.shape, width=config.width, depth=config.depth)
        decoder = ConvMapDecoder(spec.shape, self.observation.outputs, width=config.width, depth=config.depth)
        self.autoencoder = nn.ModuleDict(
            {
                "backbone": backbone,
                "narrow": nn.Conv2d(backbone.widths[-1], config.features, 1),
                "widen": nn.Conv2d(config.features, backbone.widths[-1], 1),
                "decoder": decoder,
            }
        )
        self.quantizer = Quantizer(config.codes, config.features, config.decay)
        self.side = backbone.sizes[-1]
        self.prior = CodePrior(
            config.codes,
            self.side**2,
            width=config.prior_width,
            depth=config.prior_depth,
            heads=config.prior_heads,
            classes=self.classes,
            dropout=config.prior_dropout,
        )

    def players(self) -> Sequence[Player]:
        """The autoencoder, then the prior on the codes that it gave."""
        return (Player("autoencoder", self.autoencoder, self._reconstruct), Player("prior", self.prior, self._predict))

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; a conditional model without labels draws them uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `VQVAESampling`.

        Raises:
            UserError: for labels that the model does not know.
        """
        given = chosen(VQVAESampling, options).temperature
        temperature = self.config.temperature if given is None else given
        return self._picture(noise.normal(*self.latent_shape), self.wanted(noise, condition), temperature)

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The bound, negated, in bits per sub-pixel, on training and on held-out images; and how many codes the latter use (perplexity)."""
        unit = self.spec.nats_per_bit
        with evaluating(self):
            bits = {
                f"bits_{name}": -self._bound(b.image, b.condition).mean() / unit for name, b in (("train", train), ("holdout", holdout))
            }
            codes = self.quantizer.nearest(self._maps(holdout.image))
        return {**bits, "perplexity_holdout": perplexity(codes, self.config.codes)}

    def likelihoods(self) -> Sequence[Likelihood]:
        """The evidence lower bound at the encoder's own codes: nothing is drawn, so that it has no better estimate."""
        return (Likelihood("ELBO", "lower bound", lambda image, condition, rng: self._bound(image, condition)),)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(z,): one number for each code."""
        return (self.prior.length,)

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Latents (N, z) of images (N, C, H, W), one for each code.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        codes = self.quantizer.nearest(self._maps(x)).flatten(1)
        return normal_quantile(middles(self.prior(codes, self.needed(condition)), codes)).float().to(x.device)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of latents (N, z).

        Raises:
            UserError: where a conditional model is given no labels.
        """
        return self._picture(z, self.needed(condition), 1.0)

    def _picture(self, latents: Tensor, label: Tensor | None, temperature: float) -> Tensor:
        codes = self.prior.draw(torch.special.ndtr(doubled(latents)), label, temperature)
        return self.observation.mean(self._decode(self.quantizer.look_up(codes.view(-1, self.side, self.side))))

    def _reconstruct(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Bits per sub-pixel of the images given their codes, and the distance of the encoder's vectors from those (eq. 3)."""
        maps = self._maps(batch.image)
        codes = self.quantizer.nearest(maps)
        quantized = self.quantizer.look_up(codes)
        step.cache["codes"] = codes.flatten(1)
        out = self._decode(straight_through(maps, quantized))
        log_prob = self.observation.log_prob(batch.image, out).mean()
        commitment = (maps - quantized).square().mean()
        if self.training:
            self.quantizer.learn(maps, codes, step.rng if step.progress < REVIVE_UNTIL else None)
        bits = -log_prob / self.spec.nats_per_bit
        return {
            "loss": bits + self.config.commitment * commitment,
            "reconstruction": -log_prob,
            "commitment": commitment,
            "perplexity": perplexity(codes, self.config.codes),
        }

    def _predict(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Nats of each code given those before it."""
        codes = step.cache.pop("codes", None)
        if codes is None:
            with torch.no_grad():
                codes = self.quantizer.nearest(self._maps(batch.image)).flatten(1)
        logits = self.prior(codes, self.needed(batch.condition))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), codes.flatten())}

    @torch.no_grad()
    def _bound(self, image: Tensor, condition: Condition) -> Tensor:
        """Nats (N,): log p(x | codes) + log p(codes)."""
        codes = self.quantizer.nearest(self._maps(image))
        logits = self.prior(codes.flatten(1), self.needed(condition))
        of_codes = -F.cross_entropy(logits.movedim(-1, 1), codes.flatten(1), reduction="none").sum(1)
        return self.observation.log_prob(image, self._decode(self.quantizer.look_up(codes))) + of_codes

    def _maps(self, image: Tensor) -> Tensor:
        maps: Tensor = self.autoencoder["narrow"](self.autoencoder["backbone"](image)[-1])
        return maps.float()

    def _decode(self, maps: Tensor) -> Tensor:
        out: Tensor = self.autoencoder["decoder"](self.autoencoder["widen"](maps))
        return out
