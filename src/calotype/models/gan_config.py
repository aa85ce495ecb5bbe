"""What a GAN is made of and how its game is played: the settings, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from calotype.errors import UserError
from calotype.losses.adversarial import LOSSES, LossName
from calotype.losses.augmentation import AugmentationName
from calotype.models.gan_networks import DiscriminatorConfig, GeneratorConfig
from calotype.networks.biggan import BigGANGeneratorConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.progressive import ProgressiveDiscriminatorConfig, ProgressiveGeneratorConfig
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.networks.residual_gan import ResNetGeneratorConfig
from calotype.networks.skip import SkipGeneratorConfig
from calotype.networks.style import StyleGeneratorConfig
from calotype.networks.truncation import SMALLEST
from calotype.settings import WIDEST, Count, Depth, NotNegative, Part, Positive, Share, Width, unless
from calotype.types import ImageSpec, SamplingOptions

PenaltyName = Literal["none", "gradient", "gradient_one_sided", "r1", "r2", "r1_r2", "dragan"]


@dataclass(frozen=True)
class GANSampling(SamplingOptions):
    """How a GAN draws."""

    truncation: Positive | None = None  # bound of latents, or share of a style's distance from the mean: less varied


@dataclass(frozen=True)
class GANConfig:
    """A generator, a discriminator and the game between them.

    The `network` of either is mlp (fully connected), dcgan (convolutional), resnet or biggan (residual), progressive (growing), style
    (scaled by styles) or modern (residual without normalization), of a generator also skip, of a discriminator also projected (fixed
    features of photographs); the two may differ.
    """

    kind: Literal["gan"] = "gan"  # the family
    generator: GeneratorConfig = field(default_factory=DCGANGeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DCGANDiscriminatorConfig)
    loss: LossName = "non_saturating"  # what the two players play for
    conditional: bool = False  # learn the classes where the data have labels
    label_ramp: Share = 0.0  # share of the run in which labels turn from ones drawn by lot into their images' own, against collapse
    label_scale: Positive = 1.0  # of the embedding of a label beside the latents: shorter ones leave more to these, against collapse
    latent: Width = 100  # numbers that an image is made from
    critic_steps: Depth = 1  # steps of the discriminator for each of the generator
    discriminator_lr_mult: Positive = 1.0  # learning rate of the discriminator relative to the generator's
    penalty: PenaltyName = "none"  # on the gradient of the discriminator
    penalty_weight: NotNegative = 10.0  # lambda of the gradient penalties and dragan, gamma of r1 and r2
    penalty_weight_end: NotNegative | None = None  # at the end of the run, approached along a cosine; the same throughout if not given
    penalty_every: Count = 1  # steps between two penalties, each of which then counts so many times
    path_length_weight: NotNegative = 0.0  # of path length regularization, a penalty on the generator: 2 in StyleGAN2
    path_length_every: Count = 8  # steps between two of them, each of which then counts so many times
    orthogonal_weight: NotNegative = 0.0  # of orthogonal regularization of the generator, which truncation needs: 0.0001 in BigGAN
    drift: NotNegative = 0.0  # weight of the mean squared logit of real images, which bounds a critic's: 0.001 in progressive growing
    auxiliary: NotNegative = 0.0  # weight of telling classes apart, with the head auxiliary of a discriminator: 1 in ACGAN
    pack: Annotated[int, Field(ge=1, le=8)] = 1  # images that the discriminator judges as one, against mode collapse (PacGAN)
    top_k: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of its images that the generator learns from in the end: the most real ones
    # early blocks of the discriminator that stay as they are in a training that starts from a model (FreezeD)
    freeze_discriminator: Annotated[int, Field(ge=0, le=WIDEST)] = 0
    clip_weights: Positive | None = None  # largest absolute weight of the discriminator
    smooth: Annotated[float, Field(gt=0.5, le=1)] = 1.0  # label of real images: below 1 is one-sided label smoothing
    augment: tuple[AugmentationName, ...] = ()  # what the discriminator sees all images through, for few images
    augment_target: Share = 0.6  # of adaptive: the mean sign of logits on real images above which more is augmented, below which less
    augment_images: Count = 20_000  # of adaptive: images in which the share of what is augmented could rise from 0 to 1
    augment_end: Part = 0.0  # of adaptive: the share that is augmented at the end, approached along a cosine and not adapted; 0 adapts
    instance_noise: NotNegative = 0.0  # standard deviation of noise on what the discriminator sees, falling to 0 over the run
    truncation: Positive | None = None  # when sampling: bound of latents, or share of a style's distance from the mean

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return {
            **unless(spec.classes, "images with labels", "conditional", "auxiliary", "label_ramp"),
            **unless(self.conditional, "`model.conditional=True`", "label_ramp"),
            **unless(
                self.conditional and spec.classes and not _in_layers(self.generator),
                "images with labels, `model.conditional=True`, and a generator that is told classes beside its latents",
                "label_scale",
            ),
            **unless(self.penalty != "none", "a `model.penalty`", "penalty_weight", "penalty_weight_end", "penalty_every"),
            **unless(self.path_length_weight, "`model.path_length_weight` above 0", "path_length_every"),
            **unless(not self.augment_end, "`model.augment_end=0`", "augment_target", "augment_images"),
            **unless("adaptive" in self.augment, "adaptive among `model.augment`", "augment_target", "augment_images", "augment_end"),
        }


def _in_layers(generator: GeneratorConfig) -> bool:
    """Whether classes reach a generator by its layers, and not beside the latents."""
    if isinstance(generator, DCGANGeneratorConfig):
        return generator.condition == "norm" and generator.norm != "none"
    return isinstance(generator, BigGANGeneratorConfig) or (isinstance(generator, ResNetGeneratorConfig) and generator.norm != "none")


def check(config: GANConfig, spec: ImageSpec) -> None:
    """Raise `UserError` for settings that contradict each other or the images."""
    _check_points(config, spec)
    _check_penalties(config)
    _check_labels(config, spec)
    _check_growth(config)
    if config.truncation is not None:
        check_truncation(config, config.truncation)
    if config.orthogonal_weight and isinstance(config.generator, DCGANGeneratorConfig | SkipGeneratorConfig):
        raise UserError(
            "orthogonal regularization is of linear maps and ordinary convolutions: give resnet or biggan as `model.generator.network`, or "
            "`model.orthogonal_weight=0`"
        )
    if config.smooth != 1 and not LOSSES[config.loss].smooths:
        able = ", ".join(name for name, loss in LOSSES.items() if loss.smooths)
        raise UserError(f"label smoothing is not defined for the {config.loss} loss: set `model.smooth=1` or use one of {able}")
    if "adaptive" in config.augment and not config.augment_end and LOSSES[config.loss].boundary is None:
        able = ", ".join(name for name, loss in LOSSES.items() if loss.boundary is not None)
        raise UserError(
            f"adaptive augmentation asks on which side of its boundary the discriminator sees real images, and {config.loss} has none: "
            f"take one of {able} by `model.loss`, another `model.augment`, or a share by schedule with `model.augment_end`"
        )
    if config.clip_weights is not None and config.discriminator.spectral:
        raise UserError("clipped weights and spectral normalization do the same work: set one of them only")
    if config.top_k < 1 and LOSSES[config.loss].needs_real:
        raise UserError(f"the {config.loss} loss compares each generated image with a real one and can leave none out: set `model.top_k=1`")


def _check_points(config: GANConfig, spec: ImageSpec) -> None:
    """Points are one pixel: nothing of it can be convolved, moved or recolored."""
    if spec.points is None:
        return
    for player, network in (("generator", config.generator.network), ("discriminator", config.discriminator.network)):
        if network != "mlp":
            raise UserError(
                f"the network {network} makes and judges images, and {spec.points.name} holds points: `model.{player}.network=mlp`, or "
                "`calotype train points`"
            )
    if config.augment:
        raise UserError(f"{spec.points.name} holds points, which cannot be augmented as images are: leave out `model.augment`")


def check_truncation(config: GANConfig, truncation: float) -> None:
    """Raise `UserError` for a truncation that a model with these settings cannot stand."""
    if isinstance(config.generator, StyleGeneratorConfig):
        return
    if not config.orthogonal_weight:
        raise UserError(
            "without orthogonal regularization truncated latents lead to images that a model never learned: leave truncation out, or train "
            "with `model.orthogonal_weight=0.0001`"
        )
    if truncation < SMALLEST:
        raise UserError(f"a truncation of {truncation:g} leaves no latents to draw: give at least {SMALLEST}")


def _check_penalties(config: GANConfig) -> None:
    if config.penalty.startswith("gradient") and config.discriminator.norm == "batch":
        raise UserError(
            "a gradient penalty judges each image by itself, which batch normalization prevents: `model.discriminator.norm=layer`"
        )
    if config.path_length_weight and config.generator.norm == "batch":
        raise UserError(
            "path length regularization follows each image to its latents by itself, which batch normalization prevents: take a "
            "`model.generator` whose norm is another, such as that of the network style"
        )
    if config.penalty != "none" and isinstance(config.discriminator, ProjectedDiscriminatorConfig) and config.discriminator.warmup:
        raise UserError(
            "a penalty on gradients by images needs one discriminator for the whole run: `model.discriminator.warmup=0`, or "
            "`model.penalty=none`"
        )
    if config.penalty in ("gradient", "gradient_one_sided", "dragan") and config.pack > 1:
        raise UserError(
            "this penalty is on gradients by single images, and packed ones are judged as one: set `model.pack=1` or `model.penalty=r1`"
        )


def _check_labels(config: GANConfig, spec: ImageSpec) -> None:
    if config.pack > 1 and config.conditional and spec.classes:
        raise UserError("images of several classes cannot be judged as one: set `model.pack=1` or `model.conditional=False`")
    if config.pack > 1 and isinstance(config.discriminator, ProjectedDiscriminatorConfig):
        raise UserError("features of photographs are of one image: set `model.pack=1`, or take another `model.discriminator.network`")
    head = getattr(config.discriminator, "head", "projection")
    if config.auxiliary and not (head == "auxiliary" and config.conditional):
        raise UserError(
            "`model.auxiliary` weighs how a discriminator tells classes apart: give `model.conditional=True` and "
            "`model.discriminator.head=auxiliary`, which the networks resnet and biggan have"
        )
    if config.auxiliary and config.label_ramp:
        raise UserError("who learns to tell classes apart must not be told labels by lot: `model.label_ramp=0`, or `model.auxiliary=0`")
    if head == "auxiliary" and not config.auxiliary:
        raise UserError("nothing trains the auxiliary head: give `model.auxiliary=1`, or another `model.discriminator.head`")


def _check_growth(config: GANConfig) -> None:
    grows = [isinstance(c, ProgressiveGeneratorConfig | ProgressiveDiscriminatorConfig) for c in (config.generator, config.discriminator)]
    if any(grows) and (not all(grows) or config.generator.growth != config.discriminator.growth):  # type: ignore[union-attr]
        raise UserError("networks grow together: give progressive as the `network` of both players, and one growth")
