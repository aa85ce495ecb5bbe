"""A model that makes images from images, applied to a picture of any size, depth and number of channels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.degrade import makes_other
from calotype.degrade.color import Luma
from calotype.degrade.noise import BLIND, LEVEL
from calotype.degrade.resize import resize
from calotype.errors import CalotypeError, UserError
from calotype.networks.restorer import filled
from calotype.tasks.sample import Generator, Options, load
from calotype.tasks.tiles import Function, Look, Plan, Window, Write, look_of, mirrored, plan, sampled, tiled, within
from calotype.types import Condition, FillingOptions, Noise, Source

Done = Callable[[float], None]
"""Told the share that is done."""

SMALL = 192  # pixels a side up to which a picture is one tile whatever the model is like


@dataclass(frozen=True)
class Way:
    """How a model is applied."""

    options: Options = field(default_factory=dict)  # of the model, by name
    tile: int | None = None  # pixels a side of the tiles; by memory where none is given
    seed: int = 0
    sigma: float | None = None  # noise level to tell the model, on the scale of 0 to 255

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 <= self.sigma <= 255:  # nor what is no number
            raise UserError(f"a noise level of {self.sigma:g} is out of range: give `sigma` 0 to 255")


def source_spec(generator: Generator) -> Source:
    """What the model is given. Raises `UserError` for a model that makes images from nothing."""
    source = generator.spec.source
    if not generator.model.from_source or source is None:
        raise UserError(
            f"a {generator.recipe} model makes images from noise, not from pictures: train one that does, as in calotype train denoise, "
            "or use it as a prior: calotype restore `prior`"
        )
    return source


def restores(source: Source) -> bool:
    """Whether a model restores degraded pictures, so that its result is the same picture; else it translates into another."""
    return source.degradation != "" and not makes_other(source.degradation)


class Applied:
    """A model that makes images from images, and how it is applied.

    A color picture meets a model of one channel: a restorer of the same size restores each channel by itself; one that enlarges does so
    with the luma, and the chroma is interpolated (bicubic), as is the custom; others see the picture in gray. A gray picture meets a
    model of three: it is repeated, and what a restorer makes of it is averaged. A color picture whose channels are equal is restored as the
    gray one that it is, and keeps its three channels. So restoring keeps gray gray and color color.

    For a restorer a picture goes on beyond its borders as its mirror image, as far as the model looks: see `mirrored`.

    Raises:
        UserError: for a model that makes images from noise, for options that it does not have, and for a noise level that it does not
            take.
    """

    def __init__(self, generator: Generator, way: Way | None = None) -> None:
        self.generator, self.way = generator, way or Way()
        self.source = source_spec(generator)
        self._options = generator.check(self.way.options)
        if self.way.sigma is not None and "sigma" not in self.source.conditioning:
            raise UserError(f"this model takes no noise level, for it was trained on {self.source}: leave out `sigma`")
        self._told, self._fills = self._options, False  # options for a part of a picture
        if "mask" in self.source.conditioning and isinstance(self._options, FillingOptions):
            self._told, self._fills = replace(self._options, prefilled=True), True
        ends = (self.source.channels, generator.spec.channels)
        self.takes, self.gives = ends[::-1] if self.way.options.get("direction") == "b2a" else ends
        self.restores = restores(self.source) and self.takes == self.gives

    def channels(self, channels: int) -> int:
        """Channels of what a picture of so many becomes."""
        return channels if self.restores else self.gives

    def function(self, channels: int, index: int = 0, whole: Tensor | None = None) -> Function:
        """The model as a function of pictures with ``channels`` channels and known maps behind them, (1, C', h, w).

        They are parts of the picture that ``whole`` (1, channels, h, w) is a sample of.
        """
        luma = Luma()

        def function(given: Tensor) -> Tensor:
            picture, maps = given[:, :channels], given[:, channels:]
            if channels == self.takes:
                return self._model(given, index, whole)
            if channels == 1:
                all_ = None if whole is None else whole.expand(-1, self.takes, -1, -1)
                made = self._model(torch.cat([picture.expand(-1, self.takes, -1, -1), maps], 1), index, all_)
                return made.mean(1, keepdim=True) if self.restores else made
            if self.restores and self.source.scale == 1:
                all_ = None if whole is None else whole.transpose(0, 1)
                return self._model(torch.cat([picture.transpose(0, 1), maps.expand(3, -1, -1, -1)], 1), index, all_).transpose(0, 1)
            made = self._model(torch.cat([luma.forward(picture), maps], 1), index)
            if not self.restores:
                return made
            base = resize(picture, made.shape[2], made.shape[3])
            return base + made - luma.forward(base)

        return function

    @cached_property
    def look(self) -> Look:
        """How far the model looks, and what it costs."""
        whole = torch.zeros(1, self.takes, 8, 8) if self.generator.model.overview else None
        found = look_of(self.function(self.takes, whole=whole), self.generator.model, self.takes + len(self.source.conditioning))
        if self.source.scale > 1 and found.reach is not None:
            return replace(found, reach=max(found.reach, 3))  # that of the interpolation
        return found

    @torch.no_grad()
    def run(self, channels: int, size: tuple[int, int], window: Window, write: Write, index: int = 0, done: Done | None = None) -> Plan:
        """Apply the model to a picture of ``size`` (height, width), read by ``window`` and written by ``write`` as `tiled` does.

        Raises:
            CalotypeError: where the model yields values that are not finite.
        """
        margin = self.look.margin if self.restores else 0
        height, width = (side + 2 * margin for side in size)
        whole = sampled(window, *size, self.generator.model.overview, channels)
        if margin:
            window, scale = mirrored(window, *size, margin), self.source.scale
            write = within(write, scale * size[0], scale * size[1], scale * margin)
        small = max(size) <= SMALL and self.way.tile is None
        cut = Plan(SMALL + 2 * margin, 0, None) if small else plan(self.look, height, width, self.way.tile)
        tiled(self.function(channels, index, whole), window, write, height, width, cut, done or (lambda share: None))
        return cut

    def tensor(self, picture: Tensor, known: Tensor | None = None, index: int = 0, done: Done | None = None) -> Tensor:
        """What the model makes of a picture (C', h, w) in [-1, 1] (up to noise): (C, scale * h, scale * w) in [-1, 1], on the CPU.

        ``known`` (K, h, w) holds the maps of ``spec.source.conditioning``; without them a noise level is that of the way, or not told.
        """
        height, width = picture.shape[1:]
        maps = conditioning_channels(self.source, (height, width), self.way.sigma, None) if known is None else known
        if self._fills:
            mask = self.source.conditioning.index("mask")
            picture = filled(picture[None].float(), (maps[mask : mask + 1] > 0.5)[None].float())[0]
        out = torch.empty(self.channels(len(picture)), self.source.scale * height, self.source.scale * width)
        if self.restores and is_gray(picture):
            picture = picture[:1]
        given = torch.cat([picture, maps])[None]

        def write(first: int, rows: Tensor) -> None:
            out[:, first : first + rows.shape[1]] = rows

        self.run(len(picture), (height, width), lambda a, b, c, d: given[:, :, a:b, c:d], write, index, done)
        return out.clamp_(-1, 1)

    def pixels(
        self, pixels: NDArray[Any], missing: NDArray[np.bool_] | None = None, index: int = 0, done: Done | None = None
    ) -> tuple[NDArray[Any], str]:
        """What the model makes of (H, W, C) uint8 or uint16, in the same type; and what there is to say about it.

        Only a tile, and a band of the result, exist in floating point at any time; and one channel, where ``missing`` (H, W) is true for
        pixels that are to be made up.
        """
        height, width, channels = pixels.shape
        scale, sigma = self.source.scale, self.way.sigma
        conditioning_channels(self.source, (1, 1), sigma, None if missing is None else missing[:1, :1])  # refuses what cannot be
        out = np.empty((scale * height, scale * width, self.channels(channels)), pixels.dtype)
        if self.restores and is_gray(pixels.transpose(2, 0, 1)):
            pixels, channels = pixels[..., :1], 1
        if missing is not None and self._fills:
            pixels = _prefilled(pixels, missing)
        half, half_out = (np.float32(np.iinfo(values.dtype).max / 2) for values in (pixels, out))

        def window(top: int, bottom: int, left: int, right: int) -> Tensor:
            part = torch.from_numpy((pixels[top:bottom, left:right] - half) * (1 / half)).permute(2, 0, 1)
            hole = None if missing is None else missing[top:bottom, left:right]
            if hole is not None and not self._fills:
                part = part * torch.from_numpy(~hole)
            return torch.cat([part, conditioning_channels(self.source, (bottom - top, right - left), sigma, hole)])[None]

        def write(first: int, rows: Tensor) -> None:
            values = rows.clamp(-1, 1).add_(1).mul_(float(half_out)).round_().permute(1, 2, 0).numpy()
            out[first : first + len(values)] = values.astype(out.dtype)

        return out, self.run(channels, (height, width), window, write, index, done).note

    @torch.no_grad()
    def images(self, source: Tensor) -> Tensor:
        """What the model makes of sources of its own channels (N, C' + K, h, w), maps behind them: (N, C, H, W) in [-1, 1] on the CPU.

        All at once, as is quick for many small pictures; otherwise the same as `tensor`.
        """
        (height, width), scale, margin = source.shape[2:], self.source.scale, self.look.margin if self.restores else 0
        window = mirrored(lambda top, bottom, left, right: source[:, :, top:bottom, left:right], height, width, margin)
        noise = Noise(len(source), self.way.seed, 0, self.generator.device)
        given = window(0, height + 2 * margin, 0, width + 2 * margin).to(self.generator.device)
        made, first = self.generator.model.sample(noise, Condition(source=given), self._options), scale * margin
        return made[:, :, first : first + scale * height, first : first + scale * width].float().clamp(-1, 1).cpu()

    def _model(self, given: Tensor, index: int, whole: Tensor | None = None) -> Tensor:
        noise = Noise(len(given), self.way.seed, index, self.generator.device)
        condition = Condition(source=given, whole=whole).to(self.generator.device)
        made = self.generator.model.sample(noise, condition, self._told).to(given.device)
        if not torch.isfinite(made).all():
            raise CalotypeError("the model yields values that are not finite: its training diverged, or its weights are damaged")
        return made


def apply(
    generator: Generator,
    picture: Tensor,
    *,
    known: Tensor | None = None,
    tile: int | None = None,
    seed: int = 0,
    index: int = 0,
    sigma: float | None = None,
    options: Options | None = None,
    done: Done | None = None,
) -> Tensor:
    """What a model makes of one picture (C', h, w) in [-1, 1] (up to noise): (C, scale * h, scale * w) in [-1, 1], on the CPU.

    Args:
        generator: A model that makes images from images.
        picture: Of one channel or three, whatever the model takes: see `Applied`.
        known: (K, h, w), the maps of ``spec.source.conditioning``; made of ``sigma``, or not told, where there are none.
        tile: Pixels a side of the tiles it is cut into; by memory where none is given.
        seed: Of a model that draws.
        index: The picture's number, with which the seed is mixed.
        sigma: Noise level on the scale of 0 to 255, for a model that takes one.
        options: Sampling options of the model.
        done: Told the share that is done.

    Raises:
        UserError: for a model that makes images from noise, and for a model that needs a mask and is given none, or takes no noise level
            and is given one.
    """
    return Applied(generator, Way(options or {}, tile, seed, sigma)).tensor(picture, known, index, done)


def restore_pixels(
    model: Generator | str | Path,
    pixels: NDArray[Any],
    *,
    mask: NDArray[np.bool_] | None = None,
    sigma: float | None = None,
    tile: int | None = None,
    seed: int = 0,
    **options: float | str,
) -> NDArray[Any]:
    """What a model that makes images from images makes of one picture in memory: denoised, enlarged, translated.

    Args:
        model: What `calotype.load` returns, or the folder of a run.
        pixels: (H, W, C) uint8 or uint16 with one channel or three, of any size.
        mask: (H, W), true where pixels are to be made up, for a model that fills in.
        sigma: Noise level on the scale of 0 to 255, for a model that takes one; it is guessed where none is given.
        tile: Pixels a side of the tiles that a large picture is cut into; by memory where none is given.
        seed: Of a model that draws.
        options: Sampling options of the model.

    Returns:
        (H', W', C') of the same type: of the same size, or larger by the model's factor.

    Raises:
        UserError: for pixels of another form, and for a model that makes images from noise or does not take what is given.
    """
    form = isinstance(pixels, np.ndarray) and pixels.ndim == 3 and pixels.shape[2] in (1, 3) and 0 not in pixels.shape
    if not form or pixels.dtype not in (np.uint8, np.uint16):
        raise UserError("a picture is an array (H, W, C) of uint8 or uint16 with one channel or three")
    if mask is not None and (mask.shape != pixels.shape[:2] or mask.dtype != np.bool_):
        raise UserError(f"a mask of this picture is a boolean array of shape {pixels.shape[:2]}")
    generator = model if isinstance(model, Generator) else load(model)
    return Applied(generator, Way(options, tile, seed, sigma)).pixels(pixels, mask)[0]


def is_gray(channels: Tensor | NDArray[Any]) -> bool:
    """Whether a picture (C, H, W) has several channels that are all equal."""
    return len(channels) > 1 and all(bool((channels[0] == other).all()) for other in channels[1:])


def _prefilled(pixels: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """(H, W, C) uint8 or uint16 with smooth colors where they are missing, in 16 bits: tiles cannot see across a large hole."""
    out = pixels.astype(np.uint16)
    out *= np.uint16(65535 // np.iinfo(pixels.dtype).max)
    known, half = torch.from_numpy(~missing).float()[None, None], 65535 / 2
    for channel in range(out.shape[2]):
        smooth = filled(torch.from_numpy(out[..., channel].astype(np.float32)).sub_(half)[None, None], known)
        out[..., channel] = smooth[0, 0].add_(half).round_().numpy()
    return out


def conditioning_channels(source: Source, size: tuple[int, int], sigma: float | None, missing: NDArray[np.bool_] | None) -> Tensor:
    """The maps that a model is given besides the picture, (K, h, w): noise level, or that it is not told; where pixels are known.

    Raises:
        UserError: where a model needs a mask and there is none, or takes no mask and is given one.
    """
    if missing is not None and "mask" not in source.conditioning:
        raise UserError(f"this model fills in nothing, for it was trained on {source}: leave out `mask`")
    maps = []
    for name in source.conditioning:
        if name == "sigma":
            maps.append(torch.full((1, *size), BLIND if sigma is None else sigma / LEVEL))
        elif missing is None:
            raise UserError("this model fills in what is missing: say where that is with `mask=FILE` (white is missing)")
        else:
            maps.append(torch.from_numpy(~missing).float()[None])
    return torch.cat(maps) if maps else torch.empty(0, *size)


def warning(source: Source, asked: str) -> str | None:
    """What to tell who gives a model another degradation than it learned from; None where it learned from this one.

    >>> warning(Source(3, degradation="noise:0-55"), "noise:25") is None
    True
    >>> warning(Source(3, degradation="noise:0-55"), "noise:75")
    'this model was trained on noise:0-55, not on noise:75: expect less of it'
    """
    how = source.degradation.replace(",shared", "")  # which takes in both kinds of noise
    if all(_covers(*pair) for pair in zip_longest(how.split("+"), asked.split("+"), fillvalue="")):
        return None
    return f"this model was trained on {how or 'pictures of its own'}, not on {asked}: expect less of it"


def _covers(learned: str, asked: str) -> bool:
    """Whether values asked for lie within those learned from: ``jpeg:10-90`` covers ``jpeg:30``, ``mask:box,half`` covers ``mask:half``."""
    if learned == asked:
        return True
    (name, _, old), (other, _, new) = learned.partition(":"), asked.partition(":")
    if name != other:
        return False
    ranges = [re.fullmatch(r"([\d.]+)(?:-([\d.]+))?", value) for value in (old, new)]
    if ranges[0] and ranges[1]:
        (low, high), (least, most) = ((float(r[1]), float(r[2] or r[1])) for r in ranges if r)
        return low <= least and most <= high
    return set(new.split(",")) <= set(old.split(","))
