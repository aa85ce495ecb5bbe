"""The loop closed: spoil a picture, restore it, and see how much closer to the truth it is than without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calotype.degrade import Degradation, Degraded
from calotype.degrade.color import gray8
from calotype.degrade.noise import BLIND, LEVEL
from calotype.errors import UserError
from calotype.metrics.quality import convention_for
from calotype.tasks.restore import Applied
from calotype.types import Noise


@dataclass(frozen=True)
class Scores:
    """How close a picture is to the truth."""

    psnr: float  # dB; infinite where it is the truth
    ssim: float  # NaN for pictures smaller than its window

    def as_json(self) -> dict[str, float | None]:
        """Numbers that JSON can hold: null where there is none."""
        return {name: value if math.isfinite(value) else None for name, value in (("psnr", self.psnr), ("ssim", self.ssim))}


@dataclass(frozen=True)
class Scored:
    """How well one picture was restored."""

    own: Scores
    baselines: dict[str, Scores]  # of the spoiled picture itself and of what needs no training
    convention: str

    def as_json(self) -> dict[str, Any]:
        """All numbers, and what they mean."""
        others = {name: scores.as_json() for name, scores in self.baselines.items()}
        return {**self.own.as_json(), "baselines": others, "convention": self.convention}


@dataclass(frozen=True)
class Spoiled:
    """A picture whose truth is known."""

    truth: Tensor  # (1, C, H, W) float32 in [-1, 1], sides multiples of the scale
    degraded: Degraded
    known: Tensor | None  # (K, h, w), what the model is told

    @property
    def given(self) -> Tensor:
        """(C', h, w)."""
        return self.degraded.image[0]


def spoil(applied: Applied, picture: Tensor, degradation: Degradation, index: int = 0, blind: bool = False) -> Spoiled:
    """A picture (C, H, W) cut to multiples of the scale, with the channels that the model's result has, and spoiled.

    What is random depends on the seed of the way and on ``index`` alone. The model is told the mask, and the noise level unless
    ``blind``; one that the way asks for comes first.

    Raises:
        UserError: where the degradation does not fit the model or the picture.
    """
    fits(applied, degradation)
    truth = cut_to(picture[None], degradation.scale)
    wanted = applied.channels(degradation.channels(truth.shape[1]))
    if wanted != truth.shape[1]:
        truth = gray8(truth) if wanted == 1 else truth.expand(-1, 3, -1, -1)
    degraded = degradation(truth, Noise(1, applied.way.seed, index))
    maps = [_map(name, applied, degradation, degraded, blind) for name in applied.source.known]
    return Spoiled(truth, degraded, torch.cat(maps) if maps else None)


def score(spoiled: Spoiled, degradation: Degradation, made: Tensor) -> Scored:
    """Score what was made (C, H, W) of a spoiled picture, and the baselines, in the convention that fits."""
    from calotype.degrade import classical

    convention = convention_for(degradation, spoiled.truth.shape[1])
    missing = _missing(degradation, spoiled.degraded)

    def judged(image: Tensor) -> Scores:
        return Scores(*(float(metric(image, spoiled.truth, missing)[0]) for metric in (convention.psnr, convention.ssim)))

    size = (spoiled.truth.shape[2], spoiled.truth.shape[3])
    found = classical.baselines(spoiled.degraded, degradation, size)
    others = {name: judged(_like(image, spoiled.truth)) for name, image in found.items() if image.shape[2:] == size}
    return Scored(judged(made[None]), others, convention.text)


def mean(scored: Sequence[Scored]) -> dict[str, Any]:
    """The means of the scores of several pictures, as JSON; conventions that differ are all named."""
    names = [name for name in scored[0].baselines if all(name in one.baselines for one in scored)]
    others = {name: _mean([one.baselines[name] for one in scored]).as_json() for name in names}
    conventions = list(dict.fromkeys(one.convention for one in scored))
    return {**_mean([one.own for one in scored]).as_json(), "baselines": others, "convention": " / ".join(conventions)}


def fits(applied: Applied, degradation: Degradation) -> None:
    """Raise `UserError` where what a degradation takes away is not what the model gives back."""
    source = applied.source
    if degradation.scale != source.scale:
        larger = f"makes pictures {source.scale} times larger" if source.scale > 1 else "keeps the size of pictures"
        smaller = f"makes them {degradation.scale} times smaller" if degradation.scale > 1 else "keeps it"
        mend = f"put downsample:{source.scale} into it" if source.scale > 1 else "leave downsample out of it"
        raise UserError(f"this model {larger}, and --degrade {degradation.spec} {smaller}: {mend}, or take another model")
    if "mask" in source.known and "mask" not in degradation.known:
        raise UserError("this model fills in what is missing, and --degrade takes nothing away: give mask:box or mask:half, for example")


def cut_to(images: Tensor, scale: int) -> Tensor:
    """Images (N, C, H, W) cut to multiples of ``scale``. Raises `UserError` for ones that are smaller than that."""
    height, width = (side // scale * scale for side in images.shape[2:])
    if not height or not width:
        raise UserError(f"the picture is too small to be made {scale} times smaller")
    return images[:, :, :height, :width]


def _like(image: Tensor, truth: Tensor) -> Tensor:
    """An image with the channels of the truth, and on its device."""
    if image.shape[1] == truth.shape[1]:
        return image.to(truth)
    return (image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image.mean(1, keepdim=True)).to(truth)


def _map(name: str, applied: Applied, degradation: Degradation, degraded: Degraded, blind: bool) -> Tensor:
    """A map that the model is told, (1, h, w)."""
    if name == "mask":
        assert degraded.known is not None
        return degraded.known[0, degradation.known.index("mask")][None]
    sigma = degraded.operator.sigma
    level = applied.way.sigma if applied.way.sigma is not None else None if blind or sigma is None else float(sigma[0]) * 127.5
    return torch.full((1, *degraded.image.shape[2:]), BLIND if level is None else level / LEVEL)


def _missing(degradation: Degradation, degraded: Degraded) -> Tensor | None:
    """Where pixels of the truth are missing, (1, 1, H, W): those of which a smaller picture knows none."""
    if "mask" not in degradation.known or degraded.known is None:
        return None
    at = degradation.known.index("mask")
    missing = 1 - degraded.known[:, at : at + 1]
    return missing.repeat_interleave(degradation.scale, 2).repeat_interleave(degradation.scale, 3)


def _mean(scores: Sequence[Scores]) -> Scores:
    return Scores(*(sum(getattr(one, name) for one in scores) / len(scores) for name in ("psnr", "ssim")))
