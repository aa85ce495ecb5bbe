"""A restorer: one network, trained by regression, that makes a good image of a degraded one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.losses.adversarial import least_squares
from calotype.losses.perceptual import SEED, SMALLEST, STAGES, WIDTHS, perceptual
from calotype.networks.blocks import evaluating
from calotype.networks.patchgan import PatchGAN, halvings_for
from calotype.networks.published import LITE1, PhotographEye
from calotype.networks.rays import FARTHEST, Rays
from calotype.networks.recognizer import RandomNetwork
from calotype.networks.restorer import FSRCNN, Curves, DnCNN, ResidualRestorer, filled
from calotype.networks.tone import DEEPEST as DEEPEST_TONE
from calotype.networks.tone import Tone
from calotype.settings import Depth, NotNegative, Width, unless
from calotype.types import Batch, Condition, FillingOptions, ImageSpec, Model, Noise, Player, SamplingOptions, Source, Step, chosen

JUDGED = 16  # pixels a side that training images must have for an adversarial loss to make sense
OVERVIEW = 512  # pixels a side of the sample of a whole picture by which one curve is found for all of its parts
JUDGE_WIDTH = 64  # channels of the discriminator
HIGHEST = 40.0  # dB from which on the loss "psnr" asks for little more


@dataclass(frozen=True)
class RestorerConfig:
    """A restorer's network and loss."""

    kind: Literal["restorer"] = "restorer"
    # residual: blocks without normalization, flat or in the shape of a U; naf: NAFNet's blocks; curves: brightness and contrast alone, for
    # each place; tone: the same for the whole picture; rays: holes, along lines
    network: Literal["residual", "naf", "dncnn", "fsrcnn", "curves", "tone", "rays"] = "residual"
    width: Annotated[Width, Field(ge=4)] = 48  # channels
    depth: Depth = 4  # blocks at the coarsest resolution; layers of dncnn, fsrcnn and curves
    levels: Annotated[int, Field(ge=0, le=4)] = 0  # halvings of the resolution, each with twice the channels (residual, naf and rays)
    unshuffle: Annotated[int, Field(ge=1, le=8)] = 1  # pixels a side that become one place of the network: 2 is four times faster
    loss: Literal["l1", "l2", "psnr"] = "l1"  # distance between restored and true images; psnr: by how many times 10 dB each misses 40 dB
    adversarial: NotNegative = 0.0  # weight of a discriminator of patches beside it: sharper, and less true
    perceptual: NotNegative = 0.0  # weight of a distance in features beside it: more detail, less of it true
    perceptual_features: Literal["photos", "random"] = (
        "photos"  # of a network that knows photographs (EfficientNet-Lite1), or of a random one
    )

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.perceptual, "`model.perceptual` above 0", "perceptual_features")


class Restorer(Model):
    """Learns the true image from ``Condition.source``, for sources of any size (fully convolutional).

    A source with a map of known pixels is inpainted: those pixels are kept as they are, and the loss is that of the others alone.

    Raises:
        UserError: for images without sources, and for options that do not fit them.
    """

    from_source = True
    sampling = FillingOptions

    def __init__(self, config: RestorerConfig, spec: ImageSpec) -> None:
        super().__init__()
        if spec.source is None:
            raise UserError("a restorer learns from images that were degraded: say how with `data.degrade`, for example noise:25")
        _check(config, spec, spec.source)
        self.config = config
        self.spec = spec
        self.mask = spec.source.channels + spec.source.conditioning.index("mask") if "mask" in spec.source.conditioning else None
        self.network = _network(config, spec.source, spec.channels)
        self.overview = OVERVIEW if config.network == "tone" else 0
        self.reach = FARTHEST if config.network == "rays" else 0  # which no short hole tells
        self.discriminator: PatchGAN | None = None
        if config.adversarial:
            self.discriminator = PatchGAN(spec.channels, width=JUDGE_WIDTH, halvings=halvings_for(spec.size))
        self.eye: RandomNetwork | PhotographEye | None = None  # never trained, and not saved
        if config.perceptual and config.perceptual_features == "photos":
            self.eye, self.through = PhotographEye(LITE1, STAGES), (LITE1.network,)
        elif config.perceptual:
            self.eye = RandomNetwork(spec.channels, SEED, WIDTHS, saved=False)

    def players(self) -> Sequence[Player]:
        """The network, then the discriminator where there is one.

        Raises:
            UserError: where the loss looks through a network whose weights are not installed.
        """
        if isinstance(self.eye, PhotographEye):
            self.eye.ready("give `model.perceptual_features=random`")
        restorer = Player("restorer", self.network, self._loss)
        if self.discriminator is None:
            return (restorer,)
        return (restorer, Player("discriminator", self.discriminator, self._discriminate))

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """The restored images (N, C, H, W) of ``condition.source`` (N, C', h, w); ``noise`` has no part in it.

        Prefilled colors are those of `filled`.
        """
        source, whole = source_of(condition), None if condition is None else condition.whole
        return self.restore(source, chosen(FillingOptions, options).prefilled, whole).float().clamp(-1, 1)

    def restore(self, source: Tensor, prefilled: bool = False, whole: Tensor | None = None) -> Tensor:
        """Restored images, not yet clipped; those that are parts of a picture as the whole of it asks."""
        if self.mask is None:
            restored: Tensor = self.network(source) if whole is None else self.network(source, whole)
            return restored
        known, picture, maps = self._known(source), source[:, : self.spec.channels], source[:, self.spec.channels :]
        smooth = picture if prefilled else filled(picture.float(), known.float())  # the network has to add what is not smooth alone
        return torch.where(known, picture, self.network(torch.cat([smooth, maps], 1)))

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """PSNR in dB of training and held-out images, all channels; of the unknown pixels alone, where some are known."""
        with evaluating(self.network):
            return {"psnr_train": self._psnr(train), "psnr_holdout": self._psnr(holdout)}

    def _psnr(self, batch: Batch) -> Tensor:
        """Mean over the images of 10 log10(4 / MSE), in dB."""
        source = source_of(batch.condition)
        error = (self.restore(source).float().clamp(-1, 1) - batch.image).square().mean(1, keepdim=True)
        counted = torch.ones_like(error) if self.mask is None else 1 - self._known(source).float()
        mse = (error * counted).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1)
        return (10 * torch.log10(4 / mse.clamp(min=1e-8))).mean()

    def _known(self, source: Tensor) -> Tensor:
        """Where pixels are known, (N, 1, h, w) bool."""
        assert self.mask is not None
        return source[:, self.mask : self.mask + 1] > 0.5

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        source = source_of(batch.condition)
        restored = self.restore(source).float()
        error = (restored - batch.image).abs() if self.config.loss == "l1" else (restored - batch.image).square()
        # pixels that are kept have no error: the mean is over the others
        counted = error.new_ones(len(error)) if self.mask is None else 1 - self._known(source).float().mean((1, 2, 3))
        if self.config.loss == "psnr":  # of each image by itself, as it is judged
            mse = error.mean((1, 2, 3)) / counted.clamp(min=1e-3)
            distance = (mse / 4 + 10 ** (-HIGHEST / 10)).log10().mean() + HIGHEST / 10
        else:
            distance = error.mean() / counted.mean().clamp(min=1e-3)
        terms = {"loss": distance}
        if self.eye is not None:
            terms["perceptual"] = self._looks(restored, batch.image)
            terms["loss"] = terms["loss"] + self.config.perceptual * terms["perceptual"]
        if self.discriminator is not None:
            step.cache["restored"] = restored.detach()
            terms["loss_g_adv"] = least_squares("generator", self.discriminator(restored))
            terms["loss"] = terms["loss"] + self.config.adversarial * terms["loss_g_adv"]
        return terms if len(terms) == 1 else {**terms, "distance": distance}

    def _looks(self, restored: Tensor, truth: Tensor) -> Tensor:
        """The distance of restored and true images in features, in float32."""
        assert self.eye is not None
        with torch.autocast(restored.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.eye.maps(truth)
            return perceptual(self.eye.maps(restored), wanted)

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        assert self.discriminator is not None
        fake = step.cache.get("restored")
        if fake is None:
            with torch.no_grad():
                fake = self.restore(source_of(batch.condition)).float()
        return {"loss": least_squares("discriminator", self.discriminator(fake), self.discriminator(batch.image))}


def source_of(condition: Condition | None) -> Tensor:
    """The images to start from. Raises `UserError` where there are none."""
    if condition is None or condition.source is None:
        raise UserError("this model makes images from images: give it some, as in calotype restore RUN IN OUT")
    return condition.source


def _network(config: RestorerConfig, source: Source, out: int) -> nn.Module:
    width, depth = config.width, config.depth
    match config.network:
        case "residual" | "naf" as block:
            return ResidualRestorer(source, out, width=width, depth=depth, levels=config.levels, unshuffle=config.unshuffle, block=block)
        case "dncnn":
            return DnCNN(source, out, width=width, depth=depth)
        case "fsrcnn":
            return FSRCNN(source, out, width=width, depth=depth)
        case "curves":
            return Curves(source, out, width=width, depth=depth, unshuffle=config.unshuffle)
        case "rays":
            return Rays(source, out, width=width, depth=depth, levels=config.levels, unshuffle=config.unshuffle)
        case "tone":
            return Tone(source, out, width=width, depth=depth)


def require_pairs(source: Source) -> None:
    """Raise `UserError` for sources that show something else than the images."""
    if not source.paired:
        raise UserError("this model learns from a picture and the same picture degraded: leave out `data.paired`, or train cyclegan or cut")


def _check(config: RestorerConfig, spec: ImageSpec, source: Source) -> None:
    require_pairs(source)
    if spec.size % source.scale:
        near = spec.size - spec.size % source.scale
        raise UserError(f"patches of {spec.size} pixels are no multiple of the scale {source.scale}: give `data.patch={near}`")
    if "mask" in source.conditioning and (source.scale > 1 or source.channels != spec.channels):
        raise UserError(f"{source} keeps no pixel as it is: inpaint at full size and in the same colors, as with `data.degrade=mask:box`")
    if config.network in ("curves", "tone") and source.scale > 1:
        raise UserError("curves make no larger images: leave `model.network` out, or degrade without downsampling")
    if config.network == "tone" and "mask" in source.conditioning:
        raise UserError("one curve for all pixels fills no holes: leave `model.network` out, or degrade without a mask")
    if config.network == "rays" and "mask" not in source.conditioning:
        raise UserError("the network rays fills holes alone: give `model.network=residual`, or a mask, as in `data.degrade=mask:box`")
    if config.network not in ("residual", "naf", "rays") and config.levels:
        raise UserError(
            f"`model.levels` belongs to the residual, naf and rays networks: leave it out beside `model.network={config.network}`"
        )
    if config.network == "tone" and config.depth > DEEPEST_TONE:
        raise UserError(f"the tone network halves a small picture with every layer: give `model.depth={DEEPEST_TONE}` or less")
    if config.network in ("dncnn", "fsrcnn", "tone") and config.unshuffle > 1:
        raise UserError(f"`model.unshuffle` is not for `model.network={config.network}`: leave it out")
    if config.adversarial and spec.size < JUDGED:
        raise UserError(f"an adversarial loss needs images of {JUDGED} pixels or more: give a larger `data.patch`")
    if config.perceptual and spec.size < SMALLEST:
        raise UserError(f"a perceptual loss needs images of {SMALLEST} pixels or more: give a larger `data.patch`")
