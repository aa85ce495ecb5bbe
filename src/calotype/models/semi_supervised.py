"""The semi-supervised GAN: few labels, many images without, and generated ones teach one network to tell classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from calotype.errors import UserError
from calotype.losses.adversarial import ranked_above
from calotype.models.recognition import Varying, accuracy, erased, labels_in, varied
from calotype.networks.blocks import evaluating
from calotype.networks.class_discriminator import ClassDiscriminator
from calotype.networks.dcgan import DCGANGenerator
from calotype.networks.hooks import captured
from calotype.settings import NotNegative, Part, Share, Width
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step


@dataclass(frozen=True)
class SGANConfig(Varying):
    """A generator, a discriminator that tells classes apart, and what each is taught by."""

    kind: Literal["sgan"] = "sgan"
    shift: Part = 0.08  # largest move of an image, as a share of its side; generated ones are varied alike
    rotate: Annotated[float, Field(ge=0, le=45)] = 10.0  # largest turn in degrees
    latent: Width = 64  # numbers that an image is made from
    width: Width = 32  # channels of the generator's largest map
    discriminator_width: Annotated[Width, Field(ge=4)] = 16  # channels of the discriminator's first map
    dropout: Part = 0.2  # share of the maps and features of the discriminator that is dropped in training
    noise: NotNegative = 0.2  # standard deviation of the noise on what the discriminator sees in training
    real_or_fake: NotNegative = 1.0  # weight of telling real images from generated ones, beside telling classes apart
    consistency: NotNegative = 5.0  # weight of saying the same of an image that is moved and seen through dropout as of the image itself
    entropy: NotNegative = 0.0  # weight of being sure of the classes of images without labels
    ramp: Share = 0.1  # share of the run in which these three weights rise from 0
    pull_away: NotNegative = 0.0  # weight of a generator's images being unlike each other, beside matching features
    labels_only: bool = True  # train the same network on the labels alone as well, which reports set beside it


class SemiSupervisedGAN(Model):
    """A GAN whose discriminator tells K classes apart, and all of them from generated images (Salimans et al. 2016, section 5).

    With logits l of the classes and Z = sum exp l, the discriminator minimizes the cross entropy of the images whose labels are known,
    and, of all others, -log Z / (Z + 1) of real and -log 1 / (Z + 1) of generated ones. The generator does not play against that: it
    matches the mean features of real images (section 3.1), from which the discriminator learns the more of the classes.

    Beside that game the probabilities of a real image must stay what they are when it is moved and seen through noise and dropout
    (consistency, Laine & Aila 2017; in semi-supervised GANs Wei et al. 2018), which has no generator in it: a report of what generated
    images are worth sets ``consistency`` to 0. Two terms of Dai et al. (2017) can be added: the entropy of p(class | real image without a
    label), and a pull-away term of generated features.

    Raises:
        UserError: where the images have no classes, or one.
    """

    learns_unlabelled = True
    least_batch = 2
    network: ClassDiscriminator

    def __init__(self, config: SGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        classes = len(spec.classes)
        if classes < 2:
            what = "one class only" if classes else "no labels"
            raise UserError(f"sgan tells two classes or more apart, and these images have {what}: give data with class subfolders")
        self.config = config
        self.spec = spec
        self.generator = DCGANGenerator(spec.shape, latent=config.latent, width=config.width)
        self.network = self._discriminator()
        self.alone = self._discriminator() if config.labels_only else None

    def _discriminator(self) -> ClassDiscriminator:
        c, spec = self.config, self.spec
        return ClassDiscriminator(
            spec.channels, len(spec.classes), spec.size, width=c.discriminator_width, dropout=c.dropout, noise=c.noise
        )

    def players(self) -> Sequence[Player]:
        """The discriminator, the generator, and the network that learns from labels only."""
        both = (Player("discriminator", self.network, self._discriminate), Player("generator", self.generator, self._generate))
        return both if self.alone is None else (*both, Player("labels_only", self.alone, self._learn_labels_only))

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1].

        Raises:
            UserError: where a label is asked for.
        """
        self.wanted(noise, condition)
        return self.decode(noise.normal(self.config.latent))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.config.latent,)

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of latents (N, latent)."""
        images: Tensor = self.generator(z)
        return images

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer of the discriminator, (N, d) float32, of images (N, C, H, W) in [-1, 1]."""
        return self.network.features(x)

    def logits_of(self, features: Tensor) -> Tensor:
        """(N, classes) float32 of features (N, d)."""
        return self.network.logits_of(features)

    def labels_only_logits(self, x: Tensor) -> Tensor | None:
        """(N, classes) float32 of images (N, C, H, W), by the same network trained on labels alone; None where that is left out."""
        return None if self.alone is None else self.alone(x)

    def layers(self) -> Sequence[str]:
        """Those of the discriminator."""
        return tuple(self.network.named_layers())

    @torch.no_grad()
    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        """What layers of the discriminator make of images (N, C, H, W), by name, in float32."""
        every = self.network.named_layers()
        with captured({name: every[name] for name in layers}) as found:
            self.network(x)
        return found

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """What the discriminator makes of real and generated images, as of any GAN, and what both networks name rightly."""
        known = train if train.labelled is None else train.labelled
        with evaluating(self):
            images = (known.image, train.image, holdout.image, self.generator(self._latents(len(train.image), step)))
            on_known, on_real, on_holdout, on_fake = (self.network(image) for image in images)
            alone = self.labels_only_logits(holdout.image)
        label = labels_in(holdout)
        real, held, fake = (logits.logsumexp(1) for logits in (on_real, on_holdout, on_fake))
        told = {} if alone is None else {"accuracy_labels_only": accuracy(alone, label)}
        return {
            "accuracy_train": accuracy(on_known, labels_in(known)),
            "accuracy_holdout": accuracy(on_holdout, label),
            **told,
            "loss_holdout": F.cross_entropy(on_holdout, label),
            "d_real": real.sigmoid().mean(),
            "d_fake": fake.sigmoid().mean(),
            "d_holdout": held.sigmoid().mean(),
            "d_accuracy": 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean()),
            "d_sign": real.sign().mean(),
            "d_auc": ranked_above(real, held),
        }

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        c, known = self.config, batch if batch.labelled is None else batch.labelled
        label = labels_in(known)
        fake = self._varied(self.generator(self._latents(len(batch.image), step)), step)
        real = self._varied(batch.image, step)
        step.cache["fake"] = fake  # with its graph, for the generator's step
        shown = [real, fake.detach()] if known is batch else [real, fake.detach(), self._varied(known.image, step)]
        features = self.network.features(torch.cat(shown))
        logits = self.network.logits_of(features)
        n = len(real)
        of_real, of_fake, of_known = logits[:n], logits[n : 2 * n], logits[:n] if known is batch else logits[2 * n :]
        step.cache["features"] = features[:n].detach().mean(0)
        named = F.cross_entropy(of_known, label, label_smoothing=c.smooth)
        mass, fake_mass = of_real.logsumexp(1), of_fake.logsumexp(1)
        told_apart = 0.5 * (F.softplus(-mass).mean() + F.softplus(fake_mass).mean())
        terms = {"real_or_fake": told_apart}
        if c.consistency:
            terms["consistency"] = self._inconsistency(batch.image, of_real)
        if c.entropy:
            terms["entropy"] = entropy(of_real)
        weight = min(1.0, step.progress / c.ramp) if c.ramp else 1.0
        return {
            "loss": named + weight * torch.stack([getattr(c, name) * term for name, term in terms.items()]).sum(),
            "class": named,
            **terms,
            "accuracy": accuracy(of_known, label),
            "d_real": mass.detach().sigmoid().mean(),
            "d_fake": fake_mass.detach().sigmoid().mean(),
        }

    def _inconsistency(self, image: Tensor, logits: Tensor) -> Tensor:
        """The mean squared distance of the probabilities (N, K) behind logits from those of the images as they are."""
        with torch.no_grad(), evaluating(self.network):
            wanted = self.network(image).softmax(1)
        apart: Tensor = (logits.softmax(1) - wanted).square().sum(1).mean()
        return apart

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        fake, wanted = step.cache.pop("fake", None), step.cache.pop("features", None)
        if fake is None or wanted is None:
            fake = self._varied(self.generator(self._latents(len(batch.image), step)), step)
            with torch.no_grad():
                wanted = self.network.features(self._varied(batch.image, step)).mean(0)
        features = self.network.features(fake)
        matching = (features.mean(0) - wanted).square().mean()
        if not self.config.pull_away:
            return {"loss": matching}
        alike = pull_away(features)
        return {"loss": matching + self.config.pull_away * alike, "matching": matching, "pull_away": alike}

    def _learn_labels_only(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        known = batch if batch.labelled is None else batch.labelled
        assert self.alone is not None
        label, logits = labels_in(known), self.alone(self._varied(known.image, step))
        named = F.cross_entropy(logits, label, label_smoothing=self.config.smooth)
        return {"loss": named, "accuracy": accuracy(logits, label)}

    def _varied(self, images: Tensor, step: Step) -> Tensor:
        """Images moved, turned, scaled and erased at random; generated ones too (Zhao et al. 2020), or the generator would learn it."""
        c = self.config
        return erased(varied(images.float(), step.rng, c.shift, c.rotate, c.scale), step.rng, c.erase)

    def _latents(self, n: int, step: Step) -> Tensor:
        return torch.randn(n, self.config.latent, generator=step.rng, device=step.rng.device)


def entropy(logits: Tensor) -> Tensor:
    """The mean entropy in nats of softmax distributions, of logits (N, K): the conditional entropy of Dai et al. (2017, equation 8)."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def pull_away(features: Tensor) -> Tensor:
    """The mean squared cosine between different ones of features (N, d), 0 where all are at right angles (Zhao et al. 2017)."""
    units = F.normalize(features, dim=1)
    n = len(units)
    return ((units @ units.T).square().sum() - units.square().sum(1).square().sum()) / max(1, n * (n - 1))
