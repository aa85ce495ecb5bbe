"""The loop closed: degrade a picture, restore it, and see how much closer to the truth it is than without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from calotype.capabilities import HasBaselines
from calotype.data.images import some
from calotype.degrade import Degradation, Degraded
from calotype.degrade.color import gray8
from calotype.degrade.noise import BLIND, LEVEL
from calotype.errors import UserError
from calotype.metrics.perceptual import perceptual_distances, perceptual_name
from calotype.metrics.quality import convention_for, published_bicubic
from calotype.tasks.restore import Applied, is_gray
from calotype.tasks.tiles import GRID
from calotype.types import Model, Noise

HIGHEST = 80.0  # dB: what a picture that is exact counts for in a mean
LARGEST = 4 * 2**20  # pixels of a picture that are scored: what needs no training takes many times their memory


@dataclass(frozen=True)
class Scores:
    """How close a picture is to the truth."""

    psnr: float  # dB; infinite where it is the truth
    ssim: float  # NaN for pictures smaller than its window
    ms_ssim: float | None = None  # NaN below 176 pixels a side; None where it was not computed
    perceptual: float | None = None  # `perceptual_distance`; None where it was not computed

    def as_json(self) -> dict[str, float | None]:
        """Numbers that JSON can hold: null where there is none."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Scored:
    """How well one picture was restored."""

    own: Scores
    baselines: dict[str, Scores]  # of the degraded picture itself and of what needs no training
    convention: str

    def as_json(self) -> dict[str, Any]:
        """All numbers, and what they mean."""
        others = {name: scores.as_json() for name, scores in self.baselines.items()}
        return {**self.own.as_json(), "baselines": others, "convention": self.convention}


@dataclass(frozen=True)
class Case:
    """A picture whose truth is known."""

    truth: Tensor  # (1, C, H, W) float32 in [-1, 1], sides multiples of the scale
    degraded: Degraded
    conditioning: Tensor | None  # (K, h, w), what the model is told

    @property
    def given(self) -> Tensor:
        """(C', h, w)."""
        return self.degraded.image[0]


def degraded_case(applied: Applied, picture: Tensor, degradation: Degradation, index: int = 0, blind: bool = False) -> Case:
    """A picture (C, H, W) cut to multiples of the scale, with the channels that the model's result has, and degraded; of equal ones, one.

    What is random depends on the seed of the way and on ``index`` alone. The model is told the mask, and the noise level unless
    ``blind``; one that the way asks for comes first.

    Raises:
        UserError: where the degradation does not fit the model or the picture.
    """
    fits(applied, degradation)
    truth = cut_to((picture[:1] if applied.restores and is_gray(picture) else picture)[None], degradation.scale)
    wanted = applied.channels(degradation.channels(truth.shape[1]))
    if wanted != truth.shape[1]:
        truth = gray8(truth) if wanted == 1 else truth.expand(-1, 3, -1, -1)
    degraded = degradation(truth, Noise(1, applied.way.seed, index))
    maps = [_map(name, applied, degradation, degraded, blind) for name in applied.source.conditioning]
    return Case(truth, degraded, torch.cat(maps) if maps else None)


def score(case: Case, degradation: Degradation, made: Tensor, model: Model | None = None) -> Scored:
    """Score what was made (C, H, W) of a degraded picture, and the baselines, in the convention that fits.

    Those that ``model`` knows of its training data are among them.
    """
    from calotype.degrade import classical

    truth, convention = case.truth, convention_for(degradation, case.truth.shape[1])
    through = () if model is None else model.through
    size = (truth.shape[2], truth.shape[3])
    found = classical.baselines(case.degraded, degradation, size)
    if model is not None and isinstance(model, HasBaselines):
        found |= {name: image.cpu() for name, image in model.baselines(case.degraded.image).items()}
    images = {"": made[None], **{name: image for name, image in found.items() if image.shape[2:] == size}}
    images = {name: like(image, truth) for name, image in images.items()}
    apart = dict(zip(images, perceptual_distances(list(images.values()), truth, through), strict=True))
    text = f"{convention.text}; perceptual is the {perceptual_name(truth.shape[1], through)} of whole pictures, not LPIPS"
    if degradation.spec == f"downsample:{degradation.scale}":
        images["bicubic"] = published_bicubic(truth, degradation.scale)
        text += "; bicubic scores are as in publications, of luma that is not rounded on the way"
    missing = missing_in(degradation, case.degraded)

    def judged(name: str) -> Scores:
        image = images[name]
        near = convention.psnr(image, truth, missing), convention.ssim(image, truth, missing), convention.ms_ssim(image, truth)
        return Scores(*(float(one[0]) for one in (*near, apart[name])))

    return Scored(judged(""), {name: judged(name) for name in images if name}, text)


def mean(scored: Sequence[Scored]) -> dict[str, Any]:
    """The means of the scores of several pictures, as JSON, with notes on what does not count as it is."""
    return {**means(scored).as_json(), "notes": remarks(scored)}


def means(scored: Sequence[Scored]) -> Scored:
    """The mean scores of several pictures, `HIGHEST` for PSNR beyond it; conventions that differ are all named."""
    names = [name for name in scored[0].baselines if all(name in one.baselines for one in scored)]
    others = {name: _mean([one.baselines[name] for one in scored]) for name in names}
    return Scored(_mean([one.own for one in scored]), others, " / ".join(dict.fromkeys(one.convention for one in scored)))


def remarks(scored: Sequence[Scored]) -> list[str]:
    """What there is to say of the means of several pictures."""
    every = [score for one in scored for score in (one.own, *one.baselines.values())]
    notes = [f"in the mean, PSNR above {HIGHEST:.0f} dB counts as {HIGHEST:.0f}"] if any(score.psnr > HIGHEST for score in every) else []
    for name, reason in (("psnr", "nothing is missing"), ("ssim", "they are too small"), ("ms_ssim", "they are too small")):
        count = sum(math.isnan(getattr(one.own, name) or 0) for one in scored)
        if 0 < count < len(scored):
            notes.append(f"{count} of {some(len(scored), 'picture')} without {name.upper().replace('_', '-')}, for {reason}")
    return notes


def fits(applied: Applied, degradation: Degradation) -> None:
    """Raise `UserError` where what a degradation takes away is not what the model gives back."""
    source = applied.source
    if degradation.scale != source.scale:
        larger = f"makes pictures {source.scale} times larger" if source.scale > 1 else "keeps the size of pictures"
        smaller = f"makes them {degradation.scale} times smaller" if degradation.scale > 1 else "keeps it"
        advice = f"put downsample:{source.scale} into it" if source.scale > 1 else "leave downsample out of it"
        raise UserError(f"this model {larger}, and `degrade={degradation.spec}` {smaller}: {advice}, or take another model")
    if "mask" in source.conditioning and "mask" not in degradation.conditioning:
        raise UserError("this model fills in what is missing, and `degrade` takes nothing away: give mask:box or mask:half, for example")


def middle(size: tuple[int, int], scale: int = 1) -> tuple[slice, slice]:
    """The rows and columns of the middle of a picture of ``size``, in its shape, of which a result ``scale`` times as large has about
    `LARGEST` pixels; all of a smaller one.
    """
    share = math.sqrt(LARGEST / (size[0] * size[1])) / scale
    if share >= 1:
        return slice(0, size[0]), slice(0, size[1])
    sides = [max(int(side * share) // GRID * GRID, min(side, GRID)) for side in size]
    first = [(side - part) // 2 for side, part in zip(size, sides, strict=True)]
    return slice(first[0], first[0] + sides[0]), slice(first[1], first[1] + sides[1])


def cut_to(images: Tensor, scale: int) -> Tensor:
    """Images (N, C, H, W) cut to multiples of ``scale``. Raises `UserError` for ones that are smaller than that."""
    height, width = (side // scale * scale for side in images.shape[2:])
    if not height or not width:
        raise UserError(f"the picture is too small to be made {scale} times smaller")
    return images[:, :, :height, :width]


def like(image: Tensor, truth: Tensor) -> Tensor:
    """An image with the channels of the truth, and on its device."""
    if image.shape[1] == truth.shape[1]:
        return image.to(truth)
    return (image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image.mean(1, keepdim=True)).to(truth)


def _map(name: str, applied: Applied, degradation: Degradation, degraded: Degraded, blind: bool) -> Tensor:
    """A map that the model is told, (1, h, w)."""
    if name == "mask":
        assert degraded.conditioning is not None
        return degraded.conditioning[0, degradation.conditioning.index("mask")][None]
    sigma = degraded.operator.sigma
    level = applied.way.sigma if applied.way.sigma is not None else None if blind or sigma is None else float(sigma[0]) * 127.5
    return torch.full((1, *degraded.image.shape[2:]), BLIND if level is None else level / LEVEL)


def missing_in(degradation: Degradation, degraded: Degraded) -> Tensor | None:
    """Where pixels of the truth are missing, (N, 1, H, W): those of which a smaller picture knows none."""
    if "mask" not in degradation.conditioning or degraded.conditioning is None:
        return None
    at = degradation.conditioning.index("mask")
    missing = 1 - degraded.conditioning[:, at : at + 1]
    return missing.repeat_interleave(degradation.scale, 2).repeat_interleave(degradation.scale, 3)


def _mean(scores: Sequence[Scores]) -> Scores:
    found: dict[str, float | None] = {}
    for name in asdict(scores[0]):
        values = [getattr(one, name) for one in scores]
        counted = [] if None in values else [min(value, HIGHEST) if name == "psnr" else value for value in values if not math.isnan(value)]
        found[name] = None if None in values else sum(counted) / len(counted) if counted else math.nan
    return Scores(**found)  # type: ignore[arg-type]
