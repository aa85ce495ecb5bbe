"""The path of denoising: what a model expects to see at each noise level, and what of the image is decided when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.diffusion.path import NoiseLevel
from calotype.diffusion.samplers import dpm_plus_plus
from calotype.errors import UserError
from calotype.types import Denoises, Model, Noise

STEPS = 32  # of the solver
BANDS = {"coarse": (0.0, 1 / 16), "medium": (1 / 16, 1 / 8), "fine": (1 / 8, 1.0)}
"""Frequencies in cycles per pixel: forms of 16 pixels and more, of 8 to 16, and all that is finer."""


@dataclass(frozen=True)
class DenoisingPath:
    """What the images on their way from noise are expected to become."""

    times: tuple[float, ...]  # shares of the image, alpha / (alpha + sigma), of the T places, rising from 0
    expected: Tensor  # (T, N, C, H, W) the expected image at each of them
    final: Tensor  # (N, C, H, W) in [-1, 1]
    decided: dict[str, tuple[float, ...]]  # by band (`BANDS`): the share of the variance of the final images, see `share_decided`
    named: tuple[float, ...] = ()  # share of images that a classifier takes for the same class as the final one
    label_given: bool = False  # whether the class was told the model from the start


def denoising_path(
    model: Model,
    noise: Noise,
    label: Tensor | None = None,
    guidance: float = 1.0,
    classes_of: Callable[[Tensor], Tensor] | None = None,
    steps: int = STEPS,
) -> DenoisingPath:
    """Follow images from noise along the differential equation of a diffusion or flow matching model.

    The solver is DPM-Solver++ 2M, which asks the network once a step and draws no fresh noise: all there is to decide is in the noise that
    an image begins with, and what the network expects of it shows how much of it the network can tell yet.

    Args:
        model: of images, with a denoiser (`calotype.types.Denoises`).
        noise: of the images.
        label: (N,) classes to draw, where the model knows them.
        guidance: of the denoiser.
        classes_of: a classifier, images (N, C, H, W) in [-1, 1] to classes (N,) int64.
        steps: of the solver.

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


def share_decided(expected: Tensor, final: Tensor, low: float, high: float) -> float:
    """The share of the variance of images in a band of frequencies that is in what was expected of them (coefficient of determination).

    1 - |B (expected - final)|^2 / |B (final - mean)|^2, B being what keeps frequencies from ``low`` up to but without ``high`` (cycles
    per pixel), the mean that of the final images. 0 for whoever knows nothing but that mean, 1 for the images themselves; below 0 for what
    is further from them than their mean is. An image of which half is known in this sense has half of its variance still to come.

    Args:
        expected: (N, C, H, W).
        final: (N, C, H, W), two images or more.
        low: frequency.
        high: frequency.
    """
    mean = final.mean(0, keepdim=True)
    there = _power(final - mean, low, high)
    missing = _power(expected - final, low, high)
    return 1 - missing / there if there > 0 else float("nan")


def chosen_places(times: Sequence[float], count: int) -> list[int]:
    """Places of the path to be shown: as evenly as can be over the share of the image, the first and the last among them.

    >>> chosen_places([0.0, 0.1, 0.5, 0.52, 0.9], 3)
    [0, 2, 4]
    """
    wanted = torch.linspace(times[0], times[-1], count).tolist()
    found = [min(range(len(times)), key=lambda place: abs(times[place] - share)) for share in wanted]
    return sorted(set(found))


def _power(images: Tensor, low: float, high: float) -> float:
    height, width = images.shape[2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :])
    spectrum = torch.fft.fft2(images.double())
    return float((spectrum.abs().square() * ((frequency >= low) & (frequency < high))).sum())
