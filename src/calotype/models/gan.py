"""Generative adversarial networks: two players, one makes images and the other tells them from real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from calotype.losses import regularizers
from calotype.losses.adversarial import LOSSES, ranked_above
from calotype.losses.augmentation import augmented
from calotype.losses.regularizers import Lazy
from calotype.losses.schedules import cosine
from calotype.losses.transforms import adaptive
from calotype.models.gan_config import GANConfig, GANSampling, check, check_truncation
from calotype.models.gan_networks import discriminator_of, generator_of
from calotype.networks.blocks import evaluating
from calotype.networks.hooks import captured
from calotype.networks.truncation import standing_statistics, truncated_normal
from calotype.parallel import average, processes
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step, chosen

AT_ONCE = 1 << 20  # pixels that statistics are taken of at once
PATH_LENGTH_DECAY = 0.99  # of the running mean of path lengths, at each penalty


class Logits(NamedTuple):
    """What a discriminator says of two batches."""

    real: Tensor  # logits (N,) or (N, K)
    fake: Tensor
    classes: Tensor | None = None  # the mean cross entropy of the classes of both, where it tells them apart


class GAN(Model):
    """Two networks trained against each other (Goodfellow et al. 2014).

    Raises:
        UserError: where options contradict each other.
    """

    sampling = GANSampling
    makes_points = True
    training_only = ("path_length_mean", "augment_share")
    path_length_mean: Tensor
    augment_share: Tensor

    def __init__(self, config: GANConfig, spec: ImageSpec) -> None:
        super().__init__()
        check(config, spec)
        self.config = config
        self.spec = spec
        self.conditional = config.conditional and bool(spec.classes)
        self.bf16_pays = config.generator.network != "mlp"
        flat = any(c.network == "mlp" and c.norm == "batch" for c in (config.generator, config.discriminator))
        self.least_batch = (2 if flat else 1) * config.pack
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
        self.generator = generator_of(config.generator, spec.shape, config.latent, classes, config.label_scale)
        judged = (config.pack * spec.channels, spec.size, spec.size)
        self.discriminator = discriminator_of(config.discriminator, judged, classes, config.freeze_discriminator)
        self.freezes = "model.freeze_discriminator" if config.freeze_discriminator else ""
        self.through = self.discriminator.through
        self.changes_at = tuple(sorted({*self.generator.changes_at, *self.discriminator.changes_at}))
        self.joins_at = tuple(sorted({*self.generator.joins_at, *self.discriminator.joins_at}))
        self.classifies = bool(config.auxiliary and classes)
        self._standing: dict[tuple[float, int, str], dict[str, Tensor]] = {}  # of truncated latents, by limit and state of weights

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

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `GANSampling`. Where latents are truncated, batch normalization takes standing statistics (Brock et al. 2019).

        Raises:
            UserError: for labels that the model does not know, and for a truncation that it cannot stand.
        """
        asked, latent = chosen(GANSampling, options).truncation, self.config.latent
        limit = self.config.truncation if asked is None else asked
        if limit is None:
            return self.decode(noise.normal(latent), Condition(self.wanted(noise, condition)))
        check_truncation(self.config, limit)
        if self.generator.has_styles:
            z = noise.normal(latent)
            images: Tensor = self.generator(z, self.wanted(noise, condition), truncation=limit)
            return images
        z = truncated_normal(noise, limit, latent)
        with torch.no_grad():
            drawn: Tensor = functional_call(self.generator, self._statistics(limit), (z, self.wanted(noise, condition)))
        return drawn

    def _statistics(self, limit: float) -> dict[str, Tensor]:
        """Of batch normalization, for latents within a limit; those of the weights as they are now."""
        weights = list(self.generator.parameters())
        state = (limit, sum(p._version for p in weights), str(weights[0].device))
        if state not in self._standing:
            classes, batch = len(self.spec.classes) if self.conditional else 0, max(4, min(64, AT_ONCE // self.spec.size**2))
            self._standing = {state: standing_statistics(self.generator, self.config.latent, classes, limit=limit, batch=batch)}
        return self._standing[state]

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

    @property
    def decoding(self) -> nn.Module:
        """The generator."""
        return self.generator

    @property
    def has_styles(self) -> bool:
        """Whether latents become `styles` first."""
        return self.generator.has_styles

    def styles(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """The styles (N, layers, styles) of latents (N, latent), where the generator has any; a conditional model needs labels."""
        return self.generator.styles(z, self.needed(condition))

    def of_styles(self, styles: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of styles (N, layers, styles), or (N, styles) for all layers."""
        return self.generator.of_styles(styles)

    def layers(self) -> Sequence[str]:
        """Those of the discriminator."""
        return tuple(self.discriminator.named_layers())

    @torch.no_grad()
    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        """What layers of the discriminator make of images (N, C, H, W), by name, in float32; each image is packed with itself."""
        every = self.discriminator.named_layers()
        blank = torch.zeros(len(x), dtype=torch.int64, device=x.device) if self.conditional else None  # labels join in the head alone
        with captured({name: every[name] for name in layers}) as found:
            self.discriminator(self.discriminator.look(x.repeat(1, self.config.pack, 1, 1)), blank)
        return found

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
            on_real = self._opinion(self.discriminator.faded(train.image), self._labels(train))
            on_fake = self._opinion(fake, self._labels(train))
            on_holdout = self._opinion(self.discriminator.faded(holdout.image), self._labels(holdout))
        boundary = 0.5 * (on_real.mean() + on_fake.mean()) if self.adversarial.boundary is None else self.adversarial.boundary
        accuracy = 0.5 * ((on_real > boundary).float().mean() + (on_fake < boundary).float().mean())
        return {
            "d_real": self._belief(on_real),
            "d_fake": self._belief(on_fake),
            "d_holdout": self._belief(on_holdout),
            "d_accuracy": accuracy,
            "d_sign": (on_real - boundary).sign().mean(),
            "d_auc": ranked_above(on_real, on_holdout),
        }

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self._reach(step)
        label, real = self._given(batch, step), self.discriminator.faded(batch.image)
        made, shared = self._fakes(label, len(real), step)
        if self.penalty is not None and self.penalty.due(step.index):
            return self._discriminate_smoothly(real, made, shared, label, step)
        real, fake = self._view(real, step), self._view(made, step)
        if shared:
            self._share(fake, label, step)
        judged = self._judge(real, fake.detach(), label)
        return {"loss": self._discriminator_loss(judged), **self._told(judged), **self._adapted(judged.real, step)}

    def _discriminate_smoothly(self, real: Tensor, made: Tensor, shared: bool, label: Tensor | None, step: Step) -> dict[str, Tensor]:
        """With the penalty on the gradient, which is by the images themselves and not by what augmentations make of them."""
        assert self.penalty is not None
        real, fake = self._noisy(real, step), self._noisy(made.detach(), step)
        if shared:
            self._share(self._view(made, step), label, step)
        judged, penalty = self._judge_and_penalize(real, fake, label, step)
        weight = cosine(self.config.penalty_weight, self.config.penalty_weight_end, step.progress)
        loss = self._discriminator_loss(judged) + replace(self.penalty, weight=weight).of(penalty)
        return {"loss": loss, "penalty": penalty, **self._told(judged), **self._adapted(judged.real, step)}

    def _discriminator_loss(self, judged: Logits) -> Tensor:
        loss = self._loss("discriminator", judged.fake, judged.real)
        if self.config.drift:
            loss = loss + self.config.drift * judged.real.square().mean()
        return loss if judged.classes is None else loss + self.config.auxiliary * judged.classes

    def _adapted(self, on_real: Tensor, step: Step) -> dict[str, Tensor]:
        """The share of images that are augmented from now on: adapted (Karras et al. 2020, section 3.1), or by a schedule."""
        if not self.adapts:
            return {}
        if self.config.augment_end:
            self.augment_share.fill_(cosine(0.0, self.config.augment_end, step.progress))
            return {"augment_share": self.augment_share.clone()}
        assert self.adversarial.boundary is not None
        sign = average((on_real.detach() - self.adversarial.boundary).sign().mean())
        images = len(on_real) * self.config.pack * processes() / self.config.augment_images
        self.augment_share.add_((sign - self.config.augment_target).sign() * images).clamp_(0, 1)
        return {"augment_share": self.augment_share.clone()}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self._reach(step)
        terms = self._adversarial_terms(batch, step)
        if self.config.orthogonal_weight:
            classes = [part for part in self.generator.modules() if isinstance(part, nn.Embedding)]
            terms["loss"] = terms["loss"] + self.config.orthogonal_weight * regularizers.orthogonality(self.generator, classes)
        if self.path_length is None or not self.path_length.due(step.index):
            return terms
        lengths = self._path_lengths(batch, step)
        self.path_length_mean.lerp_(average(lengths.detach().mean()), 1 - PATH_LENGTH_DECAY)
        penalty = (lengths - self.path_length_mean).square().mean()
        return {**terms, "loss": terms["loss"] + self.path_length.of(penalty), "penalty": penalty}

    def _path_lengths(self, batch: Batch, step: Step) -> Tensor:
        """Of half as many images as the batch has, which is enough (Karras et al. 2020, appendix B); by styles where there are any."""
        latent, label = self._latents((len(batch.image) + 1) // 2, step), self._labels(batch)
        label = None if label is None else label[: len(latent)]
        if self.generator.has_styles:
            styles = self.generator.styles(latent, label)
            return regularizers.path_lengths(self.generator.of_styles(styles), styles, step.rng)
        latent.requires_grad_()
        return regularizers.path_lengths(self.generator(latent, label), latent, step.rng)

    def _adversarial_terms(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        label = self._given(batch, step)
        fake = step.cache.pop("fake", None)
        if fake is None:
            fake = self._view(self.generator(self._latents(len(batch.image), step), label), step)
        else:
            label = step.cache.pop("label", None)
        if self.adversarial.needs_real:
            judged = self._judge(self._view(self.discriminator.faded(batch.image), step), fake, label)
            return {"loss": self._loss("generator", judged.fake, judged.real), **self._told(judged)}
        on_fake, classes = self._asked(self._packed(fake), label)
        loss = self._loss("generator", self._most_real(on_fake, step), None)
        loss = loss if classes is None else loss + self.config.auxiliary * classes
        return {"loss": loss, "d_fake": self._belief(on_fake)}

    def _most_real(self, on_fake: Tensor, step: Step) -> Tensor:
        """The logits that the generator learns from, fewer and fewer in the first half of the run (Sinha et al. 2020)."""
        share = max(self.config.top_k, 1 - 2 * step.progress * (1 - self.config.top_k))
        if share == 1:
            return on_fake
        order = (on_fake.flatten(1).mean(1) if on_fake.ndim > 1 else on_fake).detach()
        return on_fake[order.topk(math.ceil(share * len(order))).indices]

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
        return self._asked(self._packed(self.discriminator.look(images)), label)[0]

    def realness(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """As `calotype.capabilities.Discriminates` says: the mean of the logits of an image's parts, of packs made of one image.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        label = self.needed(condition)
        step = 1 if self.discriminator.mixes_batch else max(1, len(x))
        found = []
        for first in range(0, len(x), step):
            rows = slice(first, first + step)
            packs = x[rows].repeat(1, self.config.pack, 1, 1)
            logits = self._asked(self.discriminator.look(packs), None if label is None else label[rows])[0]
            found.append(logits.float().flatten(1).mean(1) if logits.ndim > 1 else logits.float())
        return torch.cat(found)

    def _packed(self, images: Tensor) -> Tensor:
        """As many neighbors as make a pack become channels of one image (Lin et al. 2018); who is left over is left out."""
        pack = self.config.pack
        return images if pack == 1 else images[: len(images) // pack * pack].reshape(-1, pack * images.shape[1], *images.shape[2:])

    def _asked(self, seen: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The logits, and the mean cross entropy of the classes where the discriminator tells them apart (Odena et al. 2017)."""
        if self.classifies and label is not None:
            logits, classes = self.discriminator.judge_and_classify(seen)
            return logits, F.cross_entropy(classes, label)
        return self.discriminator(seen, label), None

    def _reach(self, step: Step) -> None:
        """Let networks that change over a run do so."""
        self.generator.reach(step.progress)
        self.discriminator.reach(step.progress)

    def _judge(self, real: Tensor, fake: Tensor, label: Tensor | None, *, apart: bool = False) -> Logits:
        """What is said of both: in one pass where the network judges each image by itself and nobody wants them ``apart``."""
        real, fake = self._packed(real), self._packed(fake)
        if apart or self.discriminator.mixes_batch:
            (on_real, of_real), (on_fake, of_fake) = self._asked(real, label), self._asked(fake, label)
            return Logits(on_real, on_fake, None if of_real is None or of_fake is None else of_real + of_fake)
        both, classes = self._asked(torch.cat([real, fake]), None if label is None else torch.cat([label, label]))
        on_real, on_fake = torch.split(both, [len(real), len(fake)])
        return Logits(on_real, on_fake, None if classes is None else 2 * classes)

    def _judge_and_penalize(self, real: Tensor, fake: Tensor, label: Tensor | None, step: Step) -> tuple[Logits, Tensor]:
        """What is said of both, and the penalty."""
        kind = self.config.penalty
        if kind in ("r1", "r2", "r1_r2"):
            # one backward pass serves both penalties; the batch itself must not learn that it requires gradients
            real, fake = real.detach().requires_grad_(kind != "r2"), fake.detach().requires_grad_(kind != "r1")
            judged = self._judge(self._augmented(real, step), self._augmented(fake, step), label, apart=kind != "r1_r2")
            if kind == "r1_r2":
                penalty = regularizers.r1_r2(judged.real, real, judged.fake, fake)
            else:
                penalty = regularizers.r1(judged.real, real) if kind == "r1" else regularizers.r2(judged.fake, fake)
            return judged, penalty * (len(real) / len(judged.real))  # the mean is over what is judged: of packs, not of their images
        judged = self._judge(self._augmented(real, step), self._augmented(fake, step), label)

        def critic(images: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(self._augmented(images, step), label)
            return logits

        if kind == "dragan":
            return judged, regularizers.dragan(critic, real, step.rng)
        one_sided = kind == "gradient_one_sided"
        coarseness = self.discriminator.coarseness
        return judged, regularizers.gradient_penalty(critic, real, fake, step.rng, one_sided=one_sided, coarseness=coarseness)

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

    def _given(self, batch: Batch, step: Step) -> Tensor | None:
        """The labels that both players are given: drawn by lot at first where the settings say so, and fewer and fewer of them.

        By lots a label says nothing, so that the generator has to draw all images for each; then it may forget those of other classes.
        With two losses in place of lots the remedy is that of Shahbazi et al. (2022, "Collapse by conditioning").
        """
        label, ramp = self._labels(batch), self.config.label_ramp
        if label is None or step.progress >= ramp:
            return label
        lots = torch.randint(len(self.spec.classes), label.shape, generator=step.rng, device=step.rng.device)
        by_lot = torch.rand(label.shape, generator=step.rng, device=step.rng.device) >= step.progress / ramp
        return torch.where(by_lot, lots, label)

    def _belief(self, logits: Tensor) -> Tensor:
        """The mean probability of being real where the loss gives logits that meaning, else the mean logit."""
        logits = logits.detach()
        return (logits.sigmoid() if self.adversarial.log_odds else logits).mean()

    def _told(self, judged: Logits) -> dict[str, Tensor]:
        return {"d_real": self._belief(judged.real), "d_fake": self._belief(judged.fake)}
