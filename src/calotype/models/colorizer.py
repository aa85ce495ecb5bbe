"""A colorizer: for every place of a gray image, which colors are likely there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from calotype.degrade.color import Luma
from calotype.errors import UserError
from calotype.models.restorer import require_pairs, source_of
from calotype.networks.blocks import evaluating, padded
from calotype.networks.body import Body
from calotype.networks.lab import lab_of, mixed, rgb_of
from calotype.parallel import average
from calotype.settings import Depth, Share, Width
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step

GRID = 10.0  # side of a bin in the plane of a and b
NEAR = 5  # bins that a color is spread over
SPREAD = 5.0  # standard deviation of that
MEMORY = 0.01  # share of the last batch in what is known of how common colors are
LEVELS = 256  # of gray


@dataclass(frozen=True)
class ColorizerConfig:
    """A colorizer's network and what it makes of its beliefs."""

    kind: Literal["colorizer"] = "colorizer"
    width: Annotated[Width, Field(ge=4)] = 48  # channels at the finest resolution
    depth: Depth = 2  # residual blocks at the coarsest resolution
    levels: Annotated[int, Field(ge=0, le=4)] = 2  # halvings of the resolution, each with twice the channels
    unshuffle: Annotated[int, Field(ge=1, le=8)] = 4  # pixels a side that get one color; it is interpolated between them
    rebalance: Share = 0.5  # how far rare colors weigh more: 0 all alike, 1 in inverse proportion
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.38  # of the beliefs that a color is the mean of: 1 is dull, towards 0 is blotchy


class Colorizer(Model):
    """Classifies colors in CIE Lab (Zhang et al. 2016): soft labels over bins of (a, b), rare ones weighing more, annealed means.

    The result's Rec. 601 luma is the gray image's in every pixel: what `color -> gray` makes of it is the source again.

    Raises:
        UserError: where images have no color, or sources are not gray.
    """

    from_source = True

    def __init__(self, config: ColorizerConfig, spec: ImageSpec) -> None:
        super().__init__()
        if spec.channels != 3:
            raise UserError("colors are learned from color images, and these are gray: give others with `data.source`")
        if spec.source is None or spec.source.channels != 1 or spec.source.scale != 1 or spec.source.conditioning:
            raise UserError("a colorizer starts from gray images of the same size: leave `data.degrade` at gray")
        require_pairs(spec.source)
        self.config = config
        self.spec = spec
        self.network = nn.Sequential()
        body = Body(1, width=config.width, depth=config.depth, levels=config.levels, unshuffle=config.unshuffle, block="residual")
        bins = colors()
        self.network.append(body).append(nn.Conv2d(config.width, len(bins), 1))
        self.multiple = body.multiple
        self.register_buffer("bins", bins)
        self.register_buffer("common", torch.full((len(bins),), 1 / len(bins)))
        self.bins: Tensor  # (Q, 2) float32, the middles of the bins
        self.common: Tensor  # (Q,) float32, how common each is in the training images, as far as is known
        self.register_buffer("tint", torch.zeros(LEVELS, 3))
        self.tint: Tensor  # (256, 3) float32: of the pixels of each gray level the sum of a, that of b, and their number, all fading

    def players(self) -> Sequence[Player]:
        """The network."""
        return (Player("colorizer", self.network, self._loss),)

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """The colored images (N, 3, H, W) of ``condition.source`` (N, 1, H, W); ``noise`` has no part in it."""
        gray = source_of(condition).float().clamp(-1, 1)
        beliefs = (self._logits(gray) / self.config.temperature).softmax(1)
        means = mixed(self.bins.T, beliefs)
        means = functional.interpolate(means, scale_factor=self.config.unshuffle, mode="bilinear", align_corners=False)
        return colored(gray, means[:, :, : gray.shape[2], : gray.shape[3]])

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """PSNR in dB of training and held-out images, and of held-out ones in the mean color of each gray level."""
        with evaluating(self.network):
            scores = {
                f"psnr_{name}": _psnr(self.sample(Noise(0), b.condition), b.image) for name, b in (("train", train), ("holdout", holdout))
            }
        return {**scores, "psnr_palette_holdout": _psnr(self.by_palette(source_of(holdout.condition)), holdout.image)}

    def baselines(self, source: Tensor) -> dict[str, Tensor]:
        """Gray images (N, 1, H, W) in the mean colors of their gray levels, under the name "palette mean"."""
        return {"palette mean": self.by_palette(source.to(self.tint.device))}

    def by_palette(self, gray: Tensor) -> Tensor:
        """Gray images (N, 1, H, W) in the mean color of each gray level of the training images, (N, 3, H, W): what has to be beaten.

        Levels that were never seen get the mean of all.
        """
        whole = self.tint.sum(0)
        means = (self.tint[:, :2] + whole[:2] / whole[2].clamp(min=1e-9) * 1e-3) / (self.tint[:, 2:] + 1e-3)
        return colored(gray, means[_level(gray)].permute(0, 3, 1, 2))

    def _logits(self, gray: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, Q, h, w) float32, one place for ``unshuffle`` pixels a side."""
        logits: Tensor = self.network(padded(gray, self.multiple))
        return logits.float()

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            color = lab_of(batch.image)[:, 1:]
            self._tint(source_of(batch.condition), color)
            color = padded(color, self.multiple)
            label, soft = self._soft(functional.avg_pool2d(color, self.config.unshuffle))
            weight = self._weights()[label]
        log_p = self._logits(source_of(batch.condition)).log_softmax(1)
        entropy = -(soft * log_p).sum(1)
        return {"loss": (weight * entropy).mean()}

    def _tint(self, gray: Tensor, color: Tensor) -> None:
        """Learn the mean colors of gray levels from images (N, 1, H, W) with colors (N, 2, H, W)."""
        seen = torch.cat([color, torch.ones_like(gray)], 1).permute(0, 2, 3, 1).reshape(-1, 3)
        part = torch.zeros_like(self.tint).index_add_(0, _level(gray).flatten(), seen)
        self.tint.lerp_(average(part / len(seen)), MEMORY)

    @torch.no_grad()
    def _soft(self, color: Tensor) -> tuple[Tensor, Tensor]:
        """Of (N, 2, h, w): the nearest bin (N, h, w), and the shares of the nearest few (N, Q, h, w); learns how common they are."""
        distance = torch.cdist(color.permute(0, 2, 3, 1).reshape(-1, 2), self.bins)
        near, which = distance.topk(NEAR, largest=False)
        share = (-(near.square()) / (2 * SPREAD**2)).softmax(1)
        soft = torch.zeros_like(distance).scatter_(1, which, share)
        self.common.lerp_(average(soft.mean(0)), MEMORY)
        n, _, h, w = color.shape
        return which[:, 0].view(n, h, w), soft.view(n, h, w, -1).permute(0, 3, 1, 2)

    def _weights(self) -> Tensor:
        """How much each bin weighs, (Q,); one on the average over the training images (Zhang et al. 2016, eq. 4)."""
        share = self.config.rebalance
        weight = 1 / ((1 - share) / len(self.common) + share * self.common) if share else torch.ones_like(self.common)
        return weight / (weight * self.common).sum()


def colors() -> Tensor:
    """The middles of the bins of (a, b) that some color of a screen lies in, (Q, 2) float32."""
    axis = torch.arange(-110.0, 111.0, GRID, device="cpu")
    plane = torch.cartesian_prod(axis, axis)
    light = torch.arange(5.0, 100.0, 5.0, device="cpu")
    lab = torch.cat([light.view(1, -1, 1).expand(len(plane), -1, 1), plane[:, None].expand(-1, len(light), 2)], 2)
    rgb = rgb_of(lab.permute(0, 2, 1)[..., None])
    return plane[(rgb.abs() <= 1).all(1).any(1)[:, 0]]


def colored(gray: Tensor, color: Tensor) -> Tensor:
    """Gray images (N, 1, H, W) with the colors (a, b) of (N, 2, H, W), (N, 3, H, W) in [-1, 1]: of that luma exactly.

    A color that is too strong for its luma is made weaker until a screen has it.
    """
    light = lab_of(gray.expand(-1, 3, -1, -1))[:, :1]
    rgb = rgb_of(torch.cat([light, color], 1))
    chroma = rgb - Luma().forward(rgb)
    room = torch.where(chroma > 0, 1 - gray, -1 - gray) / torch.where(chroma.abs() < 1e-6, torch.ones_like(chroma), chroma)
    room = torch.where(chroma.abs() < 1e-6, torch.ones_like(room), room)
    return (gray + chroma * room.amin(1, keepdim=True).clamp(0, 1)).clamp(-1, 1)


def _level(gray: Tensor) -> Tensor:
    """The gray level of each pixel, (N, H, W) int64 of (N, 1, H, W) in [-1, 1]."""
    return (gray[:, 0].clamp(-1, 1) * 127.5 + 127.5).round().long()


def _psnr(made: Tensor, image: Tensor) -> Tensor:
    return (10 * torch.log10(4 / (made.float() - image).square().mean((1, 2, 3)).clamp(min=1e-8))).mean()
