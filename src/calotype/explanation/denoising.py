"""The path of denoising: what a model expects to see at each noise level, and what of the image is decided when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calotype import pictures
from calotype.capabilities import Denoises
from calotype.diffusion.path import NoiseLevel
from calotype.diffusion.samplers import dpm_plus_plus
from calotype.errors import UserError
from calotype.explanation.section import Exhibit, LinePlot, Strip, Table
from calotype.types import Model, Noise

STEPS = 32  # of the solver
COLUMNS, ROWS = 8, 6  # places and images that are shown
BANDS = {"coarse": (0.0, 1 / 16), "medium": (1 / 16, 1 / 8), "fine": (1 / 8, 1.0)}
"""Frequencies in cycles per pixel: forms of 16 pixels and more, of 8 to 16, and all that is finer."""


@dataclass(frozen=True)
class DenoisingPath:
    """What the images on their way from noise are expected to become."""

    times: tuple[float, ...]  # shares of the image, alpha / (alpha + sigma), of the T places, rising from 0
    expected: Tensor  # (T, N, C, H, W) the expected image at each of them
    final: Tensor  # (N, C, H, W) in [-1, 1]
    decided: dict[str, tuple[float | None, ...]]  # by band (`BANDS`): the share of the variance of the final images, see `share_decided`
    named: tuple[float, ...] = ()  # share of images that a classifier takes for the same class as the final one
    label_given: bool = False  # whether the class was told the model from the start

    name = "denoising"
    title = "The path of denoising: what is decided when"
    says = (
        "An image is made out of noise, little by little. The pictures show what the model expects to come of the noise so far: first "
        "the mean of all that may come, in the end the image. The curves show how much of the final images is fixed by then, large "
        "forms first and details last."
    )

    @property
    def halves(self) -> dict[str, float | None]:
        """By band, the share of the image in the state from which on half of its variance stays decided; None where that is never so."""
        found: dict[str, float | None] = {}
        for name, shares in self.decided.items():
            open_ = [place for place, share in enumerate(shares) if share is None or share < 0.5]
            after = open_[-1] + 1 if open_ else 0
            found[name] = self.times[after] if after < len(self.times) else None
        return found

    def exhibits(self) -> Sequence[Exhibit]:
        """Expected images on the way, and what is decided."""
        places, rows = chosen_places(self.expected, COLUMNS), min(ROWS, len(self.final))
        images = torch.stack([*(self.expected[place] for place in places), self.final])[:, :rows].transpose(0, 1).flatten(0, 1)
        heads = (*(f"{100 * self.times[place]:.0f}%" for place in places), "image")
        shown = Strip(
            "Each row is an image on its way: what the model expects it to become, at so much of the image in the mixture of image and "
            "noise, without guidance.",
            pictures.to_uint8(images.clamp(-1, 1)),
            len(places) + 1,
            tuple(str(row + 1) for row in range(rows)),
            heads,
        )
        there = {name: [share for share in shares if share is not None] for name, shares in self.decided.items()}
        lines: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            f"{name} forms" if name != "fine" else "details": (self.times, shares)
            for name, shares in there.items()
            if len(shares) == len(self.times)
        }
        told = ""
        if self.named:
            lines["the class, as a classifier reads it"] = (self.times, self.named)
            given = ", which the model was told from the start: it is read once it shows" if self.label_given else ""
            told = f" The class is the share of images that a classifier takes for what it takes the final image for{given}."
        if self.label_given:
            told = " What is decided at the left end, where all is noise, is what the class alone decides." + told
        caption = (
            f"What is decided, of {len(self.final)} images: the share of the variance between final images that what is expected "
            f"accounts for, 0 for their mean; coarse forms are of 16 pixels or more, medium ones of 8 to 16, details are finer.{told}"
        )
        rows_ = tuple((name, "never" if at is None else f"{100 * at:.0f}%") for name, at in self.halves.items())
        return (
            shown,
            LinePlot(caption, "share of the image in the mixture", "decided", lines),
            Table("Half of the variance is decided from this share of the image on.", ("forms", "share of the image"), rows_),
        )

    def data(self) -> dict[str, Any]:
        """All curves."""
        return {
            "images": len(self.final),
            "shares_of_the_image": list(self.times),
            "decided": {name: list(shares) for name, shares in self.decided.items()},
            "half_decided_from": self.halves,
            "bands_in_cycles_per_pixel": {name: list(band) for name, band in BANDS.items()},
            "class_as_in_the_end": list(self.named),
            "class_given": self.label_given,
        }


def denoising_path(
    model: Model,
    noise: Noise,
    label: Tensor | None = None,
    guidance: float = 1.0,
    classes_of: Callable[[Tensor], Tensor] | None = None,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> DenoisingPath:
    """Follow images from noise along the differential equation of a diffusion or flow matching model.

    The solver is DPM-Solver++ 2M, which asks the network once a step and draws no fresh noise: all there is to decide is in the noise that
    an image begins with, and what the network expects of it shows how much of it the network can tell yet.

    Args:
        model: of images, with a denoiser (`calotype.capabilities.Denoises`).
        noise: of the images.
        label: (N,) classes to draw, where the model knows them.
        guidance: of the denoiser.
        classes_of: a classifier, images (N, C, H, W) in [-1, 1] to classes (N,) int64.
        steps: of the solver.
        progress: told how many of how many steps are done.

    Raises:
        UserError: for a model without a denoiser, and for fewer than two images, which share no variance.
    """
    if not isinstance(model, Denoises):
        raise UserError("this model has no denoiser: diffusion and flow matching models have")
    if noise.n < 2:
        raise UserError("what is decided is a share of what differs between images: give two or more")
    levels = model.timesteps(steps)
    denoise = model.denoiser(label, guidance, clip=True)
    expected: list[Tensor] = []

    def remembered(x: Tensor, level: NoiseLevel) -> Tensor:
        expected.append(denoise(x, level))
        if progress is not None:
            progress(len(expected), steps)
        return expected[-1]

    with torch.no_grad():
        start = levels[0].sigma * noise.normal(*model.spec.shape)
        final = dpm_plus_plus(remembered, start, levels).clamp(-1, 1).float().cpu()
    seen = torch.stack(expected).float().cpu()
    times = tuple(level.alpha / (level.alpha + level.sigma) for level in levels[: len(seen)])
    decided = {name: tuple(share_decided(one, final, *band) for one in seen) for name, band in BANDS.items()}
    named: tuple[float, ...] = ()
    if classes_of is not None:
        last = classes_of(final)
        named = tuple(float((classes_of(one.clamp(-1, 1)) == last).float().mean()) for one in seen)
    return DenoisingPath(times, seen, final, decided, named, label is not None)


def share_decided(expected: Tensor, final: Tensor, low: float, high: float) -> float | None:
    """The share of the variance of images in a band of frequencies that is in what was expected of them (coefficient of determination).

    1 - |B (expected - final)|^2 / |B (final - mean)|^2, B being what keeps frequencies from ``low`` up to but without ``high`` (cycles
    per pixel), the mean that of the final images. 0 for whoever knows nothing but that mean, 1 for the images themselves; below 0 for what
    is further from them than their mean is; None where the final images do not differ in the band. An image of which half is known in this
    sense has half of its variance still to come.

    Args:
        expected: (N, C, H, W).
        final: (N, C, H, W), two images or more.
        low: frequency.
        high: frequency.
    """
    mean = final.mean(0, keepdim=True)
    there = _power(final - mean, low, high)
    missing = _power(expected - final, low, high)
    return 1 - missing / there if there > 0 else None


def chosen_places(expected: Tensor, count: int) -> list[int]:
    """Places of the path to be shown, such that about as much changes between any two: most of it happens early.

    Args:
        expected: (T, N, C, H, W).
        count: of the places, the first and the last among them; fewer where nothing changes between.
    """
    changes = (expected[1:] - expected[:-1]).square().flatten(1).mean(1).sqrt()
    way = torch.cat([torch.zeros(1), changes.cumsum(0)])
    wanted = torch.linspace(0, float(way[-1]), count)
    return sorted({int((way - share).abs().argmin()) for share in wanted} | {0, len(way) - 1})


def _power(images: Tensor, low: float, high: float) -> float:
    height, width = images.shape[2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :])
    spectrum = torch.fft.fft2(images.double())
    return float((spectrum.abs().square() * ((frequency >= low) & (frequency < high))).sum())
