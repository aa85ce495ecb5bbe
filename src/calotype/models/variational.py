"""What all variational autoencoders share: the objective, the bounds and how they are reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.losses.divergence import annealed, free_bits
from calotype.losses.reconstruction import LikelihoodName, Observation
from calotype.networks.blocks import evaluating
from calotype.settings import Depth, NotNegative, Share
from calotype.types import Batch, Condition, ImageSpec, Likelihood, Model, Step

IMPORTANCE_SAMPLES = 50  # of the reported importance-weighted bound


@dataclass(frozen=True)
class ObjectiveConfig:
    """The likelihood of the pixels and how much the divergence of the posterior from the prior counts."""

    likelihood: LikelihoodName = "discretized_logistic"  # of each pixel given the latents; bernoulli is none of 8-bit images
    components: Depth = 1  # distributions mixed for each sub-pixel
    conditional: bool = True  # learn the classes where the data have labels
    beta: NotNegative = 1.0  # weight of the divergence in the objective; 1 for the bound itself
    warmup: Share = 0.0  # share of each cycle in which that weight rises from 0
    cycles: Depth = 1  # times that it rises again from 0 over the budget
    free_bits: NotNegative = 0.0  # nats of each latent unit that the objective counts as free


@dataclass(frozen=True)
class Inference:
    """Latents drawn from the posterior of some images, and what is known of them; one entry a level of the hierarchy."""

    out: Tensor  # (N, outputs * C, H, W): what the decoder says of each sub-pixel
    kl: tuple[Tensor, ...]  # nats of the divergence from the prior, (N, units, positions)
    means: tuple[Tensor, ...]  # of the posterior, (N, units, positions)
    log_weight: Tensor  # (N,): log p(z) - log q(z|x) of the latents drawn


class Variational(Model):
    """A model trained by maximizing a lower bound of the log-likelihood (Kingma & Welling 2014; Rezende et al. 2014).

    Subclasses say how latents are inferred. The weight of the divergence, its warm-up and free bits change what is trained and
    never what is reported: that is always the bound with weight 1, in nats of the 8-bit image.
    """

    def __init__(self, config: ObjectiveConfig, spec: ImageSpec) -> None:
        super().__init__()
        _check(config)
        self.objective = config
        self.spec = spec
        self.classes = len(spec.classes) if config.conditional else 0
        self.conditional = self.classes > 0
        self.observation = Observation(config.likelihood, config.components)

    def _encode(self, image: Tensor) -> Any:
        """What inference needs of images, computed once however many latents are drawn."""
        raise NotImplementedError

    def _infer(self, features: Any, label: Tensor | None, rng: torch.Generator | None) -> Inference:
        """Latents of the images that ``features`` came from; the posterior means where ``rng`` is None."""
        raise NotImplementedError

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The negative bound in bits per sub-pixel with the divergence as the configuration counts it."""
        c, image = self.objective, batch.image
        inference = self._infer(self._encode(image), self.needed(batch.condition), step.rng)
        log_prob = self.observation.log_prob(image, inference.out).mean()
        kl = torch.cat([level.sum(2) for level in inference.kl], dim=1)
        counted = free_bits(kl, c.free_bits)
        loss = annealed(step.progress, c.beta, c.warmup, c.cycles) * counted - log_prob
        return {"loss": loss / self.spec.nats_per_bit, "reconstruction": -log_prob, "kl": kl.sum(1).mean()}

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The bound, negated, in bits per sub-pixel, on training images and on images never trained on.

        Where the likelihood is none of 8-bit images, ``loss`` takes the place of ``bits`` in the names.
        """
        name = "bits" if self.observation.is_probability else "loss"
        batches = {"train": train, "holdout": holdout}
        with evaluating(self):
            bounds = {key: self.bound(batch.image, batch.condition, step.rng) for key, batch in batches.items()}
        return {f"{name}_{key}": -bound.mean() / self.spec.nats_per_bit for key, bound in bounds.items()}

    def likelihoods(self) -> Sequence[Likelihood]:
        """The evidence lower bound, and the tighter importance-weighted one (Burda et al. 2016, eq. 8) of 50 samples.

        None for Bernoulli pixels: the cross-entropy of gray values is not the probability of an 8-bit image, and a number of nats
        beside those of other models would be misread as one.
        """
        if not self.observation.is_probability:
            return ()
        importance = partial(self.bound, samples=IMPORTANCE_SAMPLES)
        return (
            Likelihood("ELBO", "lower bound", self.bound),
            Likelihood(f"IWAE-{IMPORTANCE_SAMPLES}", "lower bound", importance, slow=True),
        )

    @torch.no_grad()
    def bound(self, image: Tensor, condition: Condition, rng: torch.Generator, samples: int = 1) -> Tensor:
        """A lower bound, in expectation, of the log-likelihood of images (N, C, H, W), (N,) nats.

        Of one sample it is the evidence lower bound with the divergence in closed form; of more, the importance-weighted bound
        (Burda et al. 2016, eq. 8), which rises to the log-likelihood with their number.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        features, label = self._encode(image), self.needed(condition)
        if samples == 1:
            inference = self._infer(features, label, rng)
            return self.observation.log_prob(image, inference.out) - sum(level.flatten(1).sum(1) for level in inference.kl)
        weights = []
        for _ in range(samples):
            inference = self._infer(features, label, rng)
            weights.append(self.observation.log_prob(image, inference.out) + inference.log_weight)
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(samples)

    @torch.no_grad()
    def posterior(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Posterior means and divergences from the prior in nats, (N, units) each.

        The latents of a map count as one unit for each channel: their sum over the positions, divided by the root of their number,
        which under the prior is standard normal as each of them is. With several levels, each is taken at the means of those above.
        """
        inference = self._infer(self._encode(x), self.needed(condition), None)
        means = [level.sum(2) / level.shape[2] ** 0.5 for level in inference.means]
        return torch.cat(means, dim=1), torch.cat([level.sum(2) for level in inference.kl], dim=1)


def _check(config: ObjectiveConfig) -> None:
    if config.likelihood == "bernoulli" and config.components > 1:
        raise UserError("a mixture of Bernoulli distributions is one: `model.components=1`, or another `model.likelihood`")
    if config.cycles > 1 and not config.warmup:
        raise UserError("cycles repeat the warm-up, and there is none: give its share of a cycle, as in `model.warmup=0.5`")
