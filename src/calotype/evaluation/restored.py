"""Degrade pictures, restore them, and measure what came of it, beside what needs no training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from calotype import pictures as edge
from calotype.capabilities import HasBaselines
from calotype.degrade import Degradation, Degraded, parse
from calotype.degrade.base import Identity
from calotype.degrade.noise import BLIND, LEVEL
from calotype.diagnose.restored import MODEL, Doubles, RestorationScores
from calotype.engine.display import Say, progress
from calotype.evaluation.eval_images import EvalImage
from calotype.metrics.quality import Convention
from calotype.metrics.spectrum import kept_detail
from calotype.tasks.restore import Applied, Way, apply
from calotype.tasks.sample import Generator
from calotype.tasks.score import like
from calotype.types import Noise, mix

HIGHEST = 80.0  # dB: of images that are equal
_DEGRADE = 5  # the stream of random numbers of the damage, apart from those of training
WHOLE = 2**20  # pixels of a source that is restored at once
_TOGETHER = 2**18  # pixels that are restored at once


class Judge:
    """Restores pictures and measures the results against the truth.

    Args:
        generator: The model.
        degradation: What degrades the pictures; None where they come with their sources.
        convention: How scores are taken; of gray pictures always as they are.
        seed: Of the damage.
    """

    def __init__(self, generator: Generator, degradation: Degradation | None, convention: Convention, seed: int) -> None:
        self.generator, self.degradation, self.convention, self.seed = generator, degradation, convention, seed

    @cached_property
    def applied(self) -> Applied:
        """The model as it is applied to pictures of a user's own."""
        return Applied(self.generator, Way(seed=self.seed))

    def measure(
        self, pictures: Sequence[EvalImage], say: Say | None = None, what: str = "restoring", show: bool = True
    ) -> RestorationScores:
        """All that is measured of some pictures."""
        found, parts, _ = RestorationScores(), [], self.applied.look  # which is looked at once, and not to be timed
        said = progress(say, what)
        for start, group in _alike(pictures):
            degraded, truth = self.degraded(group, start)
            began = time.perf_counter()
            made = self.restored(degraded)
            found.seconds += time.perf_counter() - began
            found.megapixels += truth.shape[0] * truth.shape[2] * truth.shape[3] / 1e6
            results = {MODEL: made, **self.baselines(degraded, truth)}
            parts.append(self._scores(results, degraded, truth))
            found.names += [picture.name for picture in group]
            if show:
                before = edge.to_uint8(self.shown(degraded, truth))
                found.shown += list(zip(before, edge.to_uint8(made), edge.to_uint8(truth), strict=True))
            if said is not None:
                said(start + len(group), len(pictures))
        for name in ("psnr", "ssim", "kept", "shift"):
            setattr(found, name, {method: np.concatenate([getattr(p, name)[method] for p in parts]) for method in getattr(parts[0], name)})
        found.detail = np.concatenate([p.detail for p in parts])
        return found

    def levels(self, pictures: Sequence[EvalImage], wanted: Sequence[float], say: Say | None = None) -> tuple[Doubles, dict[str, Doubles]]:
        """The levels (L,) of a denoiser for a range, and the PSNR in dB of each method at each of them, (L, N)."""
        assert self.degradation is not None
        assert self.degradation.noise_levels is not None
        low, high = self.degradation.noise_levels.low, self.degradation.noise_levels.high
        sigmas: Doubles = np.array([s for s in wanted if low <= s <= high] or [high], np.float64)
        rows: dict[str, list[Doubles]] = {}
        said = progress(say, "noise levels")
        for place, sigma in enumerate(sigmas):
            one = Judge(self.generator, parse(f"noise:{sigma:g}"), self.convention, self.seed)
            parts: dict[str, list[Doubles]] = {}
            for start, group in _alike(pictures):
                degraded, truth = one.degraded(group, start)
                for name, value in (("told", sigma / LEVEL), ("not told", BLIND)):
                    told = torch.full_like(degraded.image[:, :1], value)
                    made = self.restored(replace(degraded, conditioning=told))
                    parts.setdefault(name, []).append(one.psnr(made, degraded, truth))
                for name, made in one.baselines(degraded, truth).items():
                    parts.setdefault(name, []).append(one.psnr(made, degraded, truth))
            for name, values in parts.items():
                rows.setdefault(name, []).append(np.concatenate(values))
            if said is not None:
                said(place + 1, len(sigmas))
        return sigmas, {name: np.stack(values) for name, values in rows.items()}

    def degraded(self, group: Sequence[EvalImage], start: int) -> tuple[Degraded, Tensor]:
        """Pictures of one shape, the first of them number ``start``, and the truth (N, C, H, W)."""
        truth = torch.cat([picture.truth for picture in group])
        given = truth if group[0].source is None else torch.cat([p.source for p in group if p.source is not None])
        if self.degradation is None:
            return Degraded(given, Identity()), truth
        return self.degradation(given, Noise(len(group), mix(self.seed, _DEGRADE), start)), truth

    @torch.no_grad()
    def restored(self, degraded: Degraded) -> Tensor:
        """What the model makes, (N, C, H, W) on the processor; of large pictures in tiles, and of gray ones as of files."""
        generator, wanted, image = self.generator, self.generator.spec.source, degraded.image
        if wanted is not None and (image.shape[2] * image.shape[3] > WHOLE or image.shape[1] != wanted.channels):
            maps = image.new_empty(len(image), 0, *image.shape[2:]) if degraded.conditioning is None else degraded.conditioning
            return torch.stack([apply(generator, x, known=known) for x, known in zip(image, maps, strict=True)])
        return self.applied.images(degraded.source)

    def baselines(self, degraded: Degraded, truth: Tensor) -> dict[str, Tensor]:
        """What needs no training, in the shape of the truth."""
        if self.degradation is None:
            found = {"input": degraded.image}
        else:
            from calotype.degrade import classical

            found = classical.baselines(degraded, self.degradation, (truth.shape[2], truth.shape[3]))
        if isinstance(self.generator.model, HasBaselines):
            found = {**found, **{name: image.cpu() for name, image in self.generator.model.baselines(degraded.image).items()}}
        fitting = {name: image for name, image in found.items() if image.shape[2:] == truth.shape[2:]}
        return {name: like(image, truth).clamp(-1, 1) for name, image in fitting.items()}

    def shown(self, degraded: Degraded, truth: Tensor) -> Tensor:
        """What the model was given, as a reader sees it."""
        seen, holes = like(degraded.image, truth), self.holes(degraded)
        if holes is not None:
            return seen * (1 - holes)
        return torch.nn.functional.interpolate(seen, size=truth.shape[2:], mode="nearest")

    def holes(self, degraded: Degraded) -> Tensor | None:
        """Which pixels are missing, (N, 1, H, W) float32; None where none are."""
        maps = self.degradation.conditioning if self.degradation else ()
        return (
            None if "mask" not in maps or degraded.conditioning is None else (degraded.conditioning[:, [maps.index("mask")]] < 0.5).float()
        )

    def convention_of(self, truth: Tensor) -> Convention:
        """How scores of pictures like these are taken."""
        return replace(self.convention, space="gray") if truth.shape[1] == 1 else self.convention

    def psnr(self, made: Tensor, degraded: Degraded, truth: Tensor) -> Doubles:
        """PSNR in dB of each image, (N,)."""
        ratio: Doubles = self.convention_of(truth).psnr(made, truth, self.holes(degraded)).clamp(max=HIGHEST).double().numpy()
        return ratio

    def _scores(self, results: Mapping[str, Tensor], degraded: Degraded, truth: Tensor) -> RestorationScores:
        found, pixels = RestorationScores(), edge.to_uint8(truth)
        low = 0.25 / (self.degradation.scale if self.degradation else 1)
        for name, image in results.items():
            found.psnr[name] = self.psnr(image, degraded, truth)
            found.ssim[name] = self.convention_of(truth).ssim(image, truth, self.holes(degraded)).double().numpy()
            found.kept[name], found.detail = kept_detail(edge.to_uint8(image), pixels, low)
            shift = ((image - truth).double().mean((2, 3)) * 127.5).numpy()
            found.shift[name] = np.broadcast_to(shift, (len(shift), max(shift.shape[1], self.generator.spec.channels)))
        return found


def _alike(pictures: Sequence[EvalImage]) -> Iterator[tuple[int, Sequence[EvalImage]]]:
    """Neighbors of one shape that are restored together, and the number of the first."""
    start = 0
    while start < len(pictures):
        shape = pictures[start].truth.shape
        most = max(1, _TOGETHER // (shape[2] * shape[3]))
        end = start + 1
        while end < len(pictures) and end - start < most and pictures[end].truth.shape == shape:
            end += 1
        yield start, pictures[start:end]
        start = end
