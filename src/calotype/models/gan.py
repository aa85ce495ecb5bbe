"""Generative adversarial networks: two players, one makes images and the other tells them from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from calotype.errors import UserError
from calotype.losses import regularizers
from calotype.losses.adversarial import LOSSES, LossName
from calotype.losses.augmentation import AugmentationName, augmented
from calotype.losses.regularizers import Lazy
from calotype.losses.transforms import adaptive
from calotype.models.gan_networks import DiscriminatorConfig, GeneratorConfig, discriminator_of, generator_of
from calotype.networks.blocks import evaluating
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.parallel import average, processes
from calotype.settings import Count, Depth, NotNegative, Positive, Share, Width, unless
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step

PenaltyName = Literal["none", "gradient", "gradient_one_sided", "r1", "r2", "r1_r2", "dragan"]

PATH_LENGTH_DECAY = 0.99  # of the running mean of path lengths, at each penalty


@dataclass(frozen=True)
class GANConfig:
    """A generator, a discriminator and the game between them.

    The `network` of either is mlp (fully connected) or dcgan (convolutional), of a generator also skip, of a discriminator also
    projected (fixed features of photographs); the two may differ.
    """

    kind: Literal["gan"] = "gan"  # the family
    generator: GeneratorConfig = field(default_factory=DCGANGeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DCGANDiscriminatorConfig)
    loss: LossName = "non_saturating"  # what the two players play for
    conditional: bool = False  # learn the classes where the data have labels
    latent: Width = 100  # numbers that an image is made from
    critic_steps: Depth = 1  # steps of the discriminator for each of the generator
    discriminator_lr_mult: Positive = 1.0  # learning rate of the discriminator relative to the generator's
    penalty: PenaltyName = "none"  # on the gradient of the discriminator
    penalty_weight: NotNegative = 10.0  # lambda of the gradient penalties and dragan, gamma of r1 and r2
    penalty_every: Count = 1  # steps between two penalties, each of which then counts so many times
    path_length_weight: NotNegative = 0.0  # of path length regularization, a penalty on the generator: 2 in StyleGAN2
    path_length_every: Count = 8  # steps between two of them, each of which then counts so many times
    clip_weights: Positive | None = None  # largest absolute weight of the discriminator
    smooth: Annotated[float, Field(gt=0.5, le=1)] = 1.0  # label of real images: below 1 is one-sided label smoothing
    augment: tuple[AugmentationName, ...] = ()  # what the discriminator sees all images through, for few images
    augment_target: Share = 0.6  # of adaptive: the mean sign of logits on real images above which more is augmented, below which less
    augment_images: Count = 20_000  # of adaptive: images in which the share of what is augmented could rise from 0 to 1
    instance_noise: NotNegative = 0.0  # standard deviation of noise on what the discriminator sees, falling to 0 over the run

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.types.MayIdle` says."""
        return {
            **unless(spec.classes, "images with labels", "conditional"),
            **unless(self.penalty != "none", "a `model.penalty`", "penalty_weight", "penalty_every"),
            **unless(self.path_length_weight, "`model.path_length_weight` above 0", "path_length_every"),
            **unless("adaptive" in self.augment, "adaptive among `model.augment`", "augment_target", "augment_images"),
        }


class GAN(Model):
    """Two networks trained against each other (Goodfellow et al. 2014).

    Raises:
        UserError: where options contradict each other.
    """

    training_only = ("path_length_mean", "augment_share")
    path_length_mean: Tensor
    augment_share: Tensor

    def __init__(self, config: GANConfig, spec: ImageSpec) -> None:
        super().__init__()
        _check(config)
        self.config = config
        self.spec = spec
        self.conditional = config.conditional and bool(spec.classes)
        self.bf16_pays = config.generator.network != "mlp"
        self.least_batch = 2 if any(c.network == "mlp" and c.norm == "batch" for c in (config.generator, config.discriminator)) else 1
        self.penalty = None if config.penalty == "none" else Lazy(config.penalty_weight, config.penalty_every)
        self.path_length = Lazy(config.path_length_weight, config.path_length_every) if config.path_length_weight else None
        if self.path_length is not None:
            self.register_buffer("path_length_mean", torch.zeros(()))
        self.adapts = "adaptive" in config.augment
        if self.adapts:
            self.register_buffer("augment_share", torch.zeros(()))
        self.double_backward = self.penalty is not None or self.path_length is not None
        self.adversarial = LOSSES[config.loss]
        self._loss = partial(self.adversarial.function, target=config.smooth) if self.adversarial.smooths else self.adversarial.function
        classes = len(spec.classes) if self.conditional else 0
        self.generator = generator_of(config.generator, spec.shape, config.latent, classes)
        self.discriminator = discriminator_of(config.discriminator, spec.shape, classes)
        self.through, self.changes_at = self.discriminator.through, self.discriminator.changes_at

    def players(self) -> Sequence[Player]:
        """The discriminator, then the generator.

        Raises:
            UserError: where the discriminator sees through a network whose weights are not installed.
        """
        c = self.config
        self.discriminator.ready()
        after = None
        if c.clip_weights is not None:
            after = partial(regularizers.clip_weights, self.discriminator, c.clip_weights)
        return (
            Player(
                "discriminator",
                self.discriminator,
                self._discriminate,
                repeats=c.critic_steps,
                lr_mult=c.discriminator_lr_mult,
                after=after,
            ),
            Player("generator", self.generator, self._generate),
        )

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; a conditional model without labels draws them uniformly.

        Raises:
            UserError: for labels that the model does not know.
        """
        latent = noise.normal(self.config.latent)
        return self.decode(latent, Condition(self.wanted(noise, condition)))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.config.latent,)

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of latents (N, latent); a conditional model needs labels.

        Raises:
            UserError: without labels, where the model is conditional.
        """
        images: Tensor = self.generator(z, self.needed(condition))
        return images

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminator makes of real images it trains on, real images it never saw, and generated ones.

        ``d_real``, ``d_holdout`` and ``d_fake`` are means as in the losses' terms; ``d_accuracy`` is the share of training and
        generated images on the right side of the decision boundary, 0.5 where there is none but the middle of the two means.
        Two signs of a discriminator that overfits: ``d_sign``, the mean sign of its logits on training images relative to
        that boundary (r_t of Karras et al. 2020, eq. 1), and ``d_auc``, how often it ranks a training image above a held-out one.
        Nothing is changed: no running statistic, no power iteration.
        """
        with evaluating(self.generator, self.discriminator):
            fake = self.generator(self._latents(len(train.image), step), self._labels(train))
            on_real = self._opinion(train.image, self._labels(train))
            on_fake = self._opinion(fake, self._labels(train))
            on_holdout = self._opinion(holdout.image, self._labels(holdout))
        boundary = 0.5 * (on_real.mean() + on_fake.mean()) if self.adversarial.boundary is None else self.adversarial.boundary
        accuracy = 0.5 * ((on_real > boundary).float().mean() + (on_fake < boundary).float().mean())
        return {
            "d_real": self._belief(on_real),
            "d_fake": self._belief(on_fake),
            "d_holdout": self._belief(on_holdout),
            "d_accuracy": accuracy,
            "d_sign": (on_real - boundary).sign().mean(),
            "d_auc": _auc(on_real, on_holdout),
        }

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self._reach(step)
        label = self._labels(batch)
        made, shared = self._fakes(label, len(batch.image), step)
        if self.penalty is not None and self.penalty.due(step.index):
            return self._discriminate_smoothly(batch, made, shared, step)
        real, fake = self._view(batch.image, step), self._view(made, step)
        if shared:
            self._share(fake, label, step)
        on_real, on_fake = self._judge(real, fake.detach(), label)
        return {"loss": self._loss("discriminator", on_fake, on_real), **self._beliefs(on_real, on_fake), **self._adapted(on_real)}

    def _discriminate_smoothly(self, batch: Batch, made: Tensor, shared: bool, step: Step) -> dict[str, Tensor]:
        """With the penalty on the gradient, which is by the images themselves and not by what augmentations make of them."""
        assert self.penalty is not None
        label = self._labels(batch)
        real, fake = self._noisy(batch.image, step), self._noisy(made.detach(), step)
        if shared:
            self._share(self._view(made, step), label, step)
        on_real, on_fake, penalty = self._judge_and_penalize(real, fake, label, step)
        loss = self._loss("discriminator", on_fake, on_real) + self.penalty.of(penalty)
        return {"loss": loss, "penalty": penalty, **self._beliefs(on_real, on_fake), **self._adapted(on_real)}

    def _adapted(self, on_real: Tensor) -> dict[str, Tensor]:
        """The share of images that adaptive augmentation changes from now on (Karras et al. 2020, section 3.1)."""
        if not self.adapts:
            return {}
        assert self.adversarial.boundary is not None
        sign = average((on_real.detach() - self.adversarial.boundary).sign().mean())
        step = len(on_real) * processes() / self.config.augment_images
        self.augment_share.add_((sign - self.config.augment_target).sign() * step).clamp_(0, 1)
        return {"augment_share": self.augment_share.clone()}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self._reach(step)
        terms = self._adversarial_terms(batch, step)
        if self.path_length is None or not self.path_length.due(step.index):
            return terms
        lengths = self._path_lengths(batch, step)
        self.path_length_mean.lerp_(average(lengths.detach().mean()), 1 - PATH_LENGTH_DECAY)
        penalty = (lengths - self.path_length_mean).square().mean()
        return {**terms, "loss": terms["loss"] + self.path_length.of(penalty), "penalty": penalty}

    def _path_lengths(self, batch: Batch, step: Step) -> Tensor:
        """Of half as many images as the batch has, which is enough (Karras et al. 2020, appendix B)."""
        latent, label = self._latents((len(batch.image) + 1) // 2, step).requires_grad_(), self._labels(batch)
        images = self.generator(latent, None if label is None else label[: len(latent)])
        return regularizers.path_lengths(images, latent, step.rng)

    def _adversarial_terms(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        label = self._labels(batch)
        fake = step.cache.pop("fake", None)
        if fake is None:
            fake = self._view(self.generator(self._latents(len(batch.image), step), label), step)
        else:
            label = step.cache.pop("label", None)
        if self.adversarial.needs_real:
            on_real, on_fake = self._judge(self._view(batch.image, step), fake, label)
            return {"loss": self._loss("generator", on_fake, on_real), **self._beliefs(on_real, on_fake)}
        on_fake = self.discriminator(fake, label)
        return {"loss": self._loss("generator", on_fake, None), "d_fake": self._belief(on_fake)}

    def _fakes(self, label: Tensor | None, n: int, step: Step) -> tuple[Tensor, bool]:
        """Images for the discriminator's step, and whether the generator's step takes the same with their graph."""
        latent = self._latents(n, step)
        # a loss that compares with real images compares within a class
        if self.config.critic_steps > 1 or (self.adversarial.needs_real and label is not None):
            with torch.no_grad():
                return self.generator(latent, label), False
        return self.generator(latent, label), True

    def _share(self, fake: Tensor, label: Tensor | None, step: Step) -> None:
        step.cache["fake"] = fake
        if label is not None:
            step.cache["label"] = label

    def _view(self, images: Tensor, step: Step) -> Tensor:
        """Images as the discriminator is shown them: with noise, augmented, and as their features where it knows them by fixed ones."""
        return self.discriminator.look(self._augmented(self._noisy(images, step), step))

    def _opinion(self, images: Tensor, label: Tensor | None) -> Tensor:
        """The logits of images as they are."""
        logits: Tensor = self.discriminator(self.discriminator.look(images), label)
        return logits

    def _reach(self, step: Step) -> None:
        """Let networks that change over a run do so."""
        self.generator.reach(step.progress)
        self.discriminator.reach(step.progress)

    def _judge(self, real: Tensor, fake: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The logits of both: in one pass where the network judges each image by itself."""
        if self.discriminator.mixes_batch:
            return self.discriminator(real, label), self.discriminator(fake, label)
        both = self.discriminator(torch.cat([real, fake]), None if label is None else torch.cat([label, label]))
        on_real, on_fake = both.split([len(real), len(fake)])
        return on_real, on_fake

    def _judge_and_penalize(self, real: Tensor, fake: Tensor, label: Tensor | None, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """The logits of both and the penalty."""
        kind = self.config.penalty
        if kind in ("r1", "r2", "r1_r2"):
            # one backward pass serves both penalties; the batch itself must not learn that it requires gradients
            real, fake = real.detach().requires_grad_(kind != "r2"), fake.detach().requires_grad_(kind != "r1")
            seen_real, seen_fake = self._augmented(real, step), self._augmented(fake, step)
            if kind != "r1_r2":
                on_real, on_fake = self.discriminator(seen_real, label), self.discriminator(seen_fake, label)
                return on_real, on_fake, regularizers.r1(on_real, real) if kind == "r1" else regularizers.r2(on_fake, fake)
            on_real, on_fake = self._judge(seen_real, seen_fake, label)
            return on_real, on_fake, regularizers.r1_r2(on_real, real, on_fake, fake)
        on_real, on_fake = self._judge(self._augmented(real, step), self._augmented(fake, step), label)

        def critic(images: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(self._augmented(images, step), label)
            return logits

        if kind == "dragan":
            return on_real, on_fake, regularizers.dragan(critic, real, step.rng)
        one_sided = kind == "gradient_one_sided"
        return on_real, on_fake, regularizers.gradient_penalty(critic, real, fake, step.rng, one_sided=one_sided)

    def _noisy(self, images: Tensor, step: Step) -> Tensor:
        strength = self.config.instance_noise * (1 - step.progress)
        return regularizers.instance_noise(images, strength, step.rng) if strength > 0 else images

    def _augmented(self, images: Tensor, step: Step) -> Tensor:
        images = augmented(images, self.config.augment, step.rng)
        return adaptive(images, self.augment_share, step.rng) if self.adapts else images

    def _latents(self, n: int, step: Step) -> Tensor:
        return torch.randn(n, self.config.latent, generator=step.rng, device=step.rng.device)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.condition.label if self.conditional else None

    def _belief(self, logits: Tensor) -> Tensor:
        """The mean probability of being real where the loss gives logits that meaning, else the mean logit."""
        logits = logits.detach()
        return (logits.sigmoid() if self.adversarial.log_odds else logits).mean()

    def _beliefs(self, on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
        return {"d_real": self._belief(on_real), "d_fake": self._belief(on_fake)}


def _auc(above: Tensor, below: Tensor) -> Tensor:
    """The share of pairs in which a logit of the first kind is the larger one; ties count half."""
    above, below = (logits.flatten(1).mean(1) if logits.ndim > 1 else logits for logits in (above, below))
    gap = above[:, None] - below[None, :]
    return 0.5 * (1 + gap.sign().mean())


def _check(config: GANConfig) -> None:
    if config.smooth != 1 and not LOSSES[config.loss].smooths:
        able = ", ".join(name for name, loss in LOSSES.items() if loss.smooths)
        raise UserError(f"label smoothing is not defined for the {config.loss} loss: set `model.smooth=1` or use one of {able}")
    if config.penalty.startswith("gradient") and config.discriminator.norm == "batch":
        raise UserError(
            "a gradient penalty judges each image by itself, which batch normalization prevents: `model.discriminator.norm=layer`"
        )
    if config.path_length_weight and config.generator.norm == "batch":
        raise UserError(
            "path length regularization follows each image to its latents by itself, which batch normalization prevents: "
            "`model.generator.norm=layer`"
        )
    if config.penalty != "none" and isinstance(config.discriminator, ProjectedDiscriminatorConfig) and config.discriminator.warmup:
        raise UserError(
            "a penalty on gradients by images needs one discriminator for the whole run: `model.discriminator.warmup=0`, or "
            "`model.penalty=none`"
        )
    if "adaptive" in config.augment and LOSSES[config.loss].boundary is None:
        able = ", ".join(name for name, loss in LOSSES.items() if loss.boundary is not None)
        raise UserError(
            f"adaptive augmentation asks on which side of its boundary the discriminator sees real images, and {config.loss} has none: "
            f"take one of {able} by `model.loss`, or another `model.augment`"
        )
    if config.clip_weights is not None and config.discriminator.spectral:
        raise UserError("clipped weights and spectral normalization do the same work: set one of them only")
